# Fine-tune VIMPAC on labelled clips of the token store.
_base_ = ['finetune_base.py']

model = dict(
    type='ssvideo.ClipClassifier', num_classes=_base_.NUM_CLASSES, pool='map', zero_init=True, dropout=0.0,
    backbone=dict(**_base_.VIMPAC_BACKBONE, init_cfg=dict(
        type='Pretrained', checkpoint=f'{_base_.ROOT}/vimpac/last.pth', prefix='backbone.')))
train_dataloader = dict(
    **dict(_base_.loader, drop_last=False), batch_size=32, sampler=_base_.sampler,
    dataset=dict(
        type='ssvideo.TokenClips', store=f'{_base_.ROOT}/tokens', labels=_base_.FINETUNE, clip_len=_base_.NUM_TOKEN_FRAMES))
val_dataloader = dict(
    batch_size=100, num_workers=1, sampler=_base_.in_order,
    dataset=dict(type='ssvideo.TokenClips', store=f'{_base_.ROOT}/tokens_val', clip_len=_base_.NUM_TOKEN_FRAMES, test_mode=True))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=3e-3))
