# Two targets for one mask: BEVT's tokens, and MaskFeat's histograms of oriented gradients, each with a head of its own. Small, on
# the quickstart's videos and tokenizer.
_base_ = ['../quickstart/bevt_joint.py']
custom_imports = dict(imports=['ssvideo', 'plugins.maskfeat'])

load_from = None
model = dict(
    tokenizer=dict(
        _delete_=True,
        tokens=dict(type='ssvideo.DalleTokenizer', checkpoint=_base_.TOKENIZER),
        hog=dict(type='ssvideo.HogTargets', stride=(1, 8, 8))),
    objectives=dict(
        mvm=dict(target='tokens'),
        hog=dict(type='ssvideo.HogRegression', target='hog', decoder=dict(type='ssvideo.SwinDecoder'))))
