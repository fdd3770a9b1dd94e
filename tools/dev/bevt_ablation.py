"""BEVT's Table 6 in small, and Table 2 on its result: which streams, and from which weights.

    bash tools/quickstart.sh                                   # or the steps of it that make lists and a tokenizer
    python tools/dev/bevt_ablation.py work_dirs/quickstart --out work_dirs/bevt_ablation

Each row is one pre-training on the quickstart's videos, fine-tuned with three seeds; all rows have the same budgets (the
image stage's is that of the first row, and comes on top where it initialises). Then the best row's model is tested with
the order of its frames taken away. Writes table.md and table.json.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from ssvideo.utils.files import write_whole  # noqa: E402

ROWS = {  # name: config of the pre-training, and whether it starts from the image stage
    'from scratch': None,
    'BEVT-I': ('bevt_image', False),
    'BEVT-V': ('bevt_video', False),
    'BEVT-V, init': ('bevt_video', True),
    'BEVT': ('bevt_joint', False),
    'BEVT, init': ('bevt_joint', True)}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('quickstart', type=Path, help='folder with train.txt, finetune.txt, val.txt and tokenizer/')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bevt_ablation'))
    parser.add_argument('--rows', nargs='+', default=list(ROWS), choices=list(ROWS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], help='of fine-tuning')
    args = parser.parse_args(argv)
    missing = [name for name in ('train.txt', 'finetune.txt', 'val.txt', 'classes.txt', 'tokenizer/tokenizer.safetensors')
               if not (args.quickstart / name).exists()]
    if missing:
        parser.error(f'{args.quickstart} lacks {", ".join(missing)}: run tools/quickstart.sh first')
    return args


def slug(row: str) -> str:
    """A folder's name."""
    return row.lower().replace(', ', '_').replace(' ', '_').replace('-', '_')


def tool(name: str, config: str, work_dir: Path, *words: str, env: dict[str, str]) -> None:
    """Run one of our tools on a config of the quickstart; its output goes to ``work_dir.log``.

    Raises:
        RuntimeError: if it fails.
    """
    log = work_dir.with_suffix('.log')
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'w', encoding='utf-8') as file:
        done = subprocess.run([sys.executable, f'tools/{name}.py', f'configs/quickstart/{config}.py', *words, '--work-dir',
                               str(work_dir)], cwd=REPO, env=env, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f'tools/{name}.py on {config} failed; see {log}')


def pretrain(row: str, out: Path, env: dict[str, str]) -> Path | None:
    """The checkpoint of a row's pre-training, made where it is not there; ``None`` from scratch."""
    if ROWS[row] is None:
        return None
    config, init = ROWS[row]
    checkpoint = out / slug(row) / 'pretrain' / 'last.pth'
    if not checkpoint.exists():
        start = pretrain('BEVT-I', out, env) if init else None
        words = [] if config == 'bevt_image' else ['--cfg-options', f'load_from={start}']
        tool('train', config, checkpoint.parent, *words, env=env)
    return checkpoint


def fine_tune(row: str, checkpoint: Path | None, out: Path, seeds: list[int], env: dict[str, str]) -> dict:
    """Top-1 over the seeds of fine-tuning, as ``results.json`` has it."""
    work_dir = out / slug(row) / 'finetune'
    if not (work_dir / 'results.json').exists():
        words = ['--seeds', *map(str, seeds)]
        if checkpoint:
            words += ['--cfg-options', f'model.backbone.init_cfg.checkpoint={checkpoint}']
        tool('train', 'finetune_bevt' if checkpoint else 'scratch_bevt', work_dir, *words, env=env)
    return json.loads((work_dir / 'results.json').read_text())


def temporal(row: str, out: Path, seed: int, env: dict[str, str]) -> dict:
    """Top-1 of one fine-tuned model with its frames as they are, one of them repeated, shuffled and reversed."""
    work_dir = out / slug(row) / 'temporal'
    checkpoint = out / slug(row) / 'finetune' / f'seed_{seed}' / 'last.pth'
    tool('test', 'finetune_bevt', work_dir, str(checkpoint), '--temporal', 'all', env=env)
    return json.loads((work_dir / 'temporal.json').read_text())


def main(argv: list[str] | None = None) -> None:
    """Train every row and write the tables."""
    args = parse_args(argv)
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(args.quickstart / 'classes.txt', out)
    env = os.environ | dict(QUICKSTART=str(args.quickstart.resolve()), PYTHONWARNINGS='ignore', MPLBACKEND='Agg',
                            QUICKSTART_CLASSES=str(len((out / 'classes.txt').read_text().split())))
    results = {}
    for row in args.rows:
        results[row] = fine_tune(row, pretrain(row, out, env), out, args.seeds, env)
        print(f'{row}: top-1 {100 * results[row]["mean"]:.1f} ± {100 * results[row]["std"]:.1f} %', flush=True)
    best = max(results, key=lambda row: results[row]['mean'])
    order = temporal(best, out, args.seeds[0], env)
    lines = ['| pre-training | top-1 in %, over fine-tuning seeds |', '| --- | --- |',
             *(f'| {row} | {100 * found["mean"]:.1f} ± {100 * found["std"]:.1f} |' for row, found in results.items()),
             '', f'{best}, its frames in other orders:', '', (out / slug(best) / 'temporal' / 'temporal.md').read_text()]
    write_whole(out / 'table.md', '\n'.join(lines))
    write_whole(out / 'table.json', json.dumps(dict(rows=results, best=best, temporal=order), indent=2))
    print(f'The tables are in {out / "table.md"} and table.json')


if __name__ == '__main__':
    main()
