# MaskFeat for Video Swin-B on Kinetics-400. arXiv:2112.09133, Secs. 3 and 4.1; "code": the authors' configuration of MViT-S, the
# paper's own backbone.
#     tools/dist_train.sh plugins/maskfeat/config.py 32
_base_ = ['../../configs/bevt_video_swin_b.py']
custom_imports = dict(imports=['ssvideo', 'plugins.maskfeat'])

work_dir = 'work_dirs/maskfeat_swin_b'
load_from = None
max_epochs = 300  # paper
global_batch = 256  # ours; the learning rate follows
model = dict(
    backbone=dict(
        token_stride=(2, 16, 16),  # code: 8 x 14 x 14 targets for 16 frames of 224 px
        drop_path_rate=0.0),  # code
    tokenizer=dict(_delete_=True, type='ssvideo.HogTargets', stride=(2, 16, 16), num_bins=9, cell=8),  # paper, Sec. 3.2
    maskers=dict(video=dict(
        mask_ratio=0.4,  # paper
        tube_length=(1.0, 1.0),  # the paper's tubes; it prefers cubes by little, which none of our maskers draws
        temporal_stride=1)),
    objectives=dict(_delete_=True, hog=dict(
        type='ssvideo.HogRegression',  # the paper's last stage keeps 14 x 14; Video Swin's does not, so a decoder fuses two
        decoder=dict(type='ssvideo.SwinDecoder', temporal_upsample=1, branches=('video',)))))

clip = dict(type='ssvideo.SampleClips', clip_len=16, frame_interval=4)  # code
resized_crop = [
    dict(type='RandomResizedCrop', area_range=(0.5, 1.0), aspect_ratio_range=(0.75, 1.3333)),  # code
    dict(type='Resize', scale=(224, 224), keep_ratio=False)]
train_dataloader = dict(video=dict(dataset=dict(pipeline=[
    clip, dict(type='ssvideo.DecodeClips'), *resized_crop, *_base_.crop_and_pack[1:]])))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(
    optimizer=dict(lr=8e-4),  # code: 1e-4 for 32 clips, scaled with the batch; decay 0.05 as here
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),  # code
    clip_grad=dict(max_norm=0.02))  # code
param_scheduler = [
    dict(_base_.warm_up, end=10),  # code
    dict(_base_.decay, begin=10, end=max_epochs, eta_min=1e-6)]  # code
