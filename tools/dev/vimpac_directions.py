"""Pre-train a small VIMPAC with block and with i.i.d. masks, each with and without contrast, and compare.

    python tools/dev/vimpac_directions.py --out OUT                                            # makes a small data set
    python tools/dev/vimpac_directions.py --out OUT --data work_dirs/quickstart --seeds 0 1 2  # takes the quickstart's

Both kinds of masks hide the same share of the tokens: i.i.d. masks take the mean share of the blocks. All settings
start from the same weights, see the same clips in the same order, and are watched by the kNN monitor. The paper finds
that i.i.d. masks give the higher mask accuracy and the worse transfer (VIMPAC, arXiv:2106.11250, Table 4). Each
direction of a contrast of n pairs starts near chance, ln(2n - 1).

Writes directions.png (curves), directions.json (figures) and directions.md (a table) into OUT; the runs are in
sub-folders.
"""
from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from mmengine.config import Config  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.markdown import Markdown  # noqa: E402

import ssvideo.models  # noqa: E402, F401
from ssvideo.datasets.token_store import TokenStore  # noqa: E402
from ssvideo.engine.launch import build_runner  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402
from ssvideo.visualization import read_scalars  # noqa: E402
from ssvideo.visualization.curves import COLOURS, Series  # noqa: E402
from ssvideo.visualization.reconstructions import save_figure  # noqa: E402

RECIPE = 'configs/quickstart/vimpac.py'
EPOCHS = 12  # of the recipe
NUM_DRAWS = 4000  # masks drawn to find the mean share of the blocks: known to 0.1 points
TOP1 = ('knn/summary_top1', 'knn/map_top1')
KINDS = ('block', 'iid')
SETTINGS = {f'{kind}{words}': (kind, with_contrast) for kind in KINDS
            for words, with_contrast in (('', False), (' + contrast', True))}
TITLES = {'video_mlm_accuracy': 'Mask accuracy', 'video_nce_loss': 'Contrast, each direction',
          'knn/summary_top1': 'kNN on the summary, top-1', 'knn/map_top1': 'kNN on the mean of the last map, top-1'}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='folder for runs, figures and the picture')
    parser.add_argument('--data', type=Path, help='folder of a quickstart, with tokens and tokens_val; made where they '
                        'are missing, in five minutes (default: OUT/data)')
    parser.add_argument('--steps', type=int, default=1200, help=f'of each run; rounded up to a multiple of {EPOCHS}')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='runs of each setting')
    return parser.parse_args(argv)


def make_data(folder: Path) -> None:
    """Write motion videos, train a tokenizer and extract tokens, with the quickstart's commands."""
    recipes, videos = 'configs/quickstart', folder / 'data'
    extract = ['tools/extract_tokens.py', f'{recipes}/tokens.py', '--out']
    for words in (
            ['tools/data/make_motion_dataset.py', videos, '--train', 800, '--val', 400, '--frames', 24, '--fps', 16,
             '--speed', 4, 4, '--scenes', 3],
            ['tools/data/make_lists.py', videos, folder],
            ['tools/train.py', f'{recipes}/tokenizer.py', '--work-dir', folder / 'tokenizer'],
            [*extract, folder / 'tokens'],
            [*extract, folder / 'tokens_val', '--cfg-options', f'dataset.source={folder / "val.txt"}']):
        command = [sys.executable, *map(str, words)]
        print('+', *command, flush=True)
        subprocess.run(command, cwd=ROOT, check=True, env=os.environ | dict(QUICKSTART=str(folder)))


def load_recipe(data: Path, steps: int) -> Config:
    """The quickstart's VIMPAC on the tokens of ``data``; dropout and the projector's width nearer to the paper's."""
    os.environ.update(QUICKSTART=str(data), QUICKSTART_SCALE='1')  # words of the recipe
    cfg = Config.fromfile(ROOT / RECIPE)
    assert cfg.train_cfg.max_epochs == EPOCHS
    cfg.launcher = 'none'
    loader = cfg.train_dataloader.video
    loader.sampler.num_draws = loader.batch_size * math.ceil(steps / EPOCHS)  # in an epoch
    # Dropout hides what two clips of a short video have in common from an untrained model: without it the contrast
    # starts at half of ln(2n - 1). In 64 dimensions random cosines scatter so much that it would start a tenth above.
    cfg.model.backbone.dropout = 0.1
    cfg.model.objectives.nce.update(hidden_dims=512, out_dims=256)
    clips = dict(type='ssvideo.TokenClips', clip_len=cfg.NUM_TOKEN_FRAMES, test_mode=True)
    cfg.custom_hooks = [
        dict(type='ssvideo.KNNHook', interval=EPOCHS // 4,
             train_dataloader=dict(batch_size=32, num_workers=0, dataset=dict(**clips, store=str(data / 'tokens'))),
             val_dataloader=dict(batch_size=32, num_workers=0, dataset=dict(**clips, store=str(data / 'tokens_val'))))]
    return cfg


