# The twin of vimpac_large_ssv2.py that starts from random weights, with 1.5 times its epochs (App. C).
_base_ = ['vimpac_large_ssv2.py']

max_epochs = 33
model = dict(backbone=dict(init_cfg=None))
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(_base_.warm_up, end=0.1 * max_epochs),
    dict(_base_.decay, begin=0.1 * max_epochs, end=max_epochs)]
