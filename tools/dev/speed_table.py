"""Every figure of "Speed of a step" in docs/benchmarks.md, in one call.

    python tools/dev/speed_table.py --out work_dirs/speed_table.md
    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 python tools/dev/speed_table.py    # the same, steadier
    OMP_NUM_THREADS=1 python tools/dev/speed_table.py --processor-time    # on a machine shared with other work

The second keeps glibc from giving memory back between steps: on a CPU, the system's clearing of pages otherwise takes up to a
third of the time of either side, more or less by chance.

The steps of VIMPAC Small and of BEVT with Video Swin-T (a clip of 16 x 224 x 224 and two images, DALL-E's tokenizer at its
published size) beside the plain ones, and Video Swin-T beside mmaction2's; what is compared takes turns.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'analysis_tools'))

import benchmark  # noqa: E402

from ssvideo.utils.files import write_whole  # noqa: E402

SWIN_T = ['model.backbone.embed_dims=96', 'model.backbone.depths=(2,2,6,2)', 'model.backbone.num_heads=(3,6,12,24)',
          'model.backbone.drop_path_rate=0.1']
TWO_IMAGES = 'train_dataloader.image.batch_size=8'  # beside four clips, as the recipe has 32
FUSED = 'optim_wrapper.optimizer.fused=True'  # both sides in their best form
CASES = {
    'vimpac': ['configs/vimpac_small.py', '--against', 'plain', '--batch', '2', '--parts', '--cfg-options', FUSED],
    'bevt': [
        'configs/bevt_swin_b.py', '--against', 'plain', '--batch', '1', '--parts', '--cfg-options', *SWIN_T, TWO_IMAGES, FUSED],
    'bevt_bfloat16_tokenizer': [  # the plain tokenizer stays in float32, the plain backbone recomputes nothing
        'configs/bevt_swin_b.py', '--against', 'plain', '--batch', '1', '--parts', '--cfg-options', *SWIN_T, TWO_IMAGES, FUSED,
        'model.tokenizer.precision=bfloat16', 'model.backbone.checkpoint_activations=True', 'model.backbone.keep_products=[2,3]'],
    'swin': ['configs/bevt_video_swin_t.py', '--against', 'mmaction', '--batch', '1', '--cfg-options', FUSED]}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', nargs='+', choices=list(CASES), default=list(CASES), help='some of the tables')
    parser.add_argument('--rounds', type=int, default=5, help='timed steps of each side')
    parser.add_argument('--processor-time', action='store_true', help='count seconds of processors, not of the clock')
    parser.add_argument('--device', default=None, help="default: benchmark.py's")
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override all recipes')
    parser.add_argument('--shape', nargs='+', metavar='N', help="as benchmark.py's; default: the recipes'")
    parser.add_argument('--out', type=Path, default=Path('work_dirs/speed_table.md'))
    return parser.parse_args(argv)


def command_of(case: str, args: argparse.Namespace) -> list[str]:
    """The words for benchmark.py that make one table."""
    words = CASES[case]
    options = [*words[words.index('--cfg-options') + 1:], *args.cfg_options]
    words = [*words[:words.index('--cfg-options')], '--rounds', str(args.rounds), '--no-amp']
    if args.processor_time:
        words.append('--processor-time')
    if args.device:
        words += ['--device', args.device]
    if args.shape and case != 'vimpac':
        words += ['--shape', *args.shape]
    return [*words, '--cfg-options', *options]


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write."""
    args = parse_args(argv)
    pages = []
    for case in args.cases:
        words = command_of(case, args)
        table = benchmark.report(benchmark.parse_args(words))
        page = f'    python tools/analysis_tools/benchmark.py {" ".join(words)}\n\n{table}'
        print(page, flush=True)
        pages.append(page)
        write_whole(args.out, '\n'.join(pages))
    print(f'The tables are in {args.out}')


if __name__ == '__main__':
    main()
