# MaskFeat in small, for a ViT, on the quickstart's videos in three minutes on one core.
#     QUICKSTART=work_dirs/quickstart python tools/train.py plugins/maskfeat/config_small_vit.py
_base_ = ['config_small.py']

work_dir = f'{_base_.ROOT}/maskfeat_vit'
model = dict(
    backbone=dict(
        _delete_=True, type='ssvideo.MaskTokenViT', grid=(_base_.NUM_FRAMES // 2, 8, 8), patch_size=(2, 8, 8), embed_dims=96,
        num_layers=4, num_heads=4),
    objectives=dict(hog=dict(decoder=dict(_delete_=True, type='ssvideo.LastMap'))))
