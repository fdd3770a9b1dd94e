"""What goes with what: every combination of parts is built and takes one training step, and a page shows the result.

    python tools/dev/combinations.py --out docs/combinations.md

Parts are those of the core and of the plugins in this repository, at the smallest useful size. A combination is a config as a
user would write it: the numbers that follow from one another (size of the vocabulary, depth of a patch, decoder of a backbone)
are made to fit, nothing else. It counts as working if the step gives a finite loss and a gradient for every trainable weight;
what does not work must say so with a ValueError, which the page quotes.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.models import Pretrainer  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.structures import Clips  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.plugins import use_plugins  # noqa: E402

GRID = (4, 4, 4)
VOCAB = 16
MASKERS = dict(
    BlockMasker={}, TubeMasker={}, Random3DMasker={}, FrameDiffMasker={}, RandomFrameMasker={},
    RandomTubeMasker=dict(mask_ratio=0.75), MultiBlockMasker=dict(num_blocks=2, scale=0.3))
TOKENIZERS = ('DalleTokenizer', 'PecoTokenizer', 'FsqTokenizer', 'PixelTargets', 'HogTargets', 'FeatureTargets')
OBJECTIVES = ('MLM', 'MVM', 'InfoNCE', 'PixelRegression', 'PatchRegression', 'HogRegression', 'FeatureRegression')
WITHOUT_DECODER = ('MLM', 'InfoNCE')


@dataclass
class Combination:
    """One config.

    Args:
        backbone, tokenizer, objective, masker: names of its parts.
    """
    backbone: str
    tokenizer: str
    objective: str
    masker: str = 'Random3DMasker'


def tokenizers(folder: Path) -> dict[str, dict]:
    """Configs by name; the files that they read are written into a folder."""
    small = dict(widths=(4, 8, 8, 8), num_blocks=1, perceptual=None)
    trainers = dict(
        DalleTokenizer=dict(type='DalleVAE', vocab_size=VOCAB, hidden_dims=8, num_blocks=1),
        PecoTokenizer=dict(type='PecoVQVAE', vocab_size=VOCAB, code_dims=4, codebook_init='random', **small),
        FsqTokenizer=dict(type='FsqVAE', levels=[4, 4], **small))
    for name, trainer in trainers.items():
        MODELS.build(trainer).save_tokenizer(folder / f'{name}.safetensors')
    return {
        **{name: dict(checkpoint=str(folder / f'{name}.safetensors')) for name in trainers},
        'PixelTargets': dict(stride=(2, 8, 8)),
        'HogTargets': dict(stride=(2, 8, 8)),
        'FeatureTargets': dict(name='resnet10t', layer=2, frames=2, random_weights=True)}


def backbone_config(name: str, depth: int, vocab_size: int) -> tuple[dict, dict]:
    """A backbone and the decoder that goes with it.

    Args:
        name: of the backbone.
        depth: frames of a token.
        vocab_size: ids of the tokenizer.
    """
    sizes = dict(embed_dims=16, num_layers=1, num_heads=2)
    return {
        'DividedTransformer': (dict(grid=GRID, vocab_size=vocab_size, dropout=0.0, **sizes), dict(type='LastMap')),
        'VideoSwin': (
            dict(patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 1), num_heads=(1, 2, 2), window_size=(2, 4, 4),
                 token_stride=(depth, 8, 8)),
            dict(type='SwinDecoder', branches=('video',), temporal_upsample=2 // depth)),
        'MaskTokenViT': (dict(grid=GRID, patch_size=(depth, 8, 8), **sizes), dict(type='LastMap')),
        'VideoViT': (dict(patch_size=(depth, 8, 8), **sizes), dict(type='MaskTokenDecoder', **sizes))}[name]


BACKBONES = ('DividedTransformer', 'VideoSwin', 'MaskTokenViT', 'VideoViT')


def model_config(parts: Combination, known: Mapping[str, dict]) -> dict:
    """The config of a ``Pretrainer`` with these parts."""
    tokenizer = MODELS.build(dict(type=parts.tokenizer, **known[parts.tokenizer]))
    backbone, decoder = backbone_config(parts.backbone, tokenizer.stride[0], tokenizer.vocab_size or VOCAB)
    small = dict(hidden_dims=16, out_dims=8) if parts.objective == 'InfoNCE' else {}
    return dict(
        backbone=dict(type=parts.backbone, **backbone),
        tokenizer=dict(type=parts.tokenizer, **known[parts.tokenizer]),
        maskers=dict(video=dict(type=parts.masker, **MASKERS[parts.masker])),
        objectives=dict(it=dict(type=parts.objective, **small,
                                **({} if parts.objective in WITHOUT_DECODER else dict(decoder=decoder)))),
        data_preprocessor=dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[127.5] * 3))


def frames_for(model: Pretrainer) -> Tensor:
    """Two clips of each of two videos, whose token grid is ``GRID``."""
    stride = model.backbone.token_stride or model.tokenizers['tokenizer'].stride
    size = [cells * step for cells, step in zip(GRID, stride)]
    return torch.randint(256, (4, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def one_step(config: dict) -> None:
    """Build a model and send one loss backward.

    Raises:
        ValueError: what the parts say, where they do not go together.
        RuntimeError: if a loss is not finite, or a trainable weight has no gradient.
    """
    torch.manual_seed(0)
    model = Pretrainer(**config).train()
    batch = model.data_preprocessor(dict(video=dict(inputs=list(frames_for(model).unflatten(0, (2, 2))))))['inputs']
    assert isinstance(batch['video'], Clips)
    total, logged = model.parse_losses(model(batch, mode='loss'))
    total.backward()
    without = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None
               and not name.startswith('backbone.patch_embed_2d')]  # of images, which have no stream here
    if not torch.isfinite(total) or without:
        raise RuntimeError(f'loss {total.item()}, no gradient for {without}')


def verdict(parts: Combination, known: Mapping[str, dict]) -> str | None:
    """``None`` where a combination works, else what it says."""
    try:
        one_step(model_config(parts, known))
    except ValueError as error:
        return _first_sentence(str(error))
    return None


def combinations() -> Iterator[Combination]:
    """Backbones with tokenizers and objectives; and maskers with the backbones, each at its own work."""
    yield from (Combination(*parts) for parts in product(BACKBONES, TOKENIZERS, OBJECTIVES))
    own = dict(DividedTransformer=('DalleTokenizer', 'MLM'), VideoSwin=('DalleTokenizer', 'MVM'),
               MaskTokenViT=('HogTargets', 'HogRegression'), VideoViT=('PixelTargets', 'PatchRegression'))
    yield from (Combination(name, *own[name], masker) for masker, name in product(MASKERS, BACKBONES)
                if masker != Combination.masker)


def try_all() -> list[tuple[Combination, str | None]]:
    """Every combination with its verdict."""
    use_plugins(sorted(path.parent for path in (REPO / 'plugins').glob('*/__init__.py')))
    everything = list(combinations())
    with tempfile.TemporaryDirectory() as folder:
        known = tokenizers(Path(folder))
        return [(parts, verdict(parts, known)) for parts in
                tqdm(everything, unit='combination', mininterval=0.2 if sys.stderr.isatty() else 30)]


def page(found: list[tuple[Combination, str | None]]) -> str:
    """The verdicts in markdown."""
    reasons = {why: number for number, why in enumerate(dict.fromkeys(why for _, why in found if why), 1)}
    cell = {(parts.backbone, parts.tokenizer, parts.objective, parts.masker): 'yes' if why is None else f'({reasons[why]})'
            for parts, why in found}
    sections = ['# What goes with what', PREFACE.format(works=sum(why is None for _, why in found), all=len(found))]
    for backbone in BACKBONES:
        rows = [(name, *(cell[backbone, name, objective, Combination.masker] for objective in OBJECTIVES))
                for name in TOKENIZERS]
        sections += [f'## {backbone}', _table(('targets', *OBJECTIVES), rows)]
    of_masker = {(parts.masker, parts.backbone): cell[parts.backbone, parts.tokenizer, parts.objective, parts.masker]
                 for parts, _ in found if parts.masker != Combination.masker}
    rows = [(masker, *(of_masker[masker, name] for name in BACKBONES)) for masker in MASKERS if masker != Combination.masker]
    sections += ['## Maskers', 'The tables above are with `Random3DMasker`; here each backbone has an objective of its own.',
                 _table(('masker', *BACKBONES), rows), '## Reasons', 'What the parts say where they do not go together:',
                 '\n'.join(f'{number}. {why}' for why, number in reasons.items())]
    return '\n\n'.join(sections) + '\n'


PREFACE = """{works} of {all} combinations work, by config alone. Each was built and took a training step, with a finite loss and
a gradient for every trainable weight; the others say why not when they are built or take their first step. Sizes that follow from
one another (ids of a vocabulary, depth of a patch, the decoder of a backbone) were made to fit. "Works" means that it trains; it
does not mean that it is a good idea. This page is written by `python tools/dev/combinations.py --out docs/combinations.md`.

`DividedTransformer` reads the ids of its tokenizer, the other backbones read pixels. `VideoViT` leaves hidden patches out, so its
decoder is one with mask tokens, which objectives of other methods do not call. `ssvideo.VJEPA` is a model of its own and takes
any masker here. Ready-made combinations are in `configs/combinations/`."""


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in (head, ('---',) * len(head), *rows))


def _first_sentence(said: str) -> str:
    """What is wrong, without what was got and what to do, which would make a reason of its own for each combination."""
    return ' '.join(said.split()).split(';')[0].split(': ')[0].replace('|', r'\|')


def main(argv: list[str] | None = None) -> None:
    """Try everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=REPO / 'docs' / 'combinations.md')
    args = parser.parse_args(argv)
    write_whole(args.out, page(try_all()))
    print(f'The grid is in {args.out}')


if __name__ == '__main__':
    main()
