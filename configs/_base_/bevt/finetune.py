# What BEVT's fine-tuning recipes share. arXiv:2112.01529, Sec. 4.1; numbers marked "code" are those of the released
# configurations.
_base_ = ['../runtime.py']

PRETRAINED = 'work_dirs/bevt_swin_b/epoch_150.pth'

max_epochs = 60  # paper
global_batch = 64  # paper; 8 processes x 8, or any that can accumulate it
model = dict(
    type='ssvideo.ClipClassifier', dropout=0.5,  # code, before the linear layer
    average_clips='prob',
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32),
        image_stem=False, init_cfg=dict(type='Pretrained', checkpoint=PRETRAINED, prefix='backbone.')))

# the steps of the pipelines; a recipe says which frames
resized_crop = [  # code
    dict(type='ssvideo.DecodeClips'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False)]
center_crop = [  # code
    dict(type='ssvideo.DecodeClips'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224)]
three_crops = [  # code
    dict(type='ssvideo.DecodeClips'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224)]
pack = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]

loader = dict(num_workers=8, persistent_workers=True, collate_fn=dict(type='ssvideo.collate_clips'))
train_dataloader = dict(
    **loader, batch_size=8,
    sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
    dataset=dict(type='ssvideo.VideoList', labels=True))
# validation looks at one clip of the centre, testing at the recipe's views
val_dataloader = dict(
    **loader, batch_size=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ssvideo.VideoList', labels=True, test_mode=True))
test_dataloader = dict(val_dataloader, batch_size=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = dict(
    type='ssvideo.VideoAccuracy', metric_list=('top_k_accuracy', 'mean_class_accuracy'),  # code
    metric_options=dict(top_k_accuracy=dict(topk=(1, 5))))
test_evaluator = val_evaluator

train_cfg = dict(type='ssvideo.ClipTrainLoop', max_epochs=max_epochs, val_interval=5)  # code
default_hooks = dict(checkpoint=dict(interval=5))  # code
optim_wrapper = dict(type='ssvideo.AutocastOptimWrapper', optimizer=dict(type='AdamW', betas=(0.9, 0.999)))  # code
param_scheduler = [  # code
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=2.5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=2.5, end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
