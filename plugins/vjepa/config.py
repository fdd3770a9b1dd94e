# V-JEPA, ViT-L on 2 million videos (Kinetics-710, SSv2, HowTo100M). arXiv:2404.08471; numbers marked "code" are those of the
# released configuration.
#     tools/dist_train.sh plugins/vjepa/config.py 128
# Not as released: gradients are clipped together, from the first step (there encoder and predictor apart, after the warm-up).
_base_ = ['../../configs/_base_/runtime.py']
custom_imports = dict(imports=['ssvideo', 'plugins.vjepa'])

VIDEOS, ROOT = 'data/videomix2m/train.txt', 'data/videomix2m/videos'  # one list of all three, below ROOT

work_dir = 'work_dirs/vjepa'
max_epochs = 300  # code, of 300 steps each
global_batch = 3072  # code: 128 processes x 24
stretch = 1.25  # code: all schedules are those of a run this much longer
model = dict(
    type='ssvideo.VJEPA',
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type='ssvideo.VideoViT', patch_size=(2, 16, 16), embed_dims=1024, num_layers=24, num_heads=16, positions='axes'),  # code
    maskers=dict(  # paper, Sec. 3.2
        short=dict(type='ssvideo.MultiBlockMasker', num_blocks=8, scale=0.15, aspect=(0.75, 1.5)),
        long=dict(type='ssvideo.MultiBlockMasker', num_blocks=2, scale=0.7, aspect=(0.75, 1.5))),
    predictor=dict(
        type='ssvideo.MaskTokenDecoder', embed_dims=384, num_layers=12, num_heads=16, positions='axes', embed_bias=True))  # code

train_dataloader = dict(video=dict(
    num_workers=12, persistent_workers=True, drop_last=True, batch_size=24,  # code
    sampler=dict(type='ssvideo.DrawSampler', shuffle=True, num_draws=300 * global_batch),  # code
    dataset=dict(
        type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT, stream='video', pipeline=[
            dict(type='ssvideo.SampleClips', clip_len=16, frame_interval=4),  # code
            dict(type='ssvideo.DecodeClips'),
            dict(type='RandomResizedCrop', area_range=(0.3, 1.0), aspect_ratio_range=(0.75, 1.35)),  # code
            dict(type='Resize', scale=(224, 224), keep_ratio=False),
            dict(type='Flip', flip_ratio=0.5),  # code
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs')])))

train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
default_hooks = dict(checkpoint=dict(interval=10))
custom_hooks = [dict(type='ssvideo.TeacherHook', momentum=(0.998, 1.0), stretch=stretch)]  # code
optim_wrapper = dict(
    type='ssvideo.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=6.25e-4, betas=(0.9, 0.999), weight_decay=0.04),  # code
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True),  # code
    clip_grad=dict(max_norm=10.0))  # code
warm_up_epochs = 40  # code
param_scheduler = [  # code
    dict(type='LinearLR', start_factor=2e-4 / 6.25e-4, by_epoch=True, begin=0, end=warm_up_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warm_up_epochs, end=max_epochs, eta_min=1e-6,
         T_max=stretch * max_epochs - warm_up_epochs, convert_to_iter_based=True),
    # the weight decay rises from 0.04 to 0.4; that of norms and biases, 0, stays
    dict(type='CosineAnnealingParamScheduler', param_name='weight_decay', by_epoch=True, begin=0, end=max_epochs,
         eta_min_ratio=10.0, T_max=stretch * max_epochs, convert_to_iter_based=True)]
