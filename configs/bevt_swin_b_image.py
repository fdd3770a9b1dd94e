# BEVT, image stage: one-frame clips through the blocks of Video Swin. arXiv:2112.01529, Sec. 3. This stage was never
# released as code; what the paper leaves open follows BEiT's recipe and is marked "BEiT".
#     tools/dist_train.sh configs/bevt_swin_b_image.py 16
_base_ = ['bevt_swin_b.py']

load_from = None
max_epochs = 800  # paper, Sec. 4.1, with 2048 images a step
model = dict(
    backbone=dict(patch_size=(1, 4, 4), window_size=(1, 7, 7), drop_path_rate=0.1),  # drop path: BEiT
    maskers=dict(_delete_=True, image=dict(type='ssvideo.TubeMasker', mask_ratio=0.5)),
    objectives=dict(mvm=dict(decoder=dict(branches=('image',)))),
    stream_weights=None)

train_dataloader = dict(
    _delete_=True,
    image=dict(
        batch_size=64, num_workers=8, persistent_workers=True, drop_last=True, sampler=_base_.sampler,
        dataset=dict(
            type='ssvideo.ImageList', source=_base_.IMAGES, stream='image', pipeline=[
                dict(type='ssvideo.LoadImage'),
                dict(type='RandomResizedCrop', area_range=(0.08, 1.0)),
                dict(type='Resize', scale=(224, 224), keep_ratio=False),
                dict(type='Flip', flip_ratio=0.5),
                dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs')])))

train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))  # BEiT, 2048 images a step
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=10, end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
