# VIMPAC, small: masked token prediction and contrast on clips of the token store.
_base_ = ['base.py']

max_epochs = max(1, round(12 * _base_.SCALE))
model = dict(
    type='ssvideo.Pretrainer',
    backbone=_base_.VIMPAC_BACKBONE,
    maskers=dict(video=dict(type='ssvideo.BlockMasker', num_blocks=5)),
    objectives=dict(
        mlm=dict(type='ssvideo.MLM'),
        nce=dict(type='ssvideo.InfoNCE', hidden_dims=128, out_dims=64)))
train_dataloader = dict(
    video=dict(
        **_base_.loader, batch_size=8, sampler=dict(**_base_.sampler, num_draws=_base_.DRAWS),
        dataset=dict(type='ssvideo.TokenClips', store=f'{_base_.ROOT}/tokens', clip_len=_base_.NUM_TOKEN_FRAMES, num_clips=2)))
train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='ssvideo.GuardedOptimWrapper', clip_grad=dict(max_norm=1.0),
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True))
param_scheduler = [
    _base_.warm_up,
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, end=max_epochs, convert_to_iter_based=True)]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ssvideo.PicturesHook', tokenizer=dict(type='ssvideo.DalleTokenizer', checkpoint=_base_.TOKENIZER))]
