"""Every method in small, at one budget of time, in one table: frozen accuracy, videos per second, memory.

    bash tools/quickstart.sh                                   # or the steps of it that make lists, tokenizer and token stores
    python tools/dev/method_table.py work_dirs/quickstart --seconds 90 --out work_dirs/method_table

Each method is pre-trained once on the quickstart's videos: a few steps are timed, and the schedule gets as many as fill the
budget. Its frozen backbone is then evaluated with tools/evaluate_frozen.py, over three seeds, on labelled clips that none of the
methods chose. What is there already is kept, so that a run that was stopped goes on. Writes table.md and table.json.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
from ssvideo.evaluation.random_batches import num_videos, random_batch  # noqa: E402
from ssvideo.evaluation.step_timing import TrainingStep, build_step_model  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

TOKENS, PIXELS = 'configs/quickstart/finetune_vimpac.py', 'configs/quickstart/finetune_bevt.py'
METHODS = {  # name: config of the pre-training, and the fine-tuning whose validation says how labelled videos are read
    'VIMPAC': ('configs/quickstart/vimpac.py', TOKENS),
    'BEVT': ('configs/quickstart/bevt_joint.py', PIXELS),
    'VideoMAE': ('plugins/videomae/config_small.py', PIXELS),
    'MaskFeat': ('plugins/maskfeat/config_small.py', PIXELS),
    'MaskFeat, ViT': ('plugins/maskfeat/config_small_vit.py', PIXELS),
    'V-JEPA': ('plugins/vjepa/config_small.py', PIXELS),
    'Image features': ('plugins/clip_targets/config_small.py', PIXELS),
    'VIMPAC on FSQ': ('plugins/fsq_tokenizer/config_small_vimpac.py', TOKENS)}
NEEDED = ('train.txt', 'finetune.txt', 'val.txt', 'classes.txt', 'tokenizer/tokenizer.safetensors', 'tokens', 'tokens_val')
TIMED_STEPS = 6


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('quickstart', type=Path, help=f'folder with {", ".join(NEEDED)}')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/method_table'))
    parser.add_argument('--methods', nargs='+', default=list(METHODS), choices=list(METHODS), metavar='NAME')
    parser.add_argument('--seconds', type=float, default=90, help='of training steps of each method')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='of the evaluation')
    parser.add_argument('--min-steps', type=int, default=300, help='of the probes')
    return parser.parse_args(argv)


@dataclass
class Budget:
    """What a method does in its time.

    Args:
        step_seconds: of a training step, the median.
        videos: drawn in the whole training.
        memory: bytes, see :meth:`~ssvideo.evaluation.step_timing.TrainingStep.peak_memory`.
    """
    step_seconds: float
    videos: int
    memory: int


def budget_of(config: str, seconds: float) -> Budget:
    """Time a few steps of a recipe on random clips, and fill the budget with them."""
    cfg = Config.fromfile(REPO / config)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model, optimiser, _ = build_step_model(cfg.model, cfg.optim_wrapper, torch.device('cpu'))
    step = TrainingStep(model, optimiser, random_batch(model, cfg.train_dataloader), torch.device('cpu'))
    step()
    took = statistics.median(step.seconds() for _ in range(TIMED_STEPS))
    videos = num_videos(step.batch)
    return Budget(took, videos * max(1, round(seconds / took)), step.peak_memory())


def run(words: list[str], log: Path, env: dict[str, str]) -> float:
    """Run one of our tools; its output goes to a file. Returns the seconds that it took.

    Raises:
        RuntimeError: if it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with open(log, 'w', encoding='utf-8') as file:
        done = subprocess.run([sys.executable, *words], cwd=REPO, env=env, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f'{" ".join(words)} failed; see {log}')
    return time.perf_counter() - started


def make_fsq(source: Path, env: dict[str, str]) -> None:
    """Train the FSQ tokenizer and write its stores beside the quickstart's own, where that is not done yet."""
    folder = 'plugins/fsq_tokenizer/config_small'
    steps = {
        'fsq/tokenizer.safetensors': ['tools/train.py', f'{folder}.py', '--work-dir', str(source / 'fsq')],
        'tokens_fsq': ['tools/extract_tokens.py', f'{folder}_tokens.py', '--out', str(source / 'tokens_fsq')],
        'tokens_fsq_val': ['tools/extract_tokens.py', f'{folder}_tokens.py', '--out', str(source / 'tokens_fsq_val'),
                           '--cfg-options', f'dataset.source={source / "val.txt"}']}
    for result, words in steps.items():
        if not (source / result).exists():
            run(words, source / f'{Path(result).parts[0]}.log', env)


