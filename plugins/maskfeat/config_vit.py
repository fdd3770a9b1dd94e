# MaskFeat for ViT-B/16 on ImageNet-1K, the paper's image recipe. arXiv:2112.09133, Sec. 5; "code": the authors' configuration of
# 300 epochs.
#     tools/dist_train.sh plugins/maskfeat/config_vit.py 8
_base_ = ['../../configs/bevt_image_swin_b.py']
custom_imports = dict(imports=['ssvideo', 'plugins.maskfeat'])

work_dir = 'work_dirs/maskfeat_vit_b'
max_epochs = 300  # code
global_batch = 2048  # ours; the learning rate follows
model = dict(
    backbone=dict(
        _delete_=True, type='ssvideo.MaskTokenViT', grid=(1, 14, 14), patch_size=(1, 16, 16),
        embed_dims=768, num_layers=12, num_heads=12, drop_path_rate=0.0),  # code
    tokenizer=dict(_delete_=True, type='ssvideo.HogTargets', stride=(1, 16, 16), num_bins=9, cell=8),  # paper, Sec. 3.2
    maskers=dict(image=dict(mask_ratio=0.4)),  # code, in BEiT's blocks
    objectives=dict(_delete_=True, hog=dict(type='ssvideo.HogRegression', decoder=dict(type='ssvideo.LastMap'))))

pack = _base_.crop_and_pack[1:]
train_dataloader = dict(image=dict(dataset=dict(pipeline=[
    *_base_.read_image,
    dict(type='RandomResizedCrop', area_range=(0.5, 1.0), aspect_ratio_range=(0.75, 1.3333)),  # code, and no jitter
    dict(type='Resize', scale=(224, 224), keep_ratio=False, interpolation='bicubic'),
    *pack])))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(
    optimizer=dict(lr=1.6e-3),  # code: 2e-4 for 256 images, scaled with the batch
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),  # code
    clip_grad=dict(max_norm=0.02))  # code
param_scheduler = [
    dict(_base_.warm_up, end=30),  # code
    dict(_base_.decay, begin=30, end=max_epochs, eta_min=1e-6)]  # code
