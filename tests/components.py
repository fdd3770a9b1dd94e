"""The smallest useful arguments of every registered component, and what to feed it."""
from __future__ import annotations

import torch

from ssvideo.registry import MODELS

MASKERS = dict(
    BlockMasker=[dict(num_blocks=3), dict(num_blocks=3, noisy=True), dict(num_blocks=2, temporal_stride=2)],
    TubeMasker=[dict(mask_ratio=0.5), dict(mask_ratio=0.4, temporal_stride=2), dict(wrap=False)],
    FrameDiffMasker=[dict(mask_ratio=0.5), dict(mask_ratio=0.6, temporal_stride=2)],
    RandomFrameMasker=[dict(mask_ratio=0.5), dict(tube_length=(0.25, 0.75), temporal_stride=2)],
    Random3DMasker=[dict(mask_ratio=0.5), dict(mask_ratio=0.3, temporal_stride=2)])

BACKBONES = dict(
    DividedTransformer=[dict(grid=(4, 4, 4), vocab_size=16, embed_dims=24, num_layers=2, num_heads=6, layout=layout, norm=norm)
                        for layout, norm in [('T,H|W', 'post'), ('T,H,W', 'pre'), ('T|H|W', 'post'), ('THW', 'pre')]],
    VideoSwin=[dict(patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4), window_size=(2, 4, 4))])

OBJECTIVES = dict(  # arguments, and the backbone (by name) they go with
    MLM=[(dict(), 'DividedTransformer')],
    MVM=[(dict(vocab_size=16, decoder=dict(type='SwinDecoder', branches=('video',))), 'VideoSwin')],
    InfoNCE=[(dict(hidden_dims=16, out_dims=8), 'DividedTransformer'), (dict(hidden_dims=16, out_dims=8), 'VideoSwin')])

DECODERS = dict(SwinDecoder=[dict(channels=(8, 16))])
TRAINERS = dict(
    DalleVAE=[dict(vocab_size=16, hidden_dims=8, temperature_iters=10, kl_iters=10)],
    PecoVQVAE=[dict(perceptual=None, vocab_size=16, code_dims=4, widths=(4, 8, 8), num_blocks=1)])
TOKENIZERS = ('DalleTokenizer', 'PecoTokenizer')
COMPOSITIONS = ('Pretrainer', 'ClipClassifier', 'ClipPreprocessor', 'DeviceAugment')
GRID = (4, 4, 4)


def tokenizer_cases(folder) -> dict[str, list[dict]]:
    """Tokenizers; the files that they read are written into a folder."""
    paths = {name: str(folder / f'{name}.safetensors') for name in TRAINERS}
    for name, path in paths.items():
        trainer = MODELS.build(dict(type=name, **TRAINERS[name][0])).train()
        with torch.no_grad():
            trainer.loss(torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)))  # fills PeCo's codebook
        trainer.save_tokenizer(path)
    return {tokenizer: [dict(checkpoint=path), dict(checkpoint=path, frames_per_chunk=1)]
            for tokenizer, path in zip(TOKENIZERS, paths.values())}


def inputs_of(backbone, num_clips: int = 4) -> torch.Tensor:
    """Clips with the token grid ``GRID``, as a backbone reads them."""
    generator = torch.Generator().manual_seed(0)
    if backbone.reads == 'tokens':
        return torch.randint(backbone.vocab_size, (num_clips, *GRID), generator=generator)
    size = [cells * step for cells, step in zip(GRID, backbone.token_stride)]
    return torch.rand(num_clips, 3, *size, generator=generator)
