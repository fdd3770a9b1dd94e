# VideoMAE's ViT-B, fine-tuned on Kinetics-400. arXiv:2203.12602; numbers marked "code" are those of the released configuration.
#     tools/dist_train.sh plugins/videomae/config_finetune_k400.py 64
#     tools/dist_test.sh plugins/videomae/config_finetune_k400.py work_dirs/videomae_k400/epoch_100.pth 8
# Not as released: mixup and cutmix are left out, and the summary is the mean of normalised tokens (there the mean is normalised).
_base_ = ['../../configs/_base_/runtime.py']
custom_imports = dict(imports=['ssvideo', 'plugins.videomae'])

PRETRAINED = 'work_dirs/videomae/epoch_800.pth'
TRAIN, TEST = 'data/kinetics400/train.txt', 'data/kinetics400/val.txt'  # lines of path and label
ROOT = 'data/kinetics400/videos'  # of these paths

work_dir = 'work_dirs/videomae_k400'
max_epochs = 100  # code
global_batch = 512  # code: 64 processes x 8
model = dict(
    type='ssvideo.ClipClassifier', num_classes=400, pool='summary', dropout=0.0, label_smoothing=0.1,  # code
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type='ssvideo.VideoViT', patch_size=(2, 16, 16), embed_dims=768, num_layers=12, num_heads=12, drop_path_rate=0.1,  # code
        init_cfg=dict(type='Pretrained', checkpoint=PRETRAINED, prefix='backbone.')))

clip = dict(type='ssvideo.SampleClips', clip_len=16, frame_interval=4)  # code
pack = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
loader = dict(num_workers=8, persistent_workers=True)
train_dataloader = dict(
    **loader, batch_size=8,
    sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
    dataset=dict(type='ssvideo.VideoList', labels=True, source=TRAIN, data_root=ROOT, pipeline=[
        clip,
        dict(type='ssvideo.DecodeClips'),
        dict(type='Resize', scale=(-1, 256)),
        dict(type='RandomResizedCrop'),
        dict(type='Resize', scale=(224, 224), keep_ratio=False),
        dict(type='Flip', flip_ratio=0.5),
        dict(type='ssvideo.RandomClipAugment', num_ops=4, magnitude=7),  # code, there with magnitudes that vary by 0.5
        dict(type='ssvideo.RandomClipErasing', probability=0.25),  # code
        *pack]))
val_dataloader = dict(
    **loader, batch_size=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ssvideo.VideoList', labels=True, test_mode=True, source=TEST, data_root=ROOT, pipeline=[
        dict(clip, test_mode=True),
        dict(type='ssvideo.DecodeClips'),
        dict(type='Resize', scale=(-1, 224)),
        dict(type='CenterCrop', crop_size=224),
        *pack]))
test_dataloader = dict(val_dataloader, batch_size=1, dataset=dict(val_dataloader['dataset'], pipeline=[  # code: 5 clips x 3 crops
    dict(clip, num_clips=5, test_mode=True),
    dict(type='ssvideo.DecodeClips'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224),
    *pack]))
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = dict(
    type='ssvideo.VideoAccuracy', metric_list=('top_k_accuracy', 'mean_class_accuracy'),
    metric_options=dict(top_k_accuracy=dict(topk=(1, 5))))
test_evaluator = val_evaluator

train_cfg = dict(type='ssvideo.ClipTrainLoop', max_epochs=max_epochs, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=10))  # code
optim_wrapper = dict(
    type='ssvideo.AutocastOptimWrapper',
    constructor='ssvideo.LayerDecayConstructor',
    optimizer=dict(type='AdamW', lr=1e-3 * global_batch / 256, betas=(0.9, 0.999), weight_decay=0.05),  # code
    paramwise_cfg=dict(layer_decay=0.75, full_rate=('backbone.norm',), no_weight_decay=('bias', 'norm')))  # code
warm_up_epochs = 5  # code
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=warm_up_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=warm_up_epochs, end=max_epochs, eta_min=1e-6 * global_batch / 256,
         convert_to_iter_based=True)]  # code
