# VIMPAC Small, the model of the paper's analyses: 10 epochs of HowTo100M at 128 px, in one stage.
# arXiv:2106.11250, Sec. 5 and Table 11 ("Pre-Train (Analysis)"). docs/vimpac.md has what each table changes.
#     tools/dist_train.sh configs/vimpac_small.py 8
# 1024 pairs a step, of which n = 128 are compared at a time; keep batch_size x processes x accumulative_counts = 1024:
#     processes  batch_size  accumulative_counts
#             8          16                    8
#            32           4                    8
#            64           2                    8
_base_ = ['_base_/vimpac/pretrain.py']

FRAMES, SIZE = int('{{$VIMPAC_FRAMES:5}}'), int('{{$VIMPAC_SIZE:128}}')  # Table 14 varies both
TOKENS = f'data/{_base_.PRETRAIN_SET}/tokens_{SIZE}'  # configs/tokenizers/tokens_vimpac_128.py

max_epochs = 10  # Table 11: 12 thousand steps
model = dict(
    backbone=dict(_base_.SMALL, grid=(FRAMES, SIZE // 8, SIZE // 8)),
    maskers=dict(video=dict(num_blocks=5)),  # hides 14.5 %; for other grids see Table 9
    objectives=dict(nce=dict(num_pairs=128)))  # Sec. 4.2, analyses

train_dataloader = dict(video=dict(batch_size=16, dataset=dict(store=TOKENS, clip_len=FRAMES)))
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(
    accumulative_counts=8,
    optimizer=dict(lr=1e-3))  # Table 11; where it diverges 5e-4, then 3e-4 (Sec. 4.2)
param_scheduler = [
    dict(_base_.warm_up, end=0.1 * max_epochs),  # Table 11
    dict(_base_.decay, begin=0.1 * max_epochs, end=max_epochs)]
