# DALL-E's discrete VAE, trained on ImageNet-1K. arXiv:2102.12092, App. A; its own pictures were 250 million of the web.
#     tools/dist_train.sh configs/tokenizers/dalle_dvae.py 64
# Published, and not here: averaging the weights over the steps (0.999).
_base_ = ['../_base_/runtime.py']

IMAGES = 'data/imagenet/train'  # a folder, or one `path` a line

max_epochs = 480  # 1.2 million steps, over which the published learning rate falls
model = dict(
    type='ssvideo.DalleVAE', vocab_size=8192, hidden_dims=256, num_blocks=2, input_dims=128,
    temperature=(1.0, 1 / 16), temperature_iters=150_000, kl_weight=6.6, kl_iters=5_000,
    usage_weight=0.0, codebook_init='random')  # both as published

crop_and_pack = [
    dict(type='RandomRescale', scale_range=(256, 288), interpolation='area'),
    dict(type='RandomCrop', size=256),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
loader = dict(
    batch_size=8, num_workers=8, persistent_workers=True, drop_last=True,  # 64 processes x 8: 512 pictures a step
    sampler=dict(type='ssvideo.DrawSampler', shuffle=True))
train_dataloader = dict(
    image=dict(**loader, dataset=dict(
        type='ssvideo.ImageList', source=IMAGES, stream='image', pipeline=[dict(type='ssvideo.LoadImage'), *crop_and_pack])))

train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='ssvideo.GuardedOptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=1.25e-6, convert_to_iter_based=True)]
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ssvideo.SaveTokenizerHook', out='tokenizer.safetensors'),
    dict(type='ssvideo.PicturesHook', interval=10)]
