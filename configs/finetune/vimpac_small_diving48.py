# VIMPAC Small on Diving48: vimpac_large_diving48.py with the smaller model.
# The paper's analyses (Sec. 5) have shorter and smaller clips:
#     VIMPAC_FRAMES=5 VIMPAC_SIZE=128 VIMPAC_CROPS=2 tools/dist_train.sh configs/finetune/vimpac_small_diving48.py 8
_base_ = ['vimpac_large_diving48.py']

PRETRAINED = 'work_dirs/vimpac_small/epoch_10.pth'

model = dict(backbone=dict(_base_.SMALL, init_cfg=dict(checkpoint=PRETRAINED)))
optim_wrapper = dict(optimizer=dict(lr=1e-4))  # Table 11, Small and Base
