"""Tokenize every video of a list once, into a token store: ``python tools/extract_tokens.py CONFIG --out DIR``.

The config has ``tokenizer`` and ``dataset``; the data set gives whole videos as uint8 frames (``SampleWholeVideo``). With
``views=dict(size=..., scales=..., crops=..., flips=...)`` each video is decoded once and stored in every such view, in
sub-folders of DIR. Several processes share the work: ``tools/dist_extract_tokens.sh CONFIG NUM_PROCESSES --out DIR``. A
run that was stopped goes on where it was when it is started again, with any number of processes.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for custom_imports=['plugins.x'] from anywhere

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ssvideo.datasets.transforms.fixed_view import FixedView, fixed_views  # noqa: E402
from ssvideo.datasets.whole_videos import WholeVideos  # noqa: E402
from ssvideo.engine.extraction import Extraction  # noqa: E402
from ssvideo.engine.launch import given_config  # noqa: E402
from ssvideo.engine.team import Team  # noqa: E402
from ssvideo.registry import DATASETS, MODELS  # noqa: E402
from ssvideo.utils.plugins import plugin_argument  # noqa: E402


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file with tokenizer=dict(...) and dataset=dict(...)')
    parser.add_argument('--out', required=True, help='folder of the token store')
    parser.add_argument('--compress', action='store_true', help='store ids compressed, without loss, in blocks of frames')
    parser.add_argument('--workers', type=int, default=2,
                        help='processes that decode, for each process that encodes (0: decode between encoding)')
    parser.add_argument('--device', help='default: the GPU of the process, or the CPU where there is none')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='override the config: key=value, nested keys with dots')
    plugin_argument(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def extract(args: argparse.Namespace, team: Team) -> str:
    """Fill the store at ``args.out``.

    Returns:
        What was done, in one line; '' for all processes but the first.

    Raises:
        ValueError: if the config does not fit, no video can be read, or the folder holds tokens of other settings.
    """
    cfg = given_config(args.config, args.cfg_options, args.plugin)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    if missing := {'tokenizer', 'dataset'} - set(cfg):
        raise ValueError(f'{args.config} lacks {sorted(missing)}')
    device = torch.device(args.device or (f'cuda:{team.local_rank}' if torch.cuda.is_available() else 'cpu'))
    if device.type == 'cuda' and device.index is not None:
        torch.cuda.set_device(device)  # else pinned memory would take some of the first GPU
    tokenizer = MODELS.build(cfg.tokenizer).to(device).eval()
    videos = WholeVideos(DATASETS.build(cfg.dataset), views_of(cfg), frames_multiple=tokenizer.stride[0])
    extraction = Extraction(tokenizer, videos, Path(args.out), team, device, args.compress)
    if team.rank == 0:
        print(extraction.expected_size(), flush=True)
    num_videos, num_stored = len(extraction.names), len(extraction.names) - len(extraction.todo)
    with tqdm(total=num_videos, initial=num_stored, desc='tokenizing', unit='video', disable=team.rank != 0,
              mininterval=0.2 if sys.stderr.isatty() else 30) as bar:
        return extraction.run(args.workers, lambda done: bar.update(num_stored + done - bar.n))


def views_of(cfg: Config) -> list[FixedView]:
    """The views that a config asks for; none where it leaves the view to the data set's pipeline.

    Raises:
        ValueError: if ``views`` has a key that is not known, or lacks ``size``.
    """
    views = dict(cfg.get('views') or {})
    if views and ('size' not in views or set(views) - {'size', 'scales', 'crops', 'flips'}):
        raise ValueError(f'views must have size, and may have scales, crops and flips; got {sorted(views)}')
    return fixed_views(**views) if views else []


def main(argv: list[str] | None = None) -> None:
    """Extract, and say where the results are, or in one line why there are none."""
    args = parse_args(argv)
    team = Team()
    try:
        if done := extract(args, team):
            print(done)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    team.leave()


if __name__ == '__main__':
    main()
