# Features of a frozen network as targets, in small, on the quickstart's videos in three minutes on one core.
#     QUICKSTART=work_dirs/quickstart python tools/train.py plugins/clip_targets/config_small.py
_base_ = ['../../configs/quickstart/bevt_video.py']
custom_imports = dict(imports=['ssvideo', 'plugins.clip_targets'])

work_dir = f'{_base_.ROOT}/clip_targets'
load_from = None
max_epochs = max(1, round(8 * _base_.SCALE))
model = dict(
    backbone=dict(token_stride=(2, 8, 8)),
    # no weights to download: even untrained features see edges and textures. Its second stage has 8 x 8 pixels for a position
    tokenizer=dict(_delete_=True, type='ssvideo.FeatureTargets', name='resnet18', layer=2, frames=2, random_weights=True),
    maskers=dict(video=dict(temporal_stride=1)),
    objectives=dict(_delete_=True, features=dict(
        type='ssvideo.FeatureRegression', decoder=dict(type='ssvideo.SwinDecoder', temporal_upsample=1, branches=('video',)))))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
custom_hooks = _base_.custom_hooks[:-1]  # without pictures: features have no decoder
