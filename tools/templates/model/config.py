# The quickstart's videos, with this plugin as the model.
_base_ = ['CONFIGS/quickstart/bevt_video.py']
custom_imports = dict(imports=['ssvideo', 'my_plugin'])

load_from = None
model = dict(
    _delete_=True, type='ssvideo.MyPlugin', momentum=0.99,
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=_base_.MEAN, std=_base_.STD),
    backbone=dict(**_base_.BEVT_BACKBONE, image_stem=False),
    maskers=dict(video=dict(type='ssvideo.TubeMasker', mask_ratio=0.5, min_block=5, temporal_stride=2)))
custom_hooks = []  # the quickstart's draw what a tokenizer decodes, and here is none
