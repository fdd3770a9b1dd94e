# What tools/extract_tokens.py reads: a tokenizer, and whole videos as frames at a fixed rate.
_base_ = ['base.py']

tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint=_base_.TOKENIZER)
dataset = dict(
    type='ssvideo.VideoList', source=_base_.TRAIN, test_mode=True, pipeline=[
        dict(type='ssvideo.SampleWholeVideo', fps=_base_.FPS),
        dict(type='ssvideo.DecodeClips'),
        _base_.shrink,
        dict(type='CenterCrop', crop_size=_base_.SIZE),
        *_base_.pack])
