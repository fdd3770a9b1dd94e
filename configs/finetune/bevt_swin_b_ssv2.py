# BEVT on Something-Something v2. Published: 70.6 %, with PeCo's tokens 71.4 (Table 3). arXiv:2112.01529; "code": the released
# configuration.
#     tools/dist_train.sh configs/finetune/bevt_swin_b_ssv2.py 8
#     tools/dist_test.sh configs/finetune/bevt_swin_b_ssv2.py work_dirs/bevt_swin_b_ssv2/epoch_60.pth 8
_base_ = ['../_base_/bevt/finetune.py']

TRAIN, TEST = 'data/ssv2/train.txt', 'data/ssv2/val.txt'  # lines of path and label
ROOT = 'data/ssv2/videos'  # of these paths

model = dict(
    num_classes=174, label_smoothing=0.1,  # code
    # code; the tables of 8 frames are interpolated to 16 while they load
    backbone=dict(window_size=(16, 7, 7), drop_path_rate=0.4))

clip = dict(type='ssvideo.SampleClips', clip_len=32, strategy='segments')  # code: a frame of each of 32 equal segments
train_dataloader = dict(dataset=dict(source=TRAIN, data_root=ROOT, pipeline=[
    clip, *_base_.resized_crop,  # no flip: classes tell left from right
    # code: n=4, m=7 of imgaug's 30 (which mirrors half of the clips besides; ours does not)
    dict(type='ssvideo.RandomClipAugment', num_ops=4, magnitude=7, max_magnitude=30),
    dict(type='ssvideo.RandomClipErasing', probability=0.25),  # code
    *_base_.pack]))
val_dataloader = dict(dataset=dict(source=TEST, data_root=ROOT, pipeline=[
    dict(clip, test_mode=True), *_base_.center_crop, *_base_.pack]))
test_dataloader = dict(dataset=dict(source=TEST, data_root=ROOT, pipeline=[  # 1 clip x 3 crops (Table 3)
    dict(clip, test_mode=True), *_base_.three_crops, *_base_.pack]))

optim_wrapper = dict(
    optimizer=dict(lr=5e-4, weight_decay=0.05),  # code
    # As released, where the longest key that matches wins: in the backbone everything but bias tables learns at a tenth of the
    # rate, norms are decayed, and bias tables learn at the full rate, without decay
    paramwise_cfg=dict(custom_keys={
        'backbone': dict(lr_mult=0.1),
        'relative_position_bias_table': dict(decay_mult=0.0)}))
# the average of the weights is validated, saved and tested; 0.9998 of it stays in each step. (Code: in each part of a step)
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.0002)]