def hidden_share(masker: dict, grid: tuple[int, int, int]) -> float:
    """Mean share of the tokens that a masker hides."""
    return MODELS.build(masker)(grid, NUM_DRAWS, random.Random(0)).float().mean().item()


def train(cfg: Config, setting: str, ratio: float, seed: int, out: Path) -> Series:
    """Run one setting.

    Args:
        cfg: of :func:`load_recipe`, with block masks and contrast.
        setting: out of ``SETTINGS``.
        ratio: share of the tokens that i.i.d. masks hide.
        seed: of the run.
        out: where its folder is made.

    Returns:
        What it logged; the contrast as one direction's mean, free of the temperature.
    """
    cfg, (kind, with_contrast) = copy.deepcopy(cfg), SETTINGS[setting]
    cfg.work_dir = str(out / f'{setting.replace(" + ", "_")}_seed_{seed}')
    # mmengine keeps its message hub by this name: it must be another for each run of the process
    cfg.experiment_name = f'{Path(cfg.work_dir).name}_{time.monotonic_ns()}'
    cfg.randomness = dict(seed=seed)
    if kind == 'iid':
        cfg.model.maskers.video = dict(type='ssvideo.Random3DMasker', mask_ratio=ratio)
    if not with_contrast:
        del cfg.model.objectives['nce']
    print(f'== {setting}, seed {seed}: {cfg.work_dir}', flush=True)
    runner = build_runner(cfg)
    runner.train()
    scalars = read_scalars(cfg.work_dir)
    if with_contrast:
        temperature = runner.model.objectives['nce'].temperature  # the logged loss is temperature x (L + L')
        scalars['video_nce_loss'] = [(step, loss / temperature / 2) for step, loss in scalars['video_nce_loss']]
    return scalars


def figures_of(runs: list[Series]) -> dict:
    """The figures of one setting: mean and spread over its seeds."""
    last = runs[0]['video_mlm_accuracy'][-1][0]

    def late(points):  # a tenth of the run: single steps are noisy
        return mean(value for step, value in points if step > 0.9 * last)

    found = dict(mask_ratio=[mean(value for _, value in run['video_mask_ratio']) for run in runs],
                 mask_accuracy=[late(run['video_mlm_accuracy']) for run in runs])
    if 'video_nce_loss' in runs[0]:
        found |= dict(contrast_start=[run['video_nce_loss'][0][1] for run in runs],
                      contrast_end=[late(run['video_nce_loss']) for run in runs])
    for name in TOP1:
        short = name.replace('/', '_').removesuffix('_top1')
        found |= {f'{short}_start': [run[name][0][1] for run in runs],
                  f'{short}_end': [run[name][-1][1] for run in runs]}
    return {name: dict(mean=mean(values), std=stdev(values) if len(values) > 1 else 0.0, seeds=values)
            for name, values in found.items()}


def summarise(logged: dict[str, list[Series]], num_pairs: int, num_classes: int, num_classified: int) -> dict:
    """All figures, as they stand in ``directions.json``."""
    settings = {setting: figures_of(runs) for setting, runs in logged.items()}
    accuracy = {setting: figures['mask_accuracy']['mean'] for setting, figures in settings.items()}
    return dict(
        steps=logged['block'][0]['video_mlm_accuracy'][-1][0], num_pairs=num_pairs, knn_chance=1 / num_classes,
        num_classified=num_classified, contrast_chance=math.log(2 * num_pairs - 1), settings=settings,
        iid_mask_accuracy_above_block={'without contrast': accuracy['iid'] - accuracy['block'],
                                       'with contrast': accuracy['iid + contrast'] - accuracy['block + contrast']})


