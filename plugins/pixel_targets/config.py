# The quickstart's joint BEVT, with pixels instead of tokens as targets:
#     python tools/train.py plugins/pixel_targets/config.py
_base_ = ['../../configs/quickstart/bevt_joint.py']
custom_imports = dict(imports=['ssvideo', 'plugins.pixel_targets'])

load_from = None
model = dict(
    tokenizer=dict(_delete_=True, type='ssvideo.PixelTargets', stride=(1, 8, 8)),
    objectives=dict(_delete_=True, pixels=dict(type='ssvideo.PixelRegression', decoder=dict(type='ssvideo.SwinDecoder'))))
