# BEVT, joint stage, small: videos and frames of videos, from the image stage's weights.
_base_ = ['base.py']

load_from = f'{_base_.ROOT}/bevt_image/last.pth'  # inflated to 3D while it loads
default_hooks = dict(strict_load=dict(allow_missing=['objectives.mvm.decoder.branches.video.']))  # images have no use for it

max_epochs = max(1, round(16 * _base_.SCALE))
model = dict(
    type='ssvideo.Pretrainer',
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=_base_.MEAN, std=_base_.STD),
    backbone=_base_.BEVT_BACKBONE,
    tokenizer=dict(type='ssvideo.DalleTokenizer', checkpoint=_base_.TOKENIZER),
    maskers=dict(
        video=dict(type='ssvideo.TubeMasker', mask_ratio=0.5, min_block=5, temporal_stride=2),
        image=dict(type='ssvideo.TubeMasker', mask_ratio=0.5, min_block=5)),
    objectives=dict(mvm=dict(type='ssvideo.MVM', decoder=dict(type='ssvideo.SwinDecoder'))))

crop_and_pack = [_base_.shrink, dict(type='RandomCrop', size=_base_.SIZE), *_base_.pack]
image_loader = dict(
    **_base_.loader, batch_size=4, sampler=dict(**_base_.sampler, num_draws=_base_.DRAWS),
    dataset=dict(
        type='ssvideo.VideoList', source=_base_.TRAIN, stream='image', broken_log=_base_.BROKEN, pipeline=[
            dict(type='ssvideo.SampleClips', clip_len=1, fps=_base_.FPS, num_clips=1),
            dict(type='ssvideo.DecodeClips'), *crop_and_pack]))
train_dataloader = dict(
    video=dict(
        **_base_.loader, batch_size=8, sampler=dict(**_base_.sampler, num_draws=_base_.DRAWS),
        dataset=dict(
            type='ssvideo.VideoList', source=_base_.TRAIN, stream='video', broken_log=_base_.BROKEN, pipeline=[
                dict(type='ssvideo.SampleClips', clip_len=_base_.NUM_FRAMES, fps=_base_.PIXEL_FPS),
                dict(type='ssvideo.DecodeClips'), *crop_and_pack])),
    image=image_loader)
train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='ssvideo.GuardedOptimWrapper', clip_grad=dict(max_norm=3.0),
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True, custom_keys={
        'relative_position_bias_table': dict(decay_mult=0.0)}))
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
custom_hooks = [*_base_.custom_hooks, dict(type='ssvideo.PicturesHook')]
