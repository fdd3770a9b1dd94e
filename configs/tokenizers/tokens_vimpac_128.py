# The token store of VIMPAC's pre-training, stage 1: 2 frames a second, resized and centre-cropped, no augmentation.
# arXiv:2106.11250, Sec. 4.1 and App. B. Stage 2 is the same at 256 px: --cfg-options dataset.pipeline.2.size=256
#     tools/dist_extract_tokens.sh configs/tokenizers/tokens_vimpac_128.py 8 --out data/howto100m/tokens_128
_base_ = ['../_base_/runtime.py']

VIDEOS = 'data/howto100m/videos.txt'  # one path a line
ROOT = 'data/howto100m'  # of these paths

tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint='checkpoints/dalle.safetensors')
dataset = dict(
    type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT, labels=False, test_mode=True, pipeline=[
        dict(type='ssvideo.SampleWholeVideo', fps=2),
        dict(type='ssvideo.DecodeClips'),
        dict(type='ssvideo.FixedView', size=128),  # 16 x 16 tokens
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])
