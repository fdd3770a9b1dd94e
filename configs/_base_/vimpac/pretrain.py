# What VIMPAC's pre-training recipes share. arXiv:2106.11250, Secs. 3 and 4, App. B and C, Table 11.
_base_ = ['../runtime.py', 'sizes.py']

PRETRAIN_SET = '{{$PRETRAIN_SET:howto100m}}'  # or kinetics400, kinetics600, kinetics700 (App. C)

model = dict(
    type='ssvideo.Pretrainer',
    maskers=dict(video=dict(type='ssvideo.BlockMasker')),
    objectives=dict(
        mlm=dict(type='ssvideo.MLM'),
        nce=dict(
            type='ssvideo.InfoNCE', temperature=0.2,  # published code; the paper does not print it
            num_layers=3, hidden_dims=4096, out_dims=256,  # App. C
            weight=1.0)))  # alpha; 0.5 is as good (Table 16)

train_dataloader = dict(
    video=dict(
        num_workers=4, persistent_workers=True, drop_last=True,
        sampler=dict(type='ssvideo.DrawSampler', shuffle=True),
        # two clips a video, drawn uniformly and independently, and no augmentation (Secs. 3.2 and 4.2)
        dataset=dict(type='ssvideo.TokenClips', num_clips=2, stream='video', expect=dict(fps=2))))

train_cfg = dict(type='ssvideo.StreamTrainLoop')
optim_wrapper = dict(
    type='ssvideo.AutocastOptimWrapper',
    optimizer=dict(type='AdamW', betas=(0.9, 0.98), eps=1e-8, weight_decay=0.05),  # Table 11
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True),
    clip_grad=dict(max_norm=1.0))  # Table 11
# linear warm-up and decay (Table 11); LinearLR cannot start from zero
warm_up = dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, convert_to_iter_based=True)
decay = dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=True, convert_to_iter_based=True)
