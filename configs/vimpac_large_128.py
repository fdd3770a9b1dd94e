# VIMPAC, stage 1 (128 px): masked token prediction and a contrast between two clips of one video.
# arXiv:2106.11250, Secs. 3 and 4.1.
#     tools/dist_train.sh configs/vimpac_large_128.py 64
_base_ = ['_base_/runtime.py']

TOKENS = 'data/howto100m/tokens_128'  # made with configs/tokenizers/tokens_vimpac_128.py

max_epochs = 90
model = dict(
    type='ssvideo.Pretrainer',
    backbone=dict(
        type='ssvideo.DividedTransformer', grid=(5, 16, 16), vocab_size=8192, embed_dims=1024, num_layers=24,
        num_heads=16, attention_dims=512, mlp_dims=2048, layout='T,H|W'),  # Large-Half: half the attention and the MLP
    maskers=dict(video=dict(type='ssvideo.BlockMasker', num_blocks=5)),
    objectives=dict(
        mlm=dict(type='ssvideo.MLM'),
        nce=dict(type='ssvideo.InfoNCE', temperature=0.2, num_layers=3, hidden_dims=4096, out_dims=256, weight=1.0)))

# 1024 pairs a step: 64 processes x 4 pairs x 4 accumulated parts, so that n = 256 pairs are compared (paper, Sec. 4.1)
train_dataloader = dict(
    video=dict(
        batch_size=4, num_workers=4, persistent_workers=True, drop_last=True,
        sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
        dataset=dict(type='ssvideo.TokenClips', store=TOKENS, clip_len=5, num_clips=2, stream='video')))

train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=max_epochs)
optim_wrapper = dict(
    type='ssvideo.AutocastOptimWrapper', accumulative_counts=4,
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True),
    clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=0.05 * max_epochs, convert_to_iter_based=True),
    dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, begin=0.05 * max_epochs, end=max_epochs,
         convert_to_iter_based=True)]
