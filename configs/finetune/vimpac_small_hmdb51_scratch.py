# The twin of vimpac_small_hmdb51.py that starts from random weights, with 4 times its epochs (App. C).
_base_ = ['vimpac_small_hmdb51.py']

max_epochs = 200
model = dict(backbone=dict(init_cfg=None))
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(_base_.warm_up, end=0.1 * max_epochs),
    dict(_base_.decay, begin=0.1 * max_epochs, end=max_epochs)]
