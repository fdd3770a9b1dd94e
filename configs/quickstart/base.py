# What the quickstart's recipes share. Three words come from the environment, set by tools/quickstart.sh:
#   QUICKSTART        the folder of all results (work_dirs/quickstart)
#   QUICKSTART_SCALE  share of the default number of epochs; --fast sets a small one
#   QUICKSTART_DRAWS  videos drawn in an epoch of pre-training, however many there are
_base_ = ['../_base_/runtime.py']

ROOT = '{{$QUICKSTART:work_dirs/quickstart}}'
SCALE = float('{{$QUICKSTART_SCALE:1}}')
DRAWS = int('{{$QUICKSTART_DRAWS:800}}')
TRAIN = f'{ROOT}/train.txt'  # `path`, or `path label`
FINETUNE = f'{ROOT}/finetune.txt'  # a part of the training list, with labels
VAL = f'{ROOT}/val.txt'
TOKENIZER = f'{ROOT}/tokenizer/tokenizer.safetensors'

NUM_TOKEN_FRAMES, FPS = 5, 8  # clips of tokens (VIMPAC)
NUM_FRAMES, PIXEL_FPS = 8, 16  # clips of pixels (BEVT), whose patches cover two frames
SIZE = 64
VOCAB = 32  # few ids, that a model of this size learns to tell apart in minutes
MEAN = [123.675, 116.28, 103.53]
STD = [58.395, 57.12, 57.375]
BROKEN = ROOT  # the folder of broken_videos.jsonl

VIMPAC_BACKBONE = dict(
    type='ssvideo.DividedTransformer', grid=(NUM_TOKEN_FRAMES, 8, 8), vocab_size=VOCAB, embed_dims=64, num_layers=2, num_heads=4,
    layout='T,H|W', dropout=0.0)
BEVT_BACKBONE = dict(
    type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=24, depths=(1, 3, 1), num_heads=(1, 2, 4),
    window_size=(4, 4, 4), drop_path_rate=0.0,
    token_stride=(1, 8, 8))  # three stages: the last but one, where tokens are predicted, has 8 x 8 cells of 8 px

sampler = dict(type='ssvideo.DrawSampler', shuffle=True)
in_order = dict(type='DefaultSampler', shuffle=False)
loader = dict(num_workers=1, persistent_workers=True, drop_last=True, collate_fn=dict(type='ssvideo.collate_clips'))
warm_up = dict(type='LinearLR', start_factor=1e-2, by_epoch=False, end=60)  # iterations, beside the decay
shrink = dict(type='Resize', scale=(-1, SIZE))  # the short side
pack = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]

default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=-1, max_keep_ckpts=-1, filename_tmpl='last.pth'))
log_processor = dict(window_size=5)
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
