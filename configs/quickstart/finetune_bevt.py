# Fine-tune BEVT on labelled clips of pixels.
_base_ = ['finetune_base.py']

model = dict(
    type='ssvideo.ClipClassifier', num_classes=_base_.NUM_CLASSES, dropout=0.0,
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=_base_.MEAN, std=_base_.STD),
    backbone=dict(**_base_.BEVT_BACKBONE, init_cfg=dict(
        type='Pretrained', checkpoint=f'{_base_.ROOT}/bevt_joint/last.pth', prefix='backbone.')))
train_dataloader = dict(
    **dict(_base_.loader, drop_last=False), batch_size=32, sampler=_base_.sampler,
    dataset=dict(
        type='ssvideo.VideoList', source=_base_.FINETUNE, labels=True, pipeline=[
            dict(type='ssvideo.SampleClips', clip_len=_base_.NUM_FRAMES, fps=_base_.PIXEL_FPS),
            dict(type='ssvideo.DecodeClips'),
            _base_.shrink,
            dict(type='RandomCrop', size=_base_.SIZE),
            *_base_.pack]))
val_dataloader = dict(
    batch_size=100, num_workers=1, sampler=_base_.in_order,
    dataset=dict(
        type='ssvideo.VideoList', source=_base_.VAL, labels=True, test_mode=True, pipeline=[
            dict(type='ssvideo.SampleClips', clip_len=_base_.NUM_FRAMES, fps=_base_.PIXEL_FPS, test_mode=True),
            dict(type='ssvideo.DecodeClips'),
            _base_.shrink,
            dict(type='CenterCrop', crop_size=_base_.SIZE),
            *_base_.pack]))
test_dataloader = val_dataloader
max_epochs = max(1, round(8 * _base_.SCALE))
train_cfg = dict(max_epochs=max_epochs, val_begin=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
