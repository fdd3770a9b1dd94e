# A small PeCo tokenizer, trained on single frames of the quickstart's videos in two to three minutes on one core.
#     QUICKSTART=work_dirs/quickstart python tools/train.py configs/tokenizers/peco_small.py
_base_ = ['../quickstart/base.py']

max_epochs = max(1, round(6 * _base_.SCALE))
model = dict(
    type='ssvideo.PecoVQVAE', vocab_size=_base_.VOCAB, code_dims=32, widths=(16, 32, 32, 64), num_blocks=1, attention=False,
    # no weights to download: even untrained features see edges and textures
    perceptual=dict(name='resnet18', layers=(1, 2), random_weights=True),
    perceptual_weight=0.2,
    decay=0.9,  # codes follow features that change fast in so short a training; with 0.99 most of them are soon out of use
    dead_code_threshold=0.4)  # a tenth of an even share of 16 x 64 tokens
train_dataloader = dict(
    image=dict(
        **_base_.loader, batch_size=16, sampler=dict(**_base_.sampler, num_draws=_base_.DRAWS),
        dataset=dict(
            type='ssvideo.VideoList', source=_base_.TRAIN, stream='image', broken_log=_base_.BROKEN, pipeline=[
                dict(type='ssvideo.SampleClips', clip_len=1, fps=_base_.FPS, num_clips=1),
                dict(type='ssvideo.DecodeClips'),
                _base_.shrink,
                dict(type='RandomCrop', size=_base_.SIZE),
                *_base_.pack])))
train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='OptimWrapper', clip_grad=dict(max_norm=1.0), optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4))
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ssvideo.SaveTokenizerHook', out='tokenizer.safetensors'),
    dict(type='ssvideo.PicturesHook')]
