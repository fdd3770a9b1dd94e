# VIMPAC Base: 10 epochs at 128 px, in one stage, as the paper's Table 2 trains it on HowTo100M.
# arXiv:2106.11250, Sec. 5.1 and Table 11 ("Pre-Train (Analysis)"). App. C trains this model on Kinetics-600, for a number of
# epochs that it does not print:
#     tools/dist_train.sh configs/vimpac_base.py 8
#     PRETRAIN_SET=kinetics600 tools/dist_train.sh configs/vimpac_base.py 8
# 1024 pairs a step, of which n = 128 are compared at a time; keep batch_size x processes x accumulative_counts = 1024:
#     processes  batch_size  accumulative_counts
#             8          16                    8
#            32           4                    8
#            64           2                    8
_base_ = ['vimpac_small.py']

model = dict(backbone=_base_.BASE)
# Of 1e-3, 5e-4, 3e-4 the paper takes the first that converges (Sec. 4.2); it does not say which that was for Base
optim_wrapper = dict(optimizer=dict(lr=1e-3))
