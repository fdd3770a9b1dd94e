# The quickstart's BEVT on videos, which predicts tokens of this plugin.
_base_ = ['CONFIGS/quickstart/bevt_video.py']
custom_imports = dict(imports=['ssvideo', 'my_plugin'])

load_from = None
model = dict(tokenizer=dict(_delete_=True, type='ssvideo.MyPlugin', levels=3))
