# Fine-tune the small VideoMAE on the quickstart's labelled clips; its views serve tools/evaluate_frozen.py, too:
#     python tools/train.py plugins/videomae/config_small_finetune.py
_base_ = ['../../configs/quickstart/finetune_bevt.py']
custom_imports = dict(imports=['ssvideo', 'plugins.videomae'])

work_dir = f'{_base_.ROOT}/finetune_videomae'
model = dict(backbone=dict(
    _delete_=True, type='ssvideo.VideoViT', patch_size=(2, 8, 8), embed_dims=96, num_layers=4, num_heads=4, positions='axes',
    init_cfg=dict(type='Pretrained', checkpoint=f'{_base_.ROOT}/videomae/last.pth', prefix='backbone.')))
