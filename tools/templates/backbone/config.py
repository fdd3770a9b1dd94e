# The quickstart's BEVT on videos, with this plugin as its backbone.
_base_ = ['CONFIGS/quickstart/bevt_video.py']
custom_imports = dict(imports=['ssvideo', 'my_plugin'])

load_from = None
model = dict(backbone=dict(_delete_=True, type='ssvideo.MyPlugin', embed_dims=48, depths=(2, 2)))
