"""What the features of a frozen backbone are worth, in one command.

    python tools/evaluate_frozen.py configs/finetune/bevt_swin_b_k400.py CHECKPOINT --train LIST --val LIST [--test LIST]

The config is that of a fine-tuning: its validation (--views test: its testing) says how videos are read. The checkpoint is of
any model with its backbone, pre-trained or fine-tuned; the word "random" in its place gives the backbone random weights. Each
list is encoded once and kept (--cache); a run that was stopped goes on where it was; torchrun shares the encoding out.

Then nearest neighbours, a linear probe and an attentive probe are tried with all of their settings, chosen on a part of the
training list that is held out, and tested once on each of the other lists, with the labels of all training videos and of a
few. The table is written as frozen.md and frozen.json.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.broken import BrokenFileError  # noqa: E402
from ssvideo.engine.launch import given_config  # noqa: E402
from ssvideo.engine.team import Team  # noqa: E402
from ssvideo.evaluation.feature_cache import FeatureCache, FrozenFeatures  # noqa: E402
from ssvideo.evaluation.frozen_lists import LabelledList, read_labelled, refuse_overlap  # noqa: E402
from ssvideo.evaluation.frozen_methods import Method, NearestNeighbours, Probes  # noqa: E402
from ssvideo.evaluation.frozen_protocol import HELD_OUT, evaluate_frozen  # noqa: E402
from ssvideo.evaluation.frozen_table import frozen_table  # noqa: E402
from ssvideo.models.frozen_encoder import FrozenEncoder, build_encoder  # noqa: E402
from ssvideo.utils.checksum import checksum_of  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.utils.plugins import plugin_argument  # noqa: E402

METHODS = ('knn', 'linear', 'attentive')
RANDOM = 'random'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a fine-tuning')
    parser.add_argument('checkpoint', help=f'.pth or .safetensors; or "{RANDOM}"')
    parser.add_argument('--train', required=True, help='lines "path label"; or a folder with a sub-folder for each class')
    parser.add_argument('--val', required=True, help='as --train; tested on, nothing is chosen by it')
    parser.add_argument('--test', help='as --val; a second list to test on')
    parser.add_argument('--out', help='folder of the results; default: work_dirs/frozen/<config>_<checkpoint>')
    parser.add_argument('--cache', default='work_dirs/frozen/features', help='folder of the features')
    parser.add_argument('--views', choices=['val', 'test'], default='val', help='whose clips and crops; means over the views')
    parser.add_argument('--tokenizer', help='tokenizer file: read video files, where the config names a token store')
    parser.add_argument('--fps', type=float, help='with --tokenizer: token frames per second')
    parser.add_argument('--map', type=int, default=-1, metavar='LEVEL',
                        help='which of the backbone\'s maps, for "map" and the attentive probe; default: -1, the last')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS,
                        help='the attentive probe needs all tokens of the map on disk, in half precision')
    parser.add_argument('--fractions', nargs='+', type=float, default=[1.0, 0.1, 0.05, 0.01], help='of the labels')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='of labels drawn, held-out part and training')
    grid = parser.add_argument_group('settings to choose from')
    grid.add_argument('--k', nargs='+', type=int, default=[1, 5, 10, 20, 50, 100, 200])
    grid.add_argument('--temperature', nargs='+', type=float, default=[0.02, 0.07, 0.2])
    grid.add_argument('--lr', nargs='+', type=float, default=[1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2])
    grid.add_argument('--weight-decay', nargs='+', type=float, default=[0.01, 0.1, 0.8])
    parser.add_argument('--epochs', type=int, default=20, help='of the probes')  # V-JEPA
    parser.add_argument('--min-steps', type=int, default=300, help='of the probes, where that is more than their epochs')
    parser.add_argument('--batch-size', type=int, default=64, help='of the probes')
    parser.add_argument('--amp', action='store_true', help='encode in bfloat16')
    parser.add_argument('--device', help='default: the GPU of the process, or the CPU where there is none')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='override the config: key=value, nested keys with dots')
    plugin_argument(parser)
    args = parser.parse_args(argv)
    if args.fps is not None and not args.tokenizer:
        parser.error('--fps is for --tokenizer FILE')
    args.out = args.out or f'work_dirs/frozen/{Path(args.config).stem}_{Path(args.checkpoint).stem}'
    return args


def features_of(listed: LabelledList, cfg: Config, encoder: FrozenEncoder, args: argparse.Namespace,
                team: Team) -> FrozenFeatures | None:
    """Encode what is not in the cache yet, all processes together.

    Returns:
        The features of the list; ``None`` for all processes but the first.

    Raises:
        ValueError: if the features cannot be computed or kept.
    """
    architecture = {key: value for key, value in cfg.model.backbone.to_dict().items() if key != 'init_cfg'}
    about = dict(listed.describe(), backbone=checksum_of(encoder.backbone), architecture=architecture, amp=args.amp,
                 preprocessor=dict(cfg.model.get('data_preprocessor') or {}),
                 tokenizer=None if encoder.tokenizer is None else checksum_of(encoder.tokenizer))
    cache = FeatureCache(Path(args.cache), Path(listed.file).stem, about, len(listed.paths), 'attentive' in args.methods,
                         args.map)
    todo = team.from_first(cache.todo())
    own, loader = todo[team.rank::team.size], cfg[f'{args.views}_dataloader']
    with tqdm(total=sum(len(cache.blocks[block]) for block in own), desc=f'encoding {listed.file}', unit='video',
              disable=team.rank != 0 or not own, mininterval=0.2 if sys.stderr.isatty() else 30) as bar:
        if own:
            cache.fill(encoder, listed.dataset, own, loader.get('batch_size', 1), loader.get('num_workers', 0), args.amp,
                       bar.update)
    team.wait()
    return cache.read(listed.labels) if team.rank == 0 else None


def methods_of(args: argparse.Namespace, device: torch.device) -> list[Method]:
    """What is compared: each vector that may stand for a video with each method, and the attentive probe on tokens."""
    training = dict(epochs=args.epochs, min_steps=args.min_steps, batch_size=args.batch_size, device=device)
    pools = ('summary', 'map')
    return [*(NearestNeighbours(pool, args.k, args.temperature, device) for pool in pools if 'knn' in args.methods),
            *(Probes(pool, args.lr, args.weight_decay, **training) for pool in pools if 'linear' in args.methods),
            *(Probes(what, args.lr, args.weight_decay, **training) for what in ('tokens',) if 'attentive' in args.methods)]


def evaluate(args: argparse.Namespace, team: Team) -> dict | None:
    """Encode and compare.

    Returns:
        What goes to the JSON file, with the table; ``None`` for all processes but the first, which only encode.

    Raises:
        ValueError: for a config, a checkpoint or a list that does not fit.
        FileNotFoundError: if there is no such file.
    """
    cfg = given_config(args.config, args.cfg_options, args.plugin)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    device = torch.device(args.device or (f'cuda:{team.local_rank}' if torch.cuda.is_available() else 'cpu'))
    encoder = build_encoder(cfg.model, None if args.checkpoint == RANDOM else args.checkpoint, args.tokenizer).to(device)
    files = {name: getattr(args, name) for name in ('train', 'val', 'test') if getattr(args, name)}
    lists = {name: read_labelled(cfg, file, args.views, encoder, args.fps) for name, file in files.items()}
    refuse_overlap(lists['train'], [lists[name] for name in lists if name != 'train'])
    features = {name: features_of(listed, cfg, encoder, args, team) for name, listed in lists.items()}
    if team.rank != 0:
        return None
    methods = methods_of(args, device)
    with tqdm(total=len(methods) * len(args.fractions) * len(args.seeds), unit='trial',
              mininterval=0.2 if sys.stderr.isatty() else 30) as bar:
        def advance(done: str) -> None:
            bar.set_description(done, refresh=False)
            bar.update()
        rows = evaluate_frozen(features['train'], {name: features[name] for name in lists if name != 'train'}, methods,
                               args.fractions, args.seeds, advance)
    missing = {name: [lists[name].paths[i] for i in found.missing.nonzero().flatten().tolist()]
               for name, found in features.items()}
    return dict(config=args.config, checkpoint=args.checkpoint, backbone=checksum_of(encoder.backbone), views=args.views,
                lists={name: dict(file=files[name], videos=len(lists[name].paths), missing=missing[name]) for name in files},
                held_out=HELD_OUT, seeds=args.seeds, table=frozen_table(rows), rows=[row.as_dict() for row in rows],
                arguments={key: value for key, value in vars(args).items() if key not in ('train', 'val', 'test')})


def header(found: dict) -> str:
    """What was compared on what, in words."""
    lists = '; '.join(f'{name} {about["file"]} ({about["videos"]} videos' + (
        f', of which {len(about["missing"])} cannot be read' if about['missing'] else '') + ')'
        for name, about in found['lists'].items())
    return (f'# Frozen evaluation of {found["checkpoint"]}\n\nConfig {found["config"]}, backbone {found["backbone"][:12]}, '
            f'map {found["arguments"]["map"]}. '
            f'{lists}.\nSettings were chosen on {found["held_out"]:.0%} of the labels, held out of the training list. Mean ± '
            f'standard deviation over the seeds {", ".join(map(str, found["seeds"]))}, each with labels, held-out part and '
            'training of its own; top-1 in percent.\n\n')


def main(argv: list[str] | None = None) -> None:
    """Evaluate, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    team = Team()
    try:
        found = evaluate(args, team)
    except (ValueError, FileNotFoundError, BrokenFileError) as error:
        sys.exit(f'error: {error}')
    if found is not None:
        table, out = found.pop('table'), Path(args.out)
        write_whole(out / 'frozen.json', json.dumps(found, indent=1) + '\n')
        write_whole(out / 'frozen.md', header(found) + table)
        print(f'{table}\nThe table is in {out}/frozen.md, every trial in {out}/frozen.json')
    team.leave()


if __name__ == '__main__':
    main()
