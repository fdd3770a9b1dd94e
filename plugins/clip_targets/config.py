# CLIP's features as targets for Video Swin-B on Kinetics-400: configs/bevt_video_swin_b.py with another tokenizer and loss.
#     tools/dist_train.sh plugins/clip_targets/config.py 32
# The weights are a file with timm's names, those of "vit_base_patch16_clip_224.openai". Targets and loss are EVA's
# (arXiv:2211.07636); backbone, masks, data and schedule are BEVT's, and the combination is ours, never run at full scale.
_base_ = ['../../configs/bevt_video_swin_b.py']
custom_imports = dict(imports=['ssvideo', 'plugins.clip_targets'])

work_dir = 'work_dirs/clip_targets_swin_b'
model = dict(
    backbone=dict(token_stride=(2, 16, 16)),  # ours: one target for each pair of frames, half of the teacher's work
    tokenizer=dict(
        _delete_=True, type='ssvideo.FeatureTargets', name='vit_base_patch16_clip_224.openai',
        weights='checkpoints/vit_base_patch16_clip_224.openai.safetensors', frames=2, precision='bfloat16'),
    maskers=dict(video=dict(temporal_stride=1)),
    objectives=dict(_delete_=True, features=dict(
        type='ssvideo.FeatureRegression', distance='cosine',
        decoder=dict(type='ssvideo.SwinDecoder', temporal_upsample=1, branches=('video',)))))
