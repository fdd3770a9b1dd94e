"""The two methods' models, as small as they can be with all their parts, and batches of noise for them."""
from __future__ import annotations

from pathlib import Path

import torch

import ssvideo.engine  # noqa: F401
import ssvideo.models  # noqa: F401
from ssvideo.models.tokenizers import DalleVAE
from ssvideo.registry import MODELS

VOCAB = 20
GRID = (3, 4, 4)
VIMPAC = dict(
    type='ssvideo.Pretrainer',
    backbone=dict(type='ssvideo.DividedTransformer', grid=GRID, vocab_size=VOCAB, embed_dims=16, num_layers=2, num_heads=2),
    maskers=dict(video=dict(type='ssvideo.BlockMasker', num_blocks=3, noisy=True)),
    objectives=dict(mlm=dict(type='ssvideo.MLM'), nce=dict(type='ssvideo.InfoNCE', hidden_dims=12, out_dims=6)))
BEVT = dict(
    type='ssvideo.Pretrainer', data_preprocessor=dict(type='ssvideo.ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
    backbone=dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 2), num_heads=(1, 2),
                  window_size=(2, 4, 4), drop_path_rate=0.2, token_stride=(1, 8, 8)),
    tokenizer=dict(type='ssvideo.DalleTokenizer', frames_per_chunk=4),
    maskers=dict(video=dict(type='ssvideo.TubeMasker', temporal_stride=2, min_block=2),
                 image=dict(type='ssvideo.TubeMasker', min_block=2)),
    objectives=dict(mvm=dict(type='ssvideo.MVM', decoder=dict(type='ssvideo.SwinDecoder'))))
METHODS = dict(vimpac=VIMPAC, bevt=BEVT)


def tokenizer_file(folder: Path) -> str:
    """A tokenizer of ``VOCAB`` ids with random weights."""
    path = Path(folder) / 'dalle.safetensors'
    if not path.exists():
        torch.manual_seed(0)
        DalleVAE(VOCAB, 8, num_blocks=1).save_tokenizer(path)
    return str(path)


def model_config(method: str, folder: Path, **backbone) -> dict:
    """Of ``'vimpac'`` or ``'bevt'``; ``backbone`` are other arguments of its backbone."""
    config = METHODS[method] | dict(backbone=METHODS[method]['backbone'] | backbone)
    return config | dict(tokenizer=config['tokenizer'] | dict(checkpoint=tokenizer_file(folder))) if method == 'bevt' else config


def build(method: str, folder: Path, **backbone) -> torch.nn.Module:
    """The same weights each time, far from the initial law, so that all that differs shows."""
    config = model_config(method, folder, **backbone)
    torch.manual_seed(0)
    model = MODELS.build(config).train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def noise(method: str, number: int) -> dict:
    """A batch as the loaders give it, a function of its number."""
    generator = torch.Generator().manual_seed(number)
    if method == 'vimpac':
        return dict(video=dict(tokens=list(torch.randint(-1, VOCAB, (3, 2, *GRID), generator=generator))))  # with PAD
    shapes = dict(video=(2, 1, 3, 4, 32, 32), image=(3, 1, 3, 1, 32, 32))
    return {stream: dict(inputs=list(torch.randint(256, shape, dtype=torch.uint8, generator=generator)))
            for stream, shape in shapes.items()}


def total_loss(model: torch.nn.Module, batch: dict, seed: int) -> torch.Tensor:
    """Of one forward pass in which dropout and drop path are a function of the seed."""
    torch.manual_seed(seed)
    return model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))[0]
