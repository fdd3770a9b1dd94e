# BEVT's targets with VIMPAC's contrast: two clips of each video, whose hidden tokens are predicted, and which are told from the
# clips of other videos. Small, on the quickstart's videos and tokenizer.
_base_ = ['../quickstart/bevt_joint.py']

load_from = None
model = dict(objectives=dict(nce=dict(type='ssvideo.InfoNCE', hidden_dims=128, out_dims=64, streams=('video',))))
train_dataloader = dict(video=dict(
    batch_size=4,  # videos, of two clips each
    dataset=dict(pipeline=[
        dict(type='ssvideo.SampleClips', clip_len=_base_.NUM_FRAMES, fps=_base_.PIXEL_FPS, num_clips=2),
        dict(type='ssvideo.DecodeClips'), *_base_.crop_and_pack])))
