# BEVT, joint stage, with the videos' targets read from a token store instead of made in every step: half of what the
# tokenizer costs, for which every frame is seen in one fixed view. (The images keep their augmentation and the tokenizer.)
# Not a published recipe: the random sizes, crops and flips of videos are given up.
#     tools/extract_tokens.py configs/tokenizers/tokens_bevt.py --out data/kinetics400/tokens_bevt
#     tools/dist_train.sh configs/bevt_swin_b_stored.py 32
_base_ = ['bevt_swin_b.py']

STORE = 'data/kinetics400/tokens_bevt'

train_dataloader = dict(video=dict(dataset=dict(pipeline=[
    dict(type='ssvideo.SampleClips', clip_len=16, frame_interval=8),
    dict(type='ssvideo.DecodeClips'),
    dict(type='Resize', scale=(-1, 256)),  # as in configs/tokenizers/tokens_bevt.py, like the crop
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    # with PackActionInputs in its place, the tokenizer makes them
    dict(type='ssvideo.StoredTokens', store=STORE, data_root=_base_.ROOT)])))
