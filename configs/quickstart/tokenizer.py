# A small DALL-E tokenizer, trained on single frames of the videos.
_base_ = ['base.py']

max_epochs = max(1, round(8 * _base_.SCALE))
model = dict(type='ssvideo.DalleVAE', vocab_size=_base_.VOCAB, hidden_dims=32, num_blocks=1, usage_weight=0.1)
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
    type='ssvideo.GuardedOptimWrapper', clip_grad=dict(max_norm=1.0), optimizer=dict(type='AdamW', lr=3e-3, weight_decay=1e-4))
param_scheduler = [
    # without a warm-up the first steps leave a few ids in use, and the rest never come back
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ssvideo.SaveTokenizerHook', out='tokenizer.safetensors'),
    dict(type='ssvideo.PicturesHook')]
