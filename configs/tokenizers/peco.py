# PeCo: 8192 codes for squares of 16 x 16 pixels that look alike to a self-supervised ViT-B. arXiv:2111.12710.
#     tools/dist_train.sh configs/tokenizers/peco.py 8
# No official code or weights exist. The size of the codebook, the stride, the data and the kind of perceptual network are the
# paper's; the rest is of VQ-GAN (arXiv:2012.09841, stride 16) where it says so, and otherwise ours, never run at full scale.
_base_ = ['../_base_/runtime.py']

IMAGES = 'data/imagenet/train'  # ImageNet-1K alone, as published: a folder, or one `path` a line
# Any self-supervised ViT-B/16 with timm's names, such as those of MoCo v3 (set PREFIX to its encoder's), DINO or MAE
PERCEPTUAL, PREFIX = 'checkpoints/vit_base_self_supervised.safetensors', ''

max_epochs = 100
model = dict(
    type='ssvideo.PecoVQVAE', vocab_size=8192, code_dims=256,
    widths=(128, 128, 256, 256, 512), num_blocks=2, attention=True,  # VQ-GAN
    perceptual=dict(
        name='vit_base_patch16_224.dino',  # the tag says that it was shown ImageNet's mean and deviation
        layers=(2, 5, 8, 11), weights=PERCEPTUAL, prefix=PREFIX),
    pixel_distance='l1', commitment_weight=0.25,  # VQ-GAN
    perceptual_weight=1.0, decay=0.99,
    dead_code_threshold=0.1)  # an even share of the 128 x 196 tokens of a step is 3

train_dataloader = dict(
    image=dict(
        batch_size=16, num_workers=8, persistent_workers=True, drop_last=True,  # 8 processes x 16: 128 pictures a step
        sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
        dataset=dict(
            type='ssvideo.ImageList', source=IMAGES, stream='image', pipeline=[
                dict(type='ssvideo.LoadImage'),
                dict(type='RandomRescale', scale_range=(224, 256), interpolation='area'),
                dict(type='RandomCrop', size=224),
                dict(type='Flip', flip_ratio=0.5),
                dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs')])))

train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='ssvideo.GuardedOptimWrapper', clip_grad=dict(max_norm=1.0),
    optimizer=dict(type='AdamW', lr=5e-5, betas=(0.9, 0.95), weight_decay=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=1, end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ssvideo.SaveTokenizerHook', out='tokenizer.safetensors'),
    dict(type='ssvideo.PicturesHook', interval=10)]
