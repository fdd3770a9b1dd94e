# The quickstart's BEVT on videos, with this plugin as its objective.
_base_ = ['CONFIGS/quickstart/bevt_video.py']
custom_imports = dict(imports=['ssvideo', 'my_plugin'])

load_from = None
model = dict(objectives=dict(_delete_=True, smoothed=dict(type='ssvideo.MyPlugin', label_smoothing=0.1)))
