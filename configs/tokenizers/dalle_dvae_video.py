# DALL-E's discrete VAE, trained on single frames of videos.
#     tools/dist_train.sh configs/tokenizers/dalle_dvae_video.py 64
_base_ = ['dalle_dvae.py']

VIDEOS = 'data/kinetics400/train.txt'  # one `path` or `path label` a line, or a folder
ROOT = 'data/kinetics400/videos'  # of these paths

NUM_DRAWS = 1_281_167  # frames in an epoch, as many as ImageNet-1K has pictures, so that all schedules stay
train_dataloader = dict(
    image=dict(
        sampler=dict(num_draws=NUM_DRAWS),
        dataset=dict(
            _delete_=True, type='ssvideo.VideoList', source=VIDEOS, data_root=ROOT, stream='image', pipeline=[
                dict(type='ssvideo.SampleClips', clip_len=1, frame_interval=1),
                dict(type='ssvideo.DecodeClips'),
                *_base_.crop_and_pack])))
