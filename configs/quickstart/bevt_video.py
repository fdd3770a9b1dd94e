# BEVT-V, small: the joint stage without its images. Not a step of the quickstart; tools/dev/bevt_ablation.py trains it.
_base_ = ['bevt_joint.py']

default_hooks = dict(strict_load=dict(allow_unexpected=['objectives.mvm.decoder.branches.image.']))  # of the image stage
model = dict(
    backbone=dict(image_stem=False),
    maskers=dict(_delete_=True, video=dict(type='ssvideo.TubeMasker', mask_ratio=0.5, min_block=5, temporal_stride=2)),
    objectives=dict(mvm=dict(decoder=dict(branches=('video',)))))
train_dataloader = dict(_delete_=True, video=_base_.train_dataloader.video)
