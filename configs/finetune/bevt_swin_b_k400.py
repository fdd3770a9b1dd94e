# BEVT on Kinetics-400. Published: 80.6 %, with PeCo's tokens 81.1 (Table 5). arXiv:2112.01529; "code": the released
# configuration.
#     tools/dist_train.sh configs/finetune/bevt_swin_b_k400.py 8
#     tools/dist_test.sh configs/finetune/bevt_swin_b_k400.py work_dirs/bevt_swin_b_k400/epoch_60.pth 8
_base_ = ['../_base_/bevt/finetune.py']

TRAIN, TEST = 'data/kinetics400/train.txt', 'data/kinetics400/val.txt'  # lines of path and label
ROOT = 'data/kinetics400/videos'  # of these paths

model = dict(num_classes=400, backbone=dict(window_size=(8, 7, 7), drop_path_rate=0.3))  # code

clip = dict(type='ssvideo.SampleClips', clip_len=32, frame_interval=2)  # length: paper, stride: code
train_dataloader = dict(dataset=dict(source=TRAIN, data_root=ROOT, pipeline=[
    clip, *_base_.resized_crop, dict(type='Flip', flip_ratio=0.5), *_base_.pack]))
val_dataloader = dict(dataset=dict(source=TEST, data_root=ROOT, pipeline=[
    dict(clip, test_mode=True), *_base_.center_crop, *_base_.pack]))
test_dataloader = dict(dataset=dict(source=TEST, data_root=ROOT, pipeline=[  # 4 clips x 3 crops: 12 views (Table 5)
    dict(clip, num_clips=4, test_mode=True), *_base_.three_crops, *_base_.pack]))

optim_wrapper = dict(
    constructor='ssvideo.LayerDecayConstructor',
    optimizer=dict(lr=3e-4, weight_decay=1e-3),  # code
    # As released: a patch merging counts as a layer; bias tables learn at the full rate, without decay, in all layers; of the
    # norms only the final one has no decay
    paramwise_cfg=dict(
        layer_decay=0.9,
        full_rate=('relative_position_bias_table',),
        no_weight_decay=('relative_position_bias_table', 'backbone.norm')),
    clip_grad=dict(max_norm=40.0))  # code
