"""Count parameters and multiply-accumulates of a recipe's model, part by part, in one forward pass.

    python tools/analysis_tools/get_flops.py configs/bevt_swin_b.py
    python tools/analysis_tools/get_flops.py configs/finetune/bevt_swin_b_ssv2.py --shape 32 224 224 --window 16 7 7

Figures are for one clip. A GMAC is 10^9 multiply-accumulates, which many papers call a GFLOP; here it is two GFLOPs.
In pre-training, tokenizer and classifier work where tokens are hidden only: their cost is the mean over the recipe's masks.
Of a tokenizer's training it is making tokens of pictures and pictures of tokens; a frozen perceptual network is left out.
Nothing is computed: the model is run on torch's 'meta' device, so full sizes take seconds.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor  # noqa: E402

from ssvideo.engine.launch import given_config  # noqa: E402
from ssvideo.evaluation.flops import PartCost, count_macs  # noqa: E402
from ssvideo.evaluation.stand_in_tokenizers import stand_in_tokenizers  # noqa: E402
from ssvideo.models.classifier import ClipClassifier  # noqa: E402
from ssvideo.models.pretrainer import Pretrainer  # noqa: E402
from ssvideo.models.tokenizers.trainer import TokenizerTrainer  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.structures import Clips  # noqa: E402
from ssvideo.utils.clip_shape import shape_of  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.plugins import plugin_argument  # noqa: E402

NUM_CLIPS = 512
"""Clips, two of each video, of which the cost is the mean, as masks differ."""
COLUMNS = ('part', 'parameters (M)', 'GMACs', 'GFLOPs (2 per MAC)', 'share')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; mmaction2's words, and ``--window``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of a Pretrainer, a ClipClassifier, or a DalleVAE or PecoVQVAE')
    parser.add_argument('--shape', type=int, nargs='+', metavar='N',
                        help='side, or H W, or T H W, in pixels (streams of images keep their one frame); T H W in tokens where '
                             "the backbone reads tokens. Default: the recipe's")
    parser.add_argument('--window', type=int, nargs=3, metavar=('T', 'H', 'W'), help="of the backbone; default: the recipe's")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override the config: key=value')
    plugin_argument(parser)
    parser.add_argument('--markdown', type=Path, help='also write the tables to this file')
    args = parser.parse_args(argv)
    if args.shape and (len(args.shape) > 3 or min(args.shape) < 1):
        parser.error(f'--shape takes one to three positive numbers, got {args.shape}')
    return args


# ---------------------------------------------------------------------------------------------------------- model, inputs

Model = Pretrainer | ClipClassifier | TokenizerTrainer


def build_model(cfg: Config) -> tuple[Model, list[str]]:
    """The model on the meta device, and the files of tokenizers that random ones stand in for."""
    if 'perceptual' in cfg.model:
        cfg.model.perceptual = None
    with tempfile.TemporaryDirectory() as folder:
        missing = stand_in_tokenizers(cfg.model, folder)
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
    if not isinstance(model, Model):
        raise ValueError(f"{type(model).__name__}: expected a Pretrainer, a ClipClassifier or a tokenizer's trainer; mmaction2's "
                         'own get_flops.py counts its models')
    return model.to('meta').eval(), missing


def clips_of(model: Model, shape: tuple[int, int, int] | None) -> Clips:
    """``NUM_CLIPS`` clips of nothing, of ``shape`` (T, H, W); tokens of the backbone's grid where that is ``None``."""
    if shape is None:
        return Clips(tokens=_nothing(model.backbone.grid), num_views=2)
    clips = Clips(frames=_nothing((3, *shape), torch.uint8), pixels=_nothing((3, *shape), torch.float32), num_views=2)
    if isinstance(model, Pretrainer) and not model.tokenizers:  # targets come from a store
        clips.tokens = _nothing(model.token_grid(clips))
    return clips


def _nothing(shape: Iterable[int], dtype: torch.dtype = torch.long) -> Tensor:
    return torch.zeros((NUM_CLIPS, *shape), dtype=dtype, device='meta')


def reads_stored_tokens(model: dict) -> bool:
    """Whether clips of tokens, not of pixels, are what a model is given."""
    backbone = model.get('backbone')
    return bool(backbone) and MODELS.get(backbone.type).reads == 'tokens' and not model.get('tokenizer')


# ---------------------------------------------------------------------------------------------------------------- counting

