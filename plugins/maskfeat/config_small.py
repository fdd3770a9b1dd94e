# MaskFeat in small, for Video Swin, on the quickstart's videos in two minutes on one core.
#     QUICKSTART=work_dirs/quickstart python tools/train.py plugins/maskfeat/config_small.py
_base_ = ['../../configs/quickstart/bevt_video.py']
custom_imports = dict(imports=['ssvideo', 'plugins.maskfeat'])

work_dir = f'{_base_.ROOT}/maskfeat'
load_from = None
max_epochs = max(1, round(8 * _base_.SCALE))
model = dict(
    backbone=dict(token_stride=(2, 8, 8)),  # a token is what a cell of the last map but one stands for: two frames
    tokenizer=dict(
        _delete_=True, type='ssvideo.HogTargets', stride=(2, 8, 8),
        min_norm=2.0),  # the plain, dark ground of these videos holds little but the noise of compression
    # what is hidden is visible in half of the frames, so that a small model soon learns to look for it there
    maskers=dict(video=dict(mask_ratio=0.4, tube_length=(0.25, 0.5), temporal_stride=1)),
    objectives=dict(_delete_=True, hog=dict(
        type='ssvideo.HogRegression', decoder=dict(type='ssvideo.SwinDecoder', temporal_upsample=1, branches=('video',)))))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
