# What every recipe shares: scope, hooks, logging. A recipe adds model, data, schedule.
custom_imports = dict(imports=['ssvideo'])
default_scope = 'mmaction'  # our own components, and plugins', are written ssvideo.X

default_hooks = dict(
    runtime_info=dict(type='ssvideo.LateInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='ssvideo.LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='ssvideo.CheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    strict_load=dict(type='ssvideo.StrictLoadHook'),  # what may be missing or left over is named by the recipe that means it
    bad_numbers=dict(type='ssvideo.BadNumbersHook', max_in_row=10),
    health=dict(type='ssvideo.HealthHook'),
    broken_files=dict(type='ssvideo.BrokenFilesHook'),
    compile=dict(type='ssvideo.CompileHook', parts=()))  # default_hooks.compile.parts=backbone,objectives,tokenizers
custom_hooks = []

env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
               dist_cfg=dict(backend='nccl'))
# gradients lie in the buffers that are exchanged. static_graph=True works, too, but not with accumulation (torch fails)
model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False, gradient_as_bucket_view=True)
log_processor = dict(
    type='LogProcessor', window_size=20, by_epoch=True,
    mean_pattern=r'loss|time|grad_norm|_(accuracy|perplexity|similarity|mask_ratio)$')  # of the rest the last value is logged
# Weights & Biases instead of TensorBoard: --cfg-options visualizer.vis_backends.1.type=WandbVisBackend
visualizer = dict(type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
