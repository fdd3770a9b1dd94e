# BEVT-V with Video Swin-T, the model of the paper's study of masks. arXiv:2112.01529, Sec. 4.3 and Table 8; its schedule is not
# printed: this one is that of Swin-B. docs/bevt.md has the rows.
#     tools/dist_train.sh configs/bevt_video_swin_t.py 8
_base_ = ['bevt_video_swin_b.py']

model = dict(backbone=dict(
    embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.1))  # drop path: Video Swin, code
