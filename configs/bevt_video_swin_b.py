# BEVT-V: the video stream alone, from random weights. arXiv:2112.01529, Sec. 4.2, Tables 1 and 6.
#     tools/dist_train.sh configs/bevt_video_swin_b.py 32
#     PRETRAIN_SET=howto100m tools/dist_train.sh configs/bevt_video_swin_b.py 32
# Table 6, Init: --cfg-options load_from=work_dirs/bevt_image_swin_b/epoch_800.pth
_base_ = ['bevt_swin_b.py']

load_from = None
default_hooks = dict(strict_load=dict(allow_unexpected=['objectives.mvm.decoder.branches.image.']))  # of the image stage
PRETRAIN_SET = '{{$PRETRAIN_SET:kinetics400}}'
VIDEOS, ROOT = f'data/{PRETRAIN_SET}/train.txt', f'data/{PRETRAIN_SET}/videos'
max_epochs = dict(kinetics400=150, howto100m=2)[PRETRAIN_SET]  # paper
warm_up_epochs = max_epochs / 15  # 10 of Kinetics-400, as in the joint stage; for HowTo100M the same share, ours

model = dict(
    backbone=dict(image_stem=False),
    maskers=dict(_delete_=True, video=dict(
        type='ssvideo.TubeMasker', mask_ratio=0.5, tube_length=(0.5, 1.0), temporal_stride=2)),
    objectives=dict(mvm=dict(decoder=dict(branches=('video',)))),
    stream_weights=None)
video = _base_.train_dataloader.video
train_dataloader = dict(_delete_=True, video=dict(video, dataset=dict(video.dataset, source=VIDEOS, data_root=ROOT)))
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(_base_.warm_up, end=warm_up_epochs),
    dict(_base_.decay, begin=warm_up_epochs, end=max_epochs)]
