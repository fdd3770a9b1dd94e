# The token store of VIMPAC's pre-training: 2 frames a second, resized and centre-cropped, no augmentation.
# arXiv:2106.11250, Sec. 4.2 and App. B.
#     tools/dist_extract_tokens.sh configs/tokenizers/tokens_vimpac_128.py 8 --out data/howto100m/tokens_128
# Two words of the environment change it: VIMPAC_SIZE=256 is for stage 2, PRETRAIN_SET=kinetics600 another set.
_base_ = ['../_base_/runtime.py']

PRETRAIN_SET = '{{$PRETRAIN_SET:howto100m}}'  # or kinetics400, kinetics600, kinetics700 (App. C)
SIZE = int('{{$VIMPAC_SIZE:128}}')  # 16 x 16 tokens; 256: 32 x 32

VIDEOS = f'data/{PRETRAIN_SET}/train.txt'  # one `path` or `path label` a line
ROOT = f'data/{PRETRAIN_SET}/videos'  # of these paths

tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint='checkpoints/dalle.safetensors')
dataset = dict(
    type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT, test_mode=True, pipeline=[
        dict(type='ssvideo.SampleWholeVideo', fps=2),
        dict(type='ssvideo.DecodeClips'),
        dict(type='ssvideo.FixedView', size=SIZE),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])
