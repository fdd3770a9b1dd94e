# Fine-tune the small V-JEPA's teacher on the quickstart's labelled clips; its views serve tools/evaluate_frozen.py, too:
#     python tools/train.py plugins/vjepa/config_small_finetune.py
_base_ = ['../videomae/config_small_finetune.py']

work_dir = f'{_base_.ROOT}/finetune_vjepa'
model = dict(backbone=dict(
    patch_size=(2, 16, 16), init_cfg=dict(checkpoint=f'{_base_.ROOT}/vjepa/last.pth')))  # 'backbone.' of it is the teacher
