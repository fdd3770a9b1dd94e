# A small PeCo tokenizer, trained on single frames of the quickstart's videos in two to three minutes on one core.
#     QUICKSTART=work_dirs/quickstart python tools/train.py configs/tokenizers/peco_small.py
_base_ = ['../quickstart/tokenizer.py']

max_epochs = max(1, round(6 * _base_.SCALE))
model = dict(
    _delete_=True, type='ssvideo.PecoVQVAE',
    vocab_size=256, code_dims=32, widths=(16, 32, 32, 64), num_blocks=1, attention=False,
    # no weights to download: even untrained features see edges and textures
    perceptual=dict(name='resnet18', layers=(1, 2), random_weights=True),
    perceptual_weight=0.2,
    decay=0.9,  # codes follow features that change fast in so short a training; with 0.99 most of them are soon out of use
    dead_code_threshold=0.4)  # a tenth of an even share of 16 x 64 tokens
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
