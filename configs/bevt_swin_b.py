# BEVT, joint stage: Video Swin-B learns from videos and images together, from the image stage's weights.
# arXiv:2112.01529, Secs. 3 and 4.1; numbers marked "code" are those of the released configuration.
#     tools/dist_train.sh configs/bevt_swin_b.py 32
# A word of the environment: BEVT_IMAGES=frames takes single frames of the videos as images (Table 7).
_base_ = ['_base_/runtime.py']

VIDEOS, ROOT = 'data/kinetics400/train.txt', 'data/kinetics400/videos'  # one `path` or `path label` a line, below ROOT
IMAGES = 'data/imagenet/train'  # a folder, or a list of the same kind
TOKENIZER = 'checkpoints/dalle.safetensors'  # tools/convert_checkpoint.py dalle encoder.pkl OUT
load_from = 'work_dirs/bevt_image_swin_b/epoch_800.pth'  # stage 1; loading inflates it to 3D. None: Table 6, no Init
default_hooks = dict(strict_load=dict(allow_missing=['objectives.mvm.decoder.branches.video.']))  # images have no use for it

max_epochs = 150  # passes over the videos
global_batch = 256  # videos a step, and 2048 images (Sec. 4.1); any number of processes that can accumulate it
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

rescale = dict(type='RandomRescale', scale_range=(256, 320), interpolation='bicubic')  # the short side
jitter = dict(type='TorchVisionWrapper', op='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)
crop_and_pack = [
    dict(type='RandomCrop', size=224),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
images, read_image = dict(
    imagenet=(dict(type='ssvideo.ImageList', source=IMAGES),
              [dict(type='ssvideo.LoadImage')]),
    frames=(dict(type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT),
            [dict(type='ssvideo.SampleClips', clip_len=1), dict(type='ssvideo.DecodeClips')]),
)['{{$BEVT_IMAGES:imagenet}}']
loader = dict(num_workers=8, persistent_workers=True, drop_last=True, sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
              collate_fn=dict(type='ssvideo.collate_clips'))
train_dataloader = dict(
    video=dict(
        **loader, batch_size=4,
        dataset=dict(
            type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT, stream='video', pipeline=[
                dict(type='ssvideo.SampleClips', clip_len=16, frame_interval=8),  # code
                dict(type='ssvideo.DecodeClips'),
                dict(type='ssvideo.RandomRescaledCrop', size=224, scale_range=(256, 320)),  # rescale and crop in one, faster
                *crop_and_pack[1:]])),
    image=dict(
        **loader, batch_size=32,  # 8 images beside each video
        dataset=dict(**images, stream='image', pipeline=[*read_image, rescale, jitter, *crop_and_pack])))  # code

train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='ssvideo.AutocastOptimWrapper', accumulative_counts=2,  # on 32 processes; on others from global_batch
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),  # code
    paramwise_cfg=dict(norm_decay_mult=0.0, bypass_duplicate=True, custom_keys={  # code: biases are decayed
        'relative_position_bias_table': dict(decay_mult=0.0)}),
    clip_grad=dict(max_norm=3.0))  # code
warm_up = dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=10, convert_to_iter_based=True)  # code
decay = dict(type='CosineAnnealingLR', by_epoch=True, begin=10, end=max_epochs, eta_min=0.0, convert_to_iter_based=True)
param_scheduler = [warm_up, decay]
