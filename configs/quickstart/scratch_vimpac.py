# The twin of finetune_vimpac.py that starts from random weights.
_base_ = ['finetune_vimpac.py']

model = dict(backbone=dict(init_cfg=None))
