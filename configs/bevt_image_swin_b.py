# BEVT, image stage (BEVT-I): one-frame clips through the blocks of Video Swin. arXiv:2112.01529, Secs. 3 and 4.1. This stage
# was never released as code; what the paper leaves open follows BEiT's recipe and is marked "BEiT": it is ours, not BEVT's.
#     tools/dist_train.sh configs/bevt_image_swin_b.py 16
_base_ = ['bevt_swin_b.py']

load_from = None
default_hooks = dict(strict_load=dict(allow_missing=[]))
max_epochs = 800  # paper
global_batch = 2048  # paper
model = dict(
    backbone=dict(patch_size=(1, 4, 4), window_size=(1, 7, 7), drop_path_rate=0.1),  # drop path: BEiT
    maskers=dict(_delete_=True, image=dict(type='ssvideo.TubeMasker', mask_ratio=0.5)),
    objectives=dict(mvm=dict(decoder=dict(branches=('image',)))),
    stream_weights=None)

train_dataloader = dict(
    _delete_=True,
    image=dict(
        **_base_.loader, batch_size=64,
        dataset=dict(**_base_.images, stream='image', pipeline=[
            *_base_.read_image,
            dict(type='RandomResizedCrop', area_range=(0.08, 1.0)),  # BEiT
            dict(type='Resize', scale=(224, 224), keep_ratio=False, interpolation='bicubic'),  # BEiT
            _base_.jitter,  # as in the joint stage, and BEiT
            *_base_.crop_and_pack[1:]])))

train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))  # BEiT, like 10 epochs of warm-up and the clipping
param_scheduler = [_base_.warm_up, dict(_base_.decay, end=max_epochs)]
