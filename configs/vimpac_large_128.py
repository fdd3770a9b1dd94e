# VIMPAC Large-Half, stage 1 of the published model: 90 of 100 epochs of HowTo100M, at 128 px.
# arXiv:2106.11250, Sec. 4.2 and Table 11 ("Pre-Train (Results)"). Stage 2 is configs/vimpac_large_256.py.
#     tools/dist_train.sh configs/vimpac_large_128.py 64
# 1024 pairs a step, of which n = 256 are compared at a time; keep batch_size x processes x accumulative_counts = 1024:
#     processes  batch_size  accumulative_counts
#             8          16                    8
#            32           8                    4
#            64           4                    4
_base_ = ['_base_/vimpac/pretrain.py']

TOKENS = f'data/{_base_.PRETRAIN_SET}/tokens_128'  # configs/tokenizers/tokens_vimpac_128.py

max_epochs = 90
total_epochs = 100  # of both stages, over which the learning rate falls; Table 11: 120 thousand steps
model = dict(
    backbone=dict(_base_.LARGE, grid=(5, 16, 16)),
    maskers=dict(video=dict(num_blocks=5)),  # Table 9: hides 14.5 %
    objectives=dict(nce=dict(num_pairs=256)))  # Sec. 4.2: 255 negatives

train_dataloader = dict(video=dict(batch_size=4, dataset=dict(store=TOKENS, clip_len=5)))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(accumulative_counts=4, optimizer=dict(lr=3e-4))  # Table 11
param_scheduler = [
    dict(_base_.warm_up, end=0.05 * total_epochs),  # Table 11
    dict(_base_.decay, begin=0.05 * total_epochs, end=total_epochs)]
