# BEVT, joint stage: Video Swin-B learns from videos and images together, from the image stage's weights.
# arXiv:2112.01529, Secs. 3 and 4.1; numbers marked "code" are those of the released configuration.
#     tools/dist_train.sh configs/bevt_swin_b.py 32
_base_ = ['_base_/runtime.py']

VIDEOS = 'data/kinetics400/train.txt'  # one `path` or `path label` a line, or a folder
IMAGES = 'data/imagenet/train'
TOKENIZER = 'checkpoints/dalle.safetensors'  # tools/convert_checkpoint.py dalle encoder.pkl OUT
load_from = 'work_dirs/bevt_swin_b_image/epoch_800.pth'  # stage 1; loading inflates it to 3D

max_epochs = 150  # passes over the videos
model = dict(
    type='ssvideo.Pretrainer',
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type='ssvideo.VideoSwin', patch_size=(2, 4, 4), window_size=(8, 7, 7), embed_dims=128, depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32), drop_path_rate=0.3),  # code
    tokenizer=dict(type='ssvideo.DalleTokenizer', checkpoint=TOKENIZER),
    maskers=dict(
        # drawn on pairs of frames, since a patch covers two
        video=dict(type='ssvideo.TubeMasker', mask_ratio=0.5, tube_length=(0.5, 1.0), temporal_stride=2),
        image=dict(type='ssvideo.TubeMasker', mask_ratio=0.5)),
    objectives=dict(mvm=dict(type='ssvideo.MVM', decoder=dict(type='ssvideo.SwinDecoder'))),
    stream_weights=dict(video=1.0, image=1.0))  # lambda of Eq. 5 is the video's

crop_and_pack = [
    dict(type='RandomCrop', size=224),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
sampler = dict(type='ssvideo.DrawSampler', shuffle=True)
# 256 videos and 2048 images a step: 32 processes x (4 and 32) x 2 accumulated parts (paper, Sec. 4.1)
train_dataloader = dict(
    video=dict(
        batch_size=4, num_workers=8, persistent_workers=True, drop_last=True, sampler=sampler,
        dataset=dict(
            type='ssvideo.VideoList', source=VIDEOS, stream='video', pipeline=[
                dict(type='ssvideo.SampleClips', clip_len=16, frame_interval=8),
                dict(type='ssvideo.DecodeClips'),
                dict(type='RandomRescale', scale_range=(256, 320), interpolation='bicubic'),
                *crop_and_pack])),
    image=dict(
        batch_size=32, num_workers=8, persistent_workers=True, drop_last=True, sampler=sampler,
        dataset=dict(
            type='ssvideo.ImageList', source=IMAGES, stream='image', pipeline=[
                dict(type='ssvideo.LoadImage'),
                dict(type='RandomRescale', scale_range=(256, 320), interpolation='bicubic'),
                *crop_and_pack])))

train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='ssvideo.AutocastOptimWrapper', accumulative_counts=2,
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),  # code, for 256 videos a step
    paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True, custom_keys={
        'relative_position_bias_table': dict(decay_mult=0.0)}),
    clip_grad=dict(max_norm=3.0))  # code
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=10, end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
