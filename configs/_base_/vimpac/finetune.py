# What VIMPAC's fine-tuning recipes share. arXiv:2106.11250, Sec. 4.2, App. B and C, Table 11. Three words of the environment
# change the clips; VIMPAC_FRAMES=5 VIMPAC_SIZE=128 VIMPAC_CROPS=2 are those of the paper's analyses (Sec. 5).
_base_ = ['../runtime.py', 'sizes.py']

FRAMES = int('{{$VIMPAC_FRAMES:10}}')  # T, token frames of a clip
SIZE = int('{{$VIMPAC_SIZE:256}}')  # S, pixels
TEMPORAL_CROPS = int('{{$VIMPAC_CROPS:10}}')  # clips of each spatial crop in testing, evenly spread
SPATIAL_CROPS = [f'{SIZE}_{crop}' for crop in ('top_left', 'center', 'bottom_right')]  # stored views of the smaller size

model = dict(
    type='ssvideo.ClipClassifier', pool='summary', zero_init=True, dropout=0.0,  # zero FC on [CLS]; dropout in the backbone only
    average_clips='prob',  # softmax before averaging
    backbone=dict(grid=(FRAMES, SIZE // 8, SIZE // 8), init_cfg=dict(type='Pretrained', prefix='backbone.')))

# 128 clips a step: 8 processes x 4 x 4 accumulated parts. Another number of processes: keep the product
train_dataloader = dict(
    batch_size=4, num_workers=4, persistent_workers=True,
    sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
    # one clip from a random place in a random one of 12 stored views: 2 sizes x 3 crops x mirrored or not
    dataset=dict(type='ssvideo.TokenClips', clip_len=FRAMES))
# tested once, after the last epoch; to watch it: --cfg-options train_cfg.val_interval=10
test_dataloader = dict(
    batch_size=1, num_workers=2, persistent_workers=True,  # one video is 30 clips
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ssvideo.TokenClips', clip_len=FRAMES, num_clips=TEMPORAL_CROPS, test_mode=True))
val_dataloader = test_dataloader
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
test_evaluator = dict(
    type='ssvideo.VideoAccuracy', metric_list=('top_k_accuracy',), metric_options=dict(top_k_accuracy=dict(topk=(1, 5))))
val_evaluator = test_evaluator

train_cfg = dict(type='ssvideo.ClipTrainLoop')
optim_wrapper = dict(
    type='ssvideo.AutocastOptimWrapper', accumulative_counts=4,
    optimizer=dict(type='AdamW', betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=1.0))
# linear warm-up over a tenth of the epochs, linear decay over the rest
warm_up = dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, convert_to_iter_based=True)
decay = dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, convert_to_iter_based=True)