def table(found: dict) -> str:
    """All figures, as a page."""
    columns = dict(mask_ratio='tokens hidden', mask_accuracy='mask accuracy', knn_summary_start='kNN summary, start',
                   knn_summary_end='kNN summary, end', knn_map_start='kNN map, start', knn_map_end='kNN map, end')
    num_seeds = len(found['settings']['block']['mask_accuracy']['seeds'])
    lines = [f'{found["steps"]} steps of {found["num_pairs"]} pairs; in %, '
             f'{f"mean ± deviation over {num_seeds} seeds" if num_seeds > 1 else "one seed"}. kNN: top-1 of '
             f'{found["num_classified"]} videos; chance is {100 * found["knn_chance"]:.1f}, with a standard error of '
             f'{100 * standard_error(found["knn_chance"], found["num_classified"]):.1f}.', '',
             f'| masks | {" | ".join(columns.values())} |', f'| --- |{" --- |" * len(columns)}']
    for setting, figures in found['settings'].items():
        cells = [f'{100 * figures[name]["mean"]:.1f}' +
                 (f' ± {100 * figures[name]["std"]:.1f}' if num_seeds > 1 else '') for name in columns]
        lines.append(f'| {setting} | {" | ".join(cells)} |')
    lines.append('')
    for words, points in found['iid_mask_accuracy_above_block'].items():
        lines.append(f'- Mask accuracy of i.i.d. masks, {words}: {100 * points:+.1f} points from that of blocks.')
    for setting, figures in found['settings'].items():
        if 'contrast_start' in figures:
            start, end = (figures[f'contrast_{moment}']['mean'] for moment in ('start', 'end'))
            chance = found['contrast_chance']
            lines.append(f'- {setting}: each direction starts at {start:.3f}, {start / chance:.2f} times ln(2n - 1) = '
                         f'{chance:.3f}, and ends at {end:.3f}.')
    return '\n'.join(lines) + '\n'


def standard_error(share: float, number: int) -> float:
    """Of a share that was counted on a number of videos."""
    return math.sqrt(share * (1 - share) / number)


def draw(logged: dict[str, list[Series]], found: dict, path: Path) -> None:
    """Draw one panel a quantity and one line a setting, the mean over seeds; kNN with bars of one standard error."""
    chances = dict(video_nce_loss=found['contrast_chance']) | dict.fromkeys(TOP1, found['knn_chance'])
    figure = Figure(figsize=(10, 6.8), facecolor='white', layout='constrained')
    panels = dict(zip(TITLES, figure.subplots(2, 2).flat))
    for (name, axes), (setting, runs) in itertools.product(panels.items(), logged.items()):
        kind, with_contrast = SETTINGS[setting]
        style = dict(color=COLOURS[KINDS.index(kind)], linestyle='-' if with_contrast else '--', label=setting)
        if name not in runs[0]:
            continue
        steps = [step for step, _ in runs[0][name]]
        values = np.mean([[value for _, value in run[name]] for run in runs], axis=0)
        if name in TOP1:
            bars = [standard_error(value, found['num_classified'] * len(runs)) for value in values]
            axes.errorbar(steps, values, bars, capsize=3, elinewidth=0.8, **style)
        else:
            axes.plot(steps, smooth(values), linewidth=1.8, **style)
    for name, axes in panels.items():
        if name in chances:
            axes.axhline(chances[name], color='black', linestyle=':', linewidth=1.2)
            words = 'ln(2n - 1)' if name == 'video_nce_loss' else 'chance'
            axes.annotate(words, (1, chances[name]), (-2, 3), xycoords=('axes fraction', 'data'),
                          textcoords='offset points', ha='right', fontsize=8)
        axes.set_title(TITLES[name], loc='left', fontsize=11, fontweight='bold')
        axes.set_xlabel('step')
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(axis='y', color='0.9', linewidth=0.8)
    lines = panels['video_mlm_accuracy'].get_legend_handles_labels()
    figure.legend(*lines, loc='outside upper center', ncols=len(logged), frameon=False)
    save_figure(figure, path)


def smooth(values: np.ndarray, span: int = 9) -> np.ndarray:
    """The mean of each value and its neighbours; fewer at the ends."""
    half = span // 2
    return np.array([values[max(0, i - half):i + half + 1].mean() for i in range(len(values))])


def main(argv: list[str] | None = None) -> None:
    """Pre-train in every setting, and say what was found."""
    args = parse_args(argv)
    out, data = args.out.resolve(), (args.data or args.out / 'data').resolve()
    if not all((data / store / 'manifest.json').is_file() for store in ('tokens', 'tokens_val')):
        make_data(data)
    cfg = load_recipe(data, args.steps)
    ratio = hidden_share(cfg.model.maskers.video, cfg.model.backbone.grid)
    logged = {setting: [train(cfg, setting, ratio, seed, out) for seed in args.seeds] for setting in SETTINGS}
    num_classes = len((data / 'classes.txt').read_text().split())
    found = summarise(logged, cfg.train_dataloader.video.batch_size, num_classes, len(TokenStore(data / 'tokens_val')))
    page = table(found)
    write_whole(out / 'directions.json', json.dumps(found, indent=2) + '\n')
    write_whole(out / 'directions.md', page)
    draw(logged, found, out / 'directions.png')
    Console().print(Markdown(page))
    print(f'The picture and the figures are in {out}: directions.png, directions.json, directions.md')


if __name__ == '__main__':
    main()
