# VIMPAC Large-Half, stage 2 of the published model: the last 10 of 100 epochs, at 256 px. It goes on from stage 1, with its
# schedule, its iteration and its optimiser; positions and their moments are interpolated.
# arXiv:2106.11250, Sec. 4.2 and Table 11 ("Pre-Train (Results)").
#     tools/dist_train.sh configs/vimpac_large_256.py 64
#     tools/dist_train.sh configs/vimpac_large_256.py 64 --resume     (where it was interrupted)
# 1024 pairs a step, of which n = 128 are compared at a time; keep batch_size x processes x accumulative_counts = 1024:
#     processes  batch_size  accumulative_counts
#             8           4                   32
#            32           4                    8
#            64           2                    8
_base_ = ['vimpac_large_128.py']

TOKENS = f'data/{_base_.PRETRAIN_SET}/tokens_256'  # configs/tokenizers/tokens_vimpac_128.py with VIMPAC_SIZE=256

load_from = 'work_dirs/vimpac_large_128/epoch_90.pth'
resume = True
custom_hooks = [*_base_.custom_hooks, dict(type='ssvideo.NextStageHook')]

max_epochs = 100
model = dict(
    backbone=dict(grid=(5, 32, 32)),
    maskers=dict(video=dict(num_blocks=6)),  # Table 9: hides 15.2 %
    objectives=dict(nce=dict(num_pairs=128)))  # Sec. 4.2: 127 negatives

train_dataloader = dict(video=dict(batch_size=2, dataset=dict(store=TOKENS)))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(accumulative_counts=8)
