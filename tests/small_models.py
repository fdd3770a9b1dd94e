"""Small models of both methods with their configs and checkpoints, and videos to look at them with."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from mmengine.config import Config

from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS
from tests.video_files import write_video

TOOLS = Path(__file__).parents[1] / 'tools' / 'visualizations'
VOCAB = 20
WITHOUT_MODEL = ('browse_dataset', 'report')
BASE = """
custom_imports = dict(imports=['ssvideo'])
default_scope = 'mmaction'
"""
VIMPAC = BASE + """
model = dict(
    type='ssvideo.Pretrainer',
    backbone=dict(type='ssvideo.DividedTransformer', grid=(3, 4, 4), vocab_size=20, embed_dims=24, num_layers=1, num_heads=4),
    maskers=dict(video=dict(type='ssvideo.BlockMasker', num_blocks=5)),
    objectives=dict(mlm=dict(type='ssvideo.MLM')))
train_dataloader = dict(video=dict(dataset=dict(type='ssvideo.TokenClips', store='{folder}/store', clip_len=3)))
"""
BEVT = BASE + """
model = dict(
    type='ssvideo.Pretrainer',
    data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
    backbone=dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2),
                  window_size=(2, 4, 4), token_stride=(1, 8, 8)),
    tokenizer=dict(type='ssvideo.DalleTokenizer', checkpoint='{folder}/dalle.safetensors'),
    maskers=dict(video=dict(type='ssvideo.Random3DMasker', mask_ratio=0.5, temporal_stride=2)),
    objectives=dict(mvm=dict(type='ssvideo.MVM', decoder=dict(type='ssvideo.SwinDecoder', branches=('video',)))))
train_dataloader = dict(video=dict(dataset=dict(type='ssvideo.VideoList', source='nowhere', pipeline=[
    dict(type='ssvideo.SampleClips', clip_len=4, frame_interval=2), dict(type='ssvideo.DecodeClips'),
    dict(type='RandomCrop', size=32), dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')])))
"""


def run_visualization(tool: str, *args) -> None:
    """Call a tool of tools/visualizations as its command line does."""
    spec = importlib.util.spec_from_file_location(tool, TOOLS / f'{tool}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([*map(str, args), *(() if tool in WITHOUT_MODEL else ('--device', 'cpu'))])


def make_models(folder: Path) -> Path:
    """Two videos and a broken one, a tokenizer, and configs of both methods with checkpoints."""
    torch.manual_seed(0)
    (folder / 'videos').mkdir()
    write_video(folder / 'videos' / 'a.mp4', num_frames=30)
    write_video(folder / 'videos' / 'b.mp4', num_frames=12, size=(64, 96))
    (folder / 'videos' / 'broken.mp4').write_bytes(b'no video')
    DalleVAE(VOCAB, 8, num_blocks=1).save_tokenizer(folder / 'dalle.safetensors')
    for name, text in dict(vimpac=VIMPAC, bevt=BEVT).items():
        (folder / f'{name}.py').write_text(text.format(folder=folder))
        model = MODELS.build(Config.fromfile(folder / f'{name}.py').model)
        torch.save(dict(state_dict=model.state_dict()), folder / f'{name}.pth')
    return folder