def count(cfg: Config, shape: list[int] | None) -> tuple[list[tuple[str, list[PartCost]]], list[str]]:
    """The parts of the model for each of its streams, under a title, and remarks."""
    stored = reads_stored_tokens(cfg.model)
    if stored and shape:
        if len(shape) < 3:
            raise ValueError(f'the backbone reads tokens: give their whole grid, --shape T H W, got {shape}')
        cfg.model.backbone.grid = tuple(shape)
    model, missing = build_model(cfg)
    remarks = [f'{path} does not exist: counted a tokenizer of the published size' for path in missing]
    loaders = cfg.get('train_dataloader') or {}
    streams = ['']
    if isinstance(model, Pretrainer):
        streams = list(model.maskers)
    elif isinstance(model, TokenizerTrainer):
        streams = list(loaders)[:1]
    tables, uncounted = [], set()
    for stream in streams:
        dataset = (loaders.get(stream) or {} if stream else loaders).get('dataset', {})
        size = None if stored else shape_of(dataset, shape)
        clips = clips_of(model, size)
        title = ' x '.join(map(str, size or model.backbone.grid)) + (' tokens' if stored else '')
        ratios = []
        parts, left_out = count_macs(model, lambda s=stream, c=clips, r=ratios: r.append(_run(model, s, c)))
        uncounted.update(left_out)
        if stream:
            title = f'{stream}, {title}' + (f', {ratios[0]:.1%} of the tokens hidden' if isinstance(model, Pretrainer) else '')
        tables.append((title, [_of_one_clip(model, part) for part in parts]))
    if uncounted:
        remarks.append(f'NOT counted, so the figures are too low: {", ".join(sorted(uncounted))}')
    if unused := _pretraining_only(model):
        remarks.append(f'{unused} parameters of the backbone, which only pre-training uses, are left out')
    return tables, remarks


def _run(model: Model, stream: str, clips: Clips) -> float:
    """Run the model once; in pre-training return the share of hidden tokens."""
    if not isinstance(model, Pretrainer):
        model(clips, mode='predict' if isinstance(model, TokenizerTrainer) else 'tensor')
        return 0.0
    return model({stream: clips}, mode='loss')[f'{stream}_mask_ratio'].item()


def _pretraining_only(model: Model) -> int:
    if isinstance(model, TokenizerTrainer):
        return 0
    prefixes = model.backbone.pretraining_only
    return sum(p.numel() for name, p in model.backbone.named_parameters() if prefixes and name.startswith(prefixes))


def _of_one_clip(model: Model, part: PartCost) -> PartCost:
    """A part's cost for one clip; the backbone without the parameters that only pre-training uses."""
    unused = _pretraining_only(model) if part.name == 'backbone' else 0
    return PartCost(part.name, part.parameters - unused, part.macs / NUM_CLIPS)


# ----------------------------------------------------------------------------------------------------------------- tables

def rows_of(parts: list[PartCost]) -> list[tuple[str, ...]]:
    """Texts for ``COLUMNS``, and the total."""
    total = PartCost('total', sum(part.parameters for part in parts), sum(part.macs for part in parts))
    rows = [*parts, total]
    network = [part for part in parts if part.name == 'backbone' or part.name.endswith('.decoder')]
    if len(network) > 1:
        rows.append(PartCost('of which backbone and decoder', sum(part.parameters for part in network),
                             sum(part.macs for part in network)))
    return [(row.name, f'{row.parameters / 1e6:.4g}', f'{row.macs / 1e9:.4g}', f'{row.macs / 5e8:.4g}',
             f'{row.macs / max(total.macs, 1):.1%}') for row in rows]


def shown(title: str, parts: list[PartCost]) -> tuple[Table, str]:
    """A table for the terminal, and the same in markdown."""
    table = Table(*COLUMNS, title=title)
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|' + ' --- |' * len(COLUMNS)]
    for row in rows_of(parts):
        table.add_row(*row)
        lines.append('| ' + ' | '.join(row) + ' |')
    return table, f'{title}\n\n' + '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> None:
    """Count, print, and write."""
    args = parse_args(argv)
    try:
        cfg = given_config(args.config, args.cfg_options, args.plugin)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        if args.window:
            cfg.model.backbone.window_size = tuple(args.window)
        tables, remarks = count(cfg, args.shape)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    texts = []
    for title, parts in tables:
        table, text = shown(f'{args.config}: {title}', parts)
        texts.append(text)
        Console().print(table)
    for remark in remarks:
        print(remark)
    if args.markdown:
        write_whole(args.markdown, '\n'.join([*texts, *remarks]) + '\n')
        print(f'The tables are in {args.markdown}')


if __name__ == '__main__':
    main()
