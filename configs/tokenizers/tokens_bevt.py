# The targets of configs/bevt_swin_b_stored.py: every frame of the videos, so that clips may begin anywhere, in BEVT's
# view: the tokenizer sees a crop of 224 at half its size. 14 x 14 ids of 2 bytes a frame: 390 bytes, Kinetics-400 28 GB.
#     python tools/extract_tokens.py configs/tokenizers/tokens_bevt.py --out data/kinetics400/tokens_bevt
_base_ = ['../_base_/runtime.py']

tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint='checkpoints/dalle.safetensors')
dataset = dict(
    type='ssvideo.VideoList', source='data/kinetics400/train.txt', data_root='data/kinetics400/videos', test_mode=True, pipeline=[
        dict(type='ssvideo.SampleWholeVideo', frame_interval=1),
        dict(type='ssvideo.DecodeClips'),
        dict(type='Resize', scale=(-1, 256)),
        dict(type='CenterCrop', crop_size=224),
        dict(type='ssvideo.TokenizerView', size=112),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])
