# VideoMAE, ViT-B on Kinetics-400. arXiv:2203.12602; numbers marked "code" are those of the released configuration.
#     tools/dist_train.sh plugins/videomae/config.py 64
# A word of the environment: VIDEOMAE_EPOCHS=1600. The authors list 79.4 % after 800 epochs (80.4 with repeated augmentation) and
# 80.9 after 1600, fine-tuned.
_base_ = ['../../configs/_base_/runtime.py']
custom_imports = dict(imports=['ssvideo', 'plugins.videomae'])

VIDEOS, ROOT = 'data/kinetics400/train.txt', 'data/kinetics400/videos'  # one `path` or `path label` a line, below ROOT

work_dir = 'work_dirs/videomae'
max_epochs = int('{{$VIDEOMAE_EPOCHS:800}}')
global_batch = 2048  # code: 64 processes x 32
model = dict(
    type='ssvideo.Pretrainer',
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(type='ssvideo.VideoViT', patch_size=(2, 16, 16), embed_dims=768, num_layers=12, num_heads=12),  # code
    tokenizer=dict(type='ssvideo.PixelTargets', stride=(2, 16, 16), colours_apart=True),  # code
    maskers=dict(video=dict(type='ssvideo.RandomTubeMasker', mask_ratio=0.9)),  # code
    objectives=dict(pixels=dict(
        type='ssvideo.PatchRegression',
        decoder=dict(type='ssvideo.MaskTokenDecoder', embed_dims=384, num_layers=4, num_heads=6))))  # code

train_dataloader = dict(video=dict(
    num_workers=8, persistent_workers=True, drop_last=True, batch_size=32,  # code
    sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
    dataset=dict(
        type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT, stream='video', pipeline=[
            dict(type='ssvideo.SampleClips', clip_len=16, frame_interval=4),  # code
            dict(type='ssvideo.DecodeClips'),
            dict(type='Resize', scale=(-1, 256)),  # ours: the code crops from the size that the files have
            dict(type='MultiScaleCrop', input_size=224, scales=(1, 0.875, 0.75, 0.66), num_fixed_crops=13),  # code
            dict(type='Resize', scale=(224, 224), keep_ratio=False),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs')])))

train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
default_hooks = dict(checkpoint=dict(interval=20))  # code
optim_wrapper = dict(
    type='ssvideo.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-4 * global_batch / 256, betas=(0.9, 0.95), weight_decay=0.05),  # code
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True, custom_keys={
        'mask_tokens': dict(decay_mult=0.0)}))  # code
warm_up_epochs = 40  # code
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / 1.5e-4, by_epoch=True, begin=0, end=warm_up_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warm_up_epochs, end=max_epochs, eta_min=1e-5 * global_batch / 256,
         convert_to_iter_based=True)]  # code
