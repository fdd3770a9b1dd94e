# VIMPAC's block masks on BEVT: unions of five cuboids in the place of tubes. Small, on the quickstart's videos and tokenizer.
_base_ = ['../quickstart/bevt_joint.py']

load_from = None
model = dict(maskers=dict(
    _delete_=True,
    video=dict(type='ssvideo.BlockMasker', num_blocks=5, temporal_stride=2),  # a patch covers two token frames
    image=dict(type='ssvideo.BlockMasker', num_blocks=5)))
