# BEVT, image stage, small: single frames of the videos through the blocks of Video Swin.
_base_ = ['bevt_joint.py']

load_from = None
default_hooks = dict(strict_load=dict(allow_missing=[]))
max_epochs = max(1, round(8 * _base_.SCALE))
model = dict(
    backbone=dict(patch_size=(1, 4, 4), window_size=(1, 4, 4)),
    maskers=dict(_delete_=True, image=dict(type='ssvideo.TubeMasker', mask_ratio=0.5, min_block=5)),
    objectives=dict(mvm=dict(decoder=dict(branches=('image',)))))
train_dataloader = dict(_delete_=True, image=dict(_base_.image_loader, batch_size=16))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
