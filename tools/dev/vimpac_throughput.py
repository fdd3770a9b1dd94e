"""How fast VIMPAC's layouts and sizes pre-train, beside the paper's figures (Tables 2, 13 and 14).

    python tools/dev/vimpac_throughput.py --out work_dirs/vimpac_throughput.md

The models of a table take turns, so that all of them see the same machine. A step is masked prediction and contrast on
two clips of each video, forward and backward, without dropout, data loading or the optimiser. Ratios, not rates, are
what another machine may be compared by. 'Unfused' attention holds the weights of a line in memory, as the code of the
paper's time did.
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from tqdm import tqdm  # noqa: E402

import ssvideo.models  # noqa: E402, F401
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.structures import Clips  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

SMALL = dict(embed_dims=512, num_layers=6, num_heads=8)
LAYOUTS = {'T,H|W': 32.0, 'T,H,W': 26.4, 'T,HW': 20.0, 'THW': 12.6}  # videos/s/GPU, Table 13
SIZES = {  # videos/s/GPU, Table 2
    '6 x 512': (32.0, SMALL), '6 x 768': (21.0, SMALL | dict(embed_dims=768, num_heads=12)),
    '12 x 512': (18.1, SMALL | dict(num_layers=12)), '12 x 768': (11.2, dict(embed_dims=768, num_layers=12, num_heads=12)),
    '24 x 1024, half': (5.0, dict(embed_dims=1024, num_layers=24, num_heads=16, attention_dims=512, mlp_dims=2048))}
EVERY_BACKEND = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]


@dataclass
class Contender:
    """One row: its name, the rate that the paper gives for it (None: none), and its step."""
    name: str
    published: float | None
    model: torch.nn.Module
    clips: Clips
    fused: bool = True

    def seconds(self) -> float:
        """Of one forward and backward pass."""
        self.model.zero_grad()
        started = time.perf_counter()
        with sdpa_kernel(EVERY_BACKEND if self.fused else SDPBackend.MATH):
            sum(value for name, value in self.model.loss(dict(video=self.clips)).items() if 'loss' in name).backward()
        if self.clips.tokens.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - started


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tables', nargs='+', choices=['layouts', 'large', 'sizes'], default=['layouts', 'large', 'sizes'],
                        help='layouts at 5 x 16 x 16 (Table 13), at 10 x 32 x 32, or the sizes of Table 2')
    parser.add_argument('--videos', type=int, default=2, help='in a batch (1 at 10 x 32 x 32)')
    parser.add_argument('--rounds', type=int, default=3, help='timed rounds, after one that is not; the median counts')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/vimpac_throughput.md'))
    return parser.parse_args(argv)


def contender(name: str, published: float | None, grid: tuple[int, int, int], videos: int, device: str,
              fused: bool = True, **backbone) -> Contender:
    """A model of the paper's recipe on random tokens."""
    model = MODELS.build(dict(
        type='Pretrainer', backbone=dict(type='DividedTransformer', grid=grid, dropout=0.0, **backbone),
        maskers=dict(video=dict(type='BlockMasker', num_blocks=5)),
        objectives=dict(mlm=dict(type='MLM'), nce=dict(type='InfoNCE')))).train().to(device)
    clips = Clips(tokens=torch.randint(8192, (2 * videos, *grid), device=device), num_views=2)
    return Contender(name, published, model, clips, fused)


def contenders(table: str, videos: int, device: str) -> list[Contender]:
    """The rows of a table; ratios are against the first."""
    if table == 'sizes':
        return [contender(name, published, (5, 16, 16), videos, device, **size)
                for name, (published, size) in SIZES.items()]
    # two layers of the large grid tell the ratio, and six would take minutes on a CPU
    grid, videos, size = ((10, 32, 32), 1, SMALL | dict(num_layers=2)) if table == 'large' else ((5, 16, 16), videos, SMALL)
    rows = [contender(layout, published if table == 'layouts' else None, grid, videos, device, layout=layout, **size)
            for layout, published in LAYOUTS.items() if table == 'layouts' or layout in ('T,H|W', 'THW')]
    if table == 'layouts':
        rows += [contender(f'{layout}, unfused', LAYOUTS[layout], grid, videos, device, fused=False, layout=layout, **SMALL)
                 for layout in ('T,H|W', 'THW')]
    return rows


def measure(rows: list[Contender], rounds: int, title: str) -> str:
    """Time the rows in turns and tell the ratios as a table in markdown."""
    seconds = {row.name: [] for row in rows}
    for turn in tqdm(range(rounds + 1), desc=title, unit='round'):
        for row in rows:
            took = row.seconds()
            if turn:
                seconds[row.name].append(took)
    lines = [f'### {title}', '', '| model | videos/s | speed against the first | in the paper |', '| --- | --- | --- | --- |']
    first = rows[0]
    for row in rows:
        videos = len(row.clips.tokens) / 2
        ratio = statistics.median(a / b for a, b in zip(seconds[first.name], seconds[row.name]))
        published = '' if row.published is None else f'{row.published / first.published:.2f}x'
        name = row.name.replace('|', r'\|')
        lines.append(f'| {name} | {videos / statistics.median(seconds[row.name]):.3g} | {ratio:.2f}x | {published} |')
    return '\n'.join(lines)


TITLES = dict(layouts='Layouts at 5 x 16 x 16, 6 layers of 512 (Table 13)', large='Layouts at 10 x 32 x 32, 2 layers of 512',
              sizes='Sizes at 5 x 16 x 16 (Table 2)')


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the tables."""
    args = parse_args(argv)
    init_default_scope('mmaction')
    torch.manual_seed(0)
    done = []
    for table in args.tables:
        done.append(measure(contenders(table, args.videos, args.device), args.rounds, TITLES[table]))
        print(f'\n{done[-1]}\n', flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, '\n\n'.join(done) + '\n')
    print(f'{torch.get_num_threads()} threads, {args.device}; the tables are in {args.out}')


if __name__ == '__main__':
    main()