def pretrain(name: str, folder: Path, seconds: float, env: dict[str, str]) -> dict:
    """Pre-train a method once, where that is not done yet; what it cost."""
    about = folder / 'pretrain.json'
    if not about.exists():
        budget = budget_of(METHODS[name][0], seconds)
        one_epoch = env | dict(QUICKSTART_SCALE='0', QUICKSTART_DRAWS=str(budget.videos))
        words = ['tools/train.py', METHODS[name][0], '--work-dir', str(folder / 'pretrain'), '--cfg-options', 'load_from=None']
        took = run(words, folder / 'pretrain.log', one_epoch)
        write_whole(about, json.dumps(asdict(budget) | dict(wall_seconds=took)))
    return json.loads(about.read_text())


def evaluate(name: str, folder: Path, args: argparse.Namespace, env: dict[str, str]) -> dict[str, tuple[float, float | None]]:
    """Mean and deviation of top-1 by method of evaluation."""
    results = folder / 'frozen.json'
    if not results.exists():
        trained, reading = (Config.fromfile(REPO / config) for config in METHODS[name])
        reading.model.backbone = trained.model.backbone
        reading.custom_imports = trained.custom_imports
        if METHODS[name][1] == TOKENS:
            store = trained.train_dataloader.video.dataset.store
            reading.train_dataloader.dataset.store, reading.val_dataloader.dataset.store = store, f'{store}_val'
        reading.dump(folder / 'evaluate.py')
        words = ['tools/evaluate_frozen.py', str(folder / 'evaluate.py'), str(folder / 'pretrain' / 'last.pth'),
                 '--train', str(args.quickstart.resolve() / 'finetune.txt'), '--val', str(args.quickstart.resolve() / 'val.txt'),
                 '--methods', 'knn', 'attentive', '--fractions', '1', '--seeds', *map(str, args.seeds), '--out', str(folder),
                 '--cache', str(folder / 'features'), '--min-steps', str(args.min_steps)]
        run(words, folder / 'evaluate.log', env)
    rows = json.loads(results.read_text())['rows']
    return {row['method']: (row['mean']['val'], row['std']['val']) for row in rows}


def table(found: dict[str, dict], chance: float) -> str:
    """All methods in markdown."""
    kinds = list(next(iter(found.values()))['accuracy'])
    head = ('method', *kinds, 'videos/s', 'ms a step', 'peak memory, MiB', 'whole run, s')
    lines = [head, ('---',) * len(head)]
    for name, row in found.items():
        cost, accuracy = row['cost'], row['accuracy'].values()
        accuracies = [f'{100 * mean:.1f}' + ('' if std is None else f' ± {100 * std:.1f}') for mean, std in accuracy]
        rate = cost['videos'] / cost['wall_seconds']
        lines.append((name, *accuracies, f'{rate:.1f}', f'{1000 * cost["step_seconds"]:.0f}', f'{cost["memory"] / 2**20:.0f}',
                      f'{cost["wall_seconds"]:.0f}'))
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + f'\n\nTop-1 in percent; chance is {100 * chance:.0f}.\n'


def main(argv: list[str] | None = None) -> None:
    """Train and evaluate every method, and write the table."""
    args = parse_args(argv)
    if missing := [name for name in NEEDED if not (args.quickstart / name).exists()]:
        sys.exit(f'error: {args.quickstart} lacks {", ".join(missing)}: run tools/quickstart.sh first')
    out, source = args.out.resolve(), args.quickstart.resolve()
    classes = len((source / 'classes.txt').read_text().split())
    os.environ.update(QUICKSTART=str(source), QUICKSTART_CLASSES=str(classes))
    env = os.environ | dict(PYTHONWARNINGS='ignore', MPLBACKEND='Agg')
    found = {}
    for name in args.methods:
        if 'FSQ' in name:
            make_fsq(source, env)
        folder = out / name.lower().replace(', ', '_').replace(' ', '_').replace('-', '_')
        cost = pretrain(name, folder, args.seconds, env)
        found[name] = dict(cost=cost, accuracy=evaluate(name, folder, args, env))
        print(table({name: found[name]}, 1 / classes).splitlines()[2], flush=True)
    write_whole(out / 'table.md', table(found, 1 / classes))
    write_whole(out / 'table.json', json.dumps(found, indent=1))
    print(f'{table(found, 1 / classes)}\nThe table is in {out / "table.md"}')


if __name__ == '__main__':
    main()
