# VIMPAC Large-Half on Kinetics-400. Published: 75.3 % (Table 1). arXiv:2106.11250, Sec. 4.2 and Table 11.
#     tools/dist_train.sh configs/finetune/vimpac_large_k400.py 8
_base_ = ['../_base_/vimpac/finetune.py']

STORE = f'data/kinetics400/tokens_{_base_.SIZE}'  # FINETUNE_SET=kinetics400, configs/tokenizers/tokens_vimpac_finetune.py
TRAIN, TEST = 'data/kinetics400/train.txt', 'data/kinetics400/val.txt'  # lines of name and label
PRETRAINED = 'work_dirs/vimpac_large_256/epoch_100.pth'

max_epochs = 30  # Table 11: 48 thousand steps
model = dict(num_classes=400, backbone=dict(_base_.LARGE, init_cfg=dict(checkpoint=PRETRAINED)))

train_dataloader = dict(dataset=dict(store=STORE, labels=TRAIN, expect=dict(fps=2)))  # Sec. 4.2: 2 FPS
test_dataloader = dict(dataset=dict(store=[f'{STORE}/{crop}' for crop in _base_.SPATIAL_CROPS], labels=TEST, expect=dict(fps=2)))
val_dataloader = test_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=5e-5))  # Table 11, Large-Half
param_scheduler = [
    dict(_base_.warm_up, end=0.1 * max_epochs),
    dict(_base_.decay, begin=0.1 * max_epochs, end=max_epochs)]
