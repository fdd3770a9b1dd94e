# The token stores of VIMPAC's fine-tuning: 12 fixed views of each video of a set, each video decoded once.
# arXiv:2106.11250, Sec. 4.2, App. C and Table 11.
#     FINETUNE_SET=ucf101 tools/dist_extract_tokens.sh configs/tokenizers/tokens_vimpac_finetune.py 8 --out data/ucf101/tokens_256
# VIMPAC_SIZE=128 is for the paper's analyses. Training draws each clip from a random view, TokenClips(store='.../tokens_256');
# testing takes the three crops of the smaller size, TokenClips(store=['.../tokens_256/256_top_left', ...]).
_base_ = ['../_base_/runtime.py']

FINETUNE_SET = '{{$FINETUNE_SET:ucf101}}'
FPS = dict(ucf101=2, kinetics400=2, hmdb51=4, ssv2=4, diving48=4)[FINETUNE_SET]  # Sec. 4.2: 4 where videos are short
SIZE = int('{{$VIMPAC_SIZE:256}}')

VIDEOS = f'data/{FINETUNE_SET}/videos.txt'  # all videos, for training and for testing: `path` or `path label` a line
ROOT = f'data/{FINETUNE_SET}/videos'  # of these paths

tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint='checkpoints/dalle.safetensors')
dataset = dict(
    type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT, test_mode=True, pipeline=[
        dict(type='ssvideo.SampleWholeVideo', fps=FPS),
        dict(type='ssvideo.DecodeClips'),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])
views = dict(
    size=SIZE,
    scales=(1.0, 1.25),  # Table 11; the text of App. C says 1.5
    crops=('top_left', 'center', 'bottom_right'),
    flips=(False,) if FINETUNE_SET == 'ssv2' else (False, True))  # SSv2's classes tell left from right
