# The twin of finetune_bevt.py that starts from random weights.
_base_ = ['finetune_bevt.py']

model = dict(backbone=dict(init_cfg=None))
