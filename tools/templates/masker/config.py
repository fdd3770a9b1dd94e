# The quickstart's BEVT on videos, with masks of this plugin.
_base_ = ['CONFIGS/quickstart/bevt_video.py']
custom_imports = dict(imports=['ssvideo', 'my_plugin'])

load_from = None
model = dict(maskers=dict(video=dict(_delete_=True, type='ssvideo.MyPlugin', mask_ratio=0.75, temporal_stride=2)))
