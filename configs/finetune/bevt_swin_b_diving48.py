# BEVT on Diving48. Published: 86.7 %, with PeCo's tokens 87.2 (Table 4); and of the recipe only 60 epochs, 64 videos a step and
# clips of 32 frames (arXiv:2112.01529, Sec. 4.1). All else is SSv2's recipe: ours, not BEVT's.
#     tools/dist_train.sh configs/finetune/bevt_swin_b_diving48.py 8
#     tools/dist_test.sh configs/finetune/bevt_swin_b_diving48.py work_dirs/bevt_swin_b_diving48/epoch_60.pth 8
_base_ = ['bevt_swin_b_ssv2.py']

TRAIN, TEST = 'data/diving48/train.txt', 'data/diving48/test.txt'  # lines of path and label
ROOT = 'data/diving48/videos'  # of these paths

model = dict(num_classes=48)
train_dataloader = dict(dataset=dict(source=TRAIN, data_root=ROOT))
val_dataloader = dict(dataset=dict(source=TEST, data_root=ROOT))
test_dataloader = dict(dataset=dict(source=TEST, data_root=ROOT))
