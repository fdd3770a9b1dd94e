# The token stores of VIMPAC's fine-tuning: 12 fixed views of each video, each video decoded once.
# arXiv:2106.11250, App. B and Table 11. For SSv2, whose classes tell left from right: --cfg-options views.flips=[False]
#     tools/dist_extract_tokens.sh configs/tokenizers/tokens_vimpac_finetune.py 8 --out data/ucf101/tokens_train
# Training draws each clip from a random view: TokenClips(store='data/ucf101/tokens_train'). Testing takes the three crops of
# the smaller size: --cfg-options views.scales=[1.0] views.flips=[False] dataset.source=data/ucf101/test.txt
_base_ = ['../_base_/runtime.py']

VIDEOS = 'data/ucf101/train.txt'  # lines of path and label
ROOT = 'data/ucf101/videos'  # of these paths

tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint='checkpoints/dalle.safetensors')
dataset = dict(
    type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT, test_mode=True, pipeline=[
        dict(type='ssvideo.SampleWholeVideo', fps=2),  # 2 for UCF101 and K400; 4 for HMDB51, SSv2 and Diving48
        dict(type='ssvideo.DecodeClips'),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])
views = dict(
    size=256,
    scales=(1.0, 1.25),  # Table 11; the text of App. B says 1.5
    crops=('top_left', 'center', 'bottom_right'),
    flips=(False, True))
