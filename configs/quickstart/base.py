# What the quickstart's recipes share. Two words come from the environment, set by tools/quickstart.sh:
#   QUICKSTART        the folder of all results (work_dirs/quickstart)
#   QUICKSTART_SCALE  share of the default number of epochs; --fast sets a small one
_base_ = ['../_base_/runtime.py']

ROOT = '{{$QUICKSTART:work_dirs/quickstart}}'
SCALE = float('{{$QUICKSTART_SCALE:1}}')
TRAIN = f'{ROOT}/train.txt'  # `path`, or `path label`
VAL = f'{ROOT}/val.txt'
TOKENIZER = f'{ROOT}/tokenizer/tokenizer.safetensors'

NUM_FRAMES = 8  # a second of video at 8 frames a second
FPS = 8
SIZE = 64
VOCAB = 256
MEAN = [123.675, 116.28, 103.53]
STD = [58.395, 57.12, 57.375]
BROKEN = f'{ROOT}/broken_videos.jsonl'

sampler = dict(type='ssvideo.DrawSampler', shuffle=True)
in_order = dict(type='DefaultSampler', shuffle=False)
loader = dict(num_workers=1, persistent_workers=True, drop_last=True)
shrink = dict(type='Resize', scale=(-1, SIZE))  # the short side
pack = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]

default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=-1, save_last=True, max_keep_ckpts=1))
log_processor = dict(window_size=5)
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
