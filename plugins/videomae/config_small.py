# VideoMAE, small, on the quickstart's videos (run `bash tools/quickstart.sh` once before):
#     python tools/train.py plugins/videomae/config_small.py
_base_ = ['../../configs/quickstart/bevt_joint.py']
custom_imports = dict(imports=['ssvideo', 'plugins.videomae'])

load_from = None
default_hooks = dict(strict_load=dict(allow_missing=[]))
work_dir = f'{_base_.ROOT}/videomae'
max_epochs = max(1, round(12 * _base_.SCALE))
BACKBONE = dict(
    type='ssvideo.VideoViT', patch_size=(2, 8, 8), embed_dims=96, num_layers=4, num_heads=4, positions='axes')
model = dict(
    _delete_=True, type='ssvideo.Pretrainer',
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=_base_.MEAN, std=_base_.STD),
    backbone=BACKBONE,
    tokenizer=dict(type='ssvideo.PixelTargets', stride=(2, 8, 8), colours_apart=True),
    maskers=dict(video=dict(type='ssvideo.RandomTubeMasker', mask_ratio=0.75)),
    objectives=dict(pixels=dict(
        type='ssvideo.PatchRegression',
        decoder=dict(type='ssvideo.MaskTokenDecoder', embed_dims=64, num_layers=2, num_heads=4, positions='axes'))))
train_dataloader = dict(_delete_=True, video=dict(_base_.train_dataloader.video, batch_size=16))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(
    _delete_=True, type='ssvideo.GuardedOptimWrapper', clip_grad=dict(max_norm=1.0),
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True))
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
