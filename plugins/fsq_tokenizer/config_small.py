# A small FSQ tokenizer, trained on single frames of the quickstart's videos in two minutes on one core.
#     QUICKSTART=work_dirs/quickstart python tools/train.py plugins/fsq_tokenizer/config_small.py
_base_ = ['../../configs/quickstart/tokenizer.py']
custom_imports = dict(imports=['ssvideo', 'plugins.fsq_tokenizer'])

work_dir = f'{_base_.ROOT}/fsq'  # config_small_tokens.py reads the tokenizer there
max_epochs = max(1, round(6 * _base_.SCALE))
model = dict(
    _delete_=True, type='ssvideo.FsqVAE',
    levels=[5, 4, 3],  # 60 ids: few, that a small model learns to tell apart in minutes
    widths=(16, 32, 32, 64), num_blocks=1, attention=False, pixel_distance='l2', perceptual=None)
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
