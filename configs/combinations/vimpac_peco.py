# PeCo's tokens into VIMPAC, made while it trains; a token store of them would do as well (configs/quickstart/tokens.py).
# Small, on the quickstart's videos and the tokenizer of configs/tokenizers/peco_small.py.
_base_ = ['../quickstart/vimpac.py']

PECO = '{{$PECO:work_dirs/peco_small/tokenizer.safetensors}}'
model = dict(
    tokenizer=dict(type='ssvideo.PecoTokenizer', checkpoint=PECO),
    backbone=dict(vocab_size=256))  # of that tokenizer
train_dataloader = dict(video=dict(dataset=dict(
    _delete_=True, type='ssvideo.VideoList', source=_base_.TRAIN, stream='video', broken_log=_base_.BROKEN, pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=_base_.NUM_TOKEN_FRAMES, fps=_base_.FPS, num_clips=2),
        dict(type='ssvideo.DecodeClips'),
        _base_.shrink,
        dict(type='RandomCrop', size=_base_.SIZE),
        *_base_.pack])))
custom_hooks = [*_base_.custom_hooks[:-1], dict(type='ssvideo.PicturesHook')]
