# Fine-tuning, the same budget for every model: epochs over the labelled clips, validated once, at the end.
_base_ = ['base.py']

NUM_CLASSES = int('{{$QUICKSTART_CLASSES:10}}')
max_epochs = max(1, round(12 * _base_.SCALE))
train_cfg = dict(type='ssvideo.ClipTrainLoop', max_epochs=max_epochs, val_begin=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = dict(
    type='ssvideo.VideoAccuracy', metric_list=('top_k_accuracy',), metric_options=dict(top_k_accuracy=dict(topk=(1,))))
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='ssvideo.GuardedOptimWrapper', clip_grad=dict(max_norm=1.0),
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, bypass_duplicate=True))
param_scheduler = [
    _base_.warm_up,
    dict(type='CosineAnnealingLR', end=max_epochs, eta_min=0.0, convert_to_iter_based=True)]
