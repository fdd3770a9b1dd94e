# VIMPAC Large-Half on Something-Something v2. Published: 68.1 % (Table 1). arXiv:2106.11250, Sec. 4.2 and Table 11.
# Its classes tell left from right: no view is mirrored (the store has 6), and testing takes the centre crop alone (App. C).
#     tools/dist_train.sh configs/finetune/vimpac_large_ssv2.py 8
_base_ = ['../_base_/vimpac/finetune.py']

STORE = f'data/ssv2/tokens_{_base_.SIZE}'  # FINETUNE_SET=ssv2, configs/tokenizers/tokens_vimpac_finetune.py
TRAIN, TEST = 'data/ssv2/train.txt', 'data/ssv2/val.txt'  # lines of name and label
PRETRAINED = 'work_dirs/vimpac_large_256/epoch_100.pth'

max_epochs = 22  # Table 11: 29 thousand steps
model = dict(num_classes=174, backbone=dict(_base_.LARGE, init_cfg=dict(checkpoint=PRETRAINED)))

train_dataloader = dict(dataset=dict(store=STORE, labels=TRAIN, expect=dict(fps=4)))  # Sec. 4.2: 4 FPS
test_dataloader = dict(dataset=dict(store=[f'{STORE}/{_base_.SIZE}_center'], labels=TEST, expect=dict(fps=4)))
val_dataloader = test_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=5e-5))  # Table 11, Large-Half
param_scheduler = [
    dict(_base_.warm_up, end=0.1 * max_epochs),
    dict(_base_.decay, begin=0.1 * max_epochs, end=max_epochs)]
