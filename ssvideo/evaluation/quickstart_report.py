"""The figures, curves and pictures of a quickstart, on one page."""
from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from ..utils.files import write_whole
from ..visualization import draw_curves, read_scalars

METHODS = {'vimpac': 'VIMPAC', 'bevt': 'BEVT'}
PRETRAINING = {
    'tokenizer': 'Tokenizer (discrete VAE)',
    'vimpac': 'VIMPAC, on tokens',
    'bevt_image': 'BEVT, image stage',
    'bevt_joint': 'BEVT, joint stage',
}
FINE_TUNING = {f'{start}_{method}': f'{METHODS[method]}, {words}' for method in METHODS
               for start, words in (('finetune', 'pre-trained'), ('scratch', 'from scratch'))}
CURVES = {  # what a scalar's name ends in: what it is
    'loss': 'loss',
    'accuracy': 'accuracy',
    'psnr': 'PSNR in dB',
    'codebook_use': 'share of the codebook in use',
}
SKIPPED_LISTS = ('broken_videos.jsonl', 'failed.jsonl', 'skipped*.jsonl')
STEPS_FILE = 'steps.tsv'  # a step a line: title, seconds, command


@dataclass
class TaskResult:
    """Top-1 accuracies of one fine-tuning task, one for each seed.

    Args:
        num_classes: of the task; chance is one over it.
        num_test: test videos.
        seeds: accuracy in [0, 1] of each seed.
        seconds: time of each seed.
    """
    num_classes: int
    num_test: int
    seeds: list[float]
    seconds: list[float]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return mean(self.seeds)

    @property
    def std(self) -> float:
        """Sample standard deviation over seeds; 0 for one seed."""
        return stdev(self.seeds) if len(self.seeds) > 1 else 0.0

    def summary(self) -> dict:
        """The figures as they stand in ``report.json``."""
        return {'mean': self.mean, 'std': self.std, 'seeds': self.seeds}


def write_report(work_dir: str | os.PathLike, out: str | os.PathLike | None = None) -> Path:
    """Write ``report.md``, ``report.json`` beside it, and curves into ``work_dir/pictures``.

    Args:
        work_dir: folder of a quickstart; its runs are sub-folders, named as in ``PRETRAINING`` and ``FINE_TUNING``.
        out: the page; ``work_dir/report.md`` where ``None``.

    Returns:
        The page.

    Raises:
        ValueError: if there is no run at all, if some fine-tuning results are there and others missing, or if a result
            cannot be what it claims to be.
    """
    work_dir = Path(work_dir)
    out = work_dir / 'report.md' if out is None else Path(out)
    runs = [name for name in (*PRETRAINING, *FINE_TUNING) if (work_dir / name).is_dir()]
    if not runs:
        raise ValueError(f'{work_dir} has no run of a quickstart: expected a folder of {[*PRETRAINING, *FINE_TUNING]}')
    results = read_results(work_dir)
    skipped = read_skipped(work_dir)
    page = ['# Quickstart report', '', *_accuracy_section(results), '## Pre-training', '']
    for name, title in PRETRAINING.items():
        if name in runs:
            page += _run_section(work_dir, name, title, out.parent)
    if results:
        page += ['## Fine-tuning', '']
        page += [f'![{curve.stem}]({_link(curve, out.parent)})' for curve in _draw_fine_tuning(work_dir)] + ['']
    page += _skipped_section(skipped) + _steps_section(work_dir, results)
    write_whole(out.with_suffix('.json'), json.dumps(report_figures(results, skipped), indent=2) + '\n')
    write_whole(out, '\n'.join(page).rstrip() + '\n')
    return out


def report_figures(results: dict[str, TaskResult], skipped: list[dict[str, str]]) -> dict:
    """The content of ``report.json``: chance, results of each method and of its twin from scratch, skipped files."""
    figures = {'chance': None, 'results': {}, 'skipped': skipped}
    if results:
        figures['chance'] = 1 / results['finetune_vimpac'].num_classes
        figures['results'] = {'scratch': {method: results[f'scratch_{method}'].summary() for method in METHODS}}
        figures['results'] |= {method: results[f'finetune_{method}'].summary() for method in METHODS}
    return figures


def read_results(work_dir: Path) -> dict[str, TaskResult]:
    """Read ``<run>/results.json`` of every fine-tuning run; empty where there is none.

    Raises:
        ValueError: if only some are there, if they differ in classes or test videos, or if one is malformed.
    """
    found = {name: work_dir / name / 'results.json' for name in FINE_TUNING}
    missing = [name for name, path in found.items() if not path.is_file()]
    if len(missing) == len(FINE_TUNING):
        return {}
    if missing:
        raise ValueError(f'{work_dir} has results of {sorted(set(found) - set(missing))} but not of {missing}: run '
                         'these with tools/train.py --seeds, or remove the others for a report on pre-training alone')
    results = {name: _read_result(path) for name, path in found.items()}
    for fact in ('num_classes', 'num_test'):
        values = {name: getattr(result, fact) for name, result in results.items()}
        if len(set(values.values())) > 1:
            raise ValueError(f'{work_dir}: the runs differ in {fact}, {values}, and cannot be compared: repeat them')
    return results


def _read_result(path: Path) -> TaskResult:
    try:
        content = json.loads(path.read_text())
        result = TaskResult(num_classes=content['num_classes'], num_test=content['num_test'],
                            seeds=[float(seed['top1']) for seed in content['seeds']],
                            seconds=[float(seed['seconds']) for seed in content['seeds']])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: {error!r}; expected {{"num_classes": ..., "num_test": ..., "seeds": [{{"seed": ..., '
                         '"top1": ..., "seconds": ...}]}') from error
    if not result.seeds or not all(0 <= value <= 1 for value in result.seeds):
        raise ValueError(f'{path}: top1 of the seeds is {result.seeds}, expected at least one, each in [0, 1]')
    if not isinstance(result.num_classes, int) or result.num_classes < 2:
        raise ValueError(f'{path}: num_classes is {result.num_classes!r}, expected an integer from 2 up')
    return result


def read_skipped(work_dir: Path) -> list[dict[str, str]]:
    """Every ``{"path", "reason"}`` listed anywhere below ``work_dir``, each path once, in order of the path.

    Half a line, which a killed process leaves, is left out.

    Raises:
        ValueError: if a line is whole and has no path or reason.
    """
    reasons: dict[str, str] = {}
    for path in sorted({path for pattern in SKIPPED_LISTS for path in work_dir.rglob(pattern)}):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                entry = json.loads(line)
                reasons.setdefault(entry['path'], entry['reason'])
            except json.JSONDecodeError:
                continue
            except (KeyError, TypeError) as error:
                raise ValueError(f'{path}, line {number}: got {line[:80]!r}, expected an object with "path" and '
                                 '"reason"') from error
    return [{'path': path, 'reason': reasons[path]} for path in sorted(reasons)]


def is_above_scratch(pretrained: TaskResult, scratch: TaskResult) -> bool:
    """Whether the means differ, in favour of pre-training, by more than the two standard deviations together."""
    return pretrained.mean - scratch.mean > pretrained.std + scratch.std


def _accuracy_section(results: dict[str, TaskResult]) -> list[str]:
    if not results:
        return ['No fine-tuning results: the videos have no labels (fewer than two class folders). What follows is the '
                'pre-training alone.', '']
    first = results['finetune_vimpac']
    chance, num_seeds = 1 / first.num_classes, max(len(result.seeds) for result in results.values())
    lines = ['## Accuracy', '',
             f'Top-1 on {first.num_test} test videos of {first.num_classes} classes, in %: mean ± standard deviation '
             f'over {num_seeds} fine-tuning seed{"s" if num_seeds > 1 else ""}. Both columns of a row had the same '
             f'fine-tuning budget. Chance is {100 * chance:.1f}.', '',
             '| method | pre-trained | from scratch | gain | times chance | above scratch by more than the spread |',
             '| --- | --- | --- | --- | --- | --- |']
    for method, name in METHODS.items():
        tuned, scratch = results[f'finetune_{method}'], results[f'scratch_{method}']
        lines.append(f'| {name} | **{_percent(tuned)}** | {_percent(scratch)} | '
                     f'{100 * (tuned.mean - scratch.mean):+.1f} | {tuned.mean / chance:.1f} | '
                     f'**{"yes" if is_above_scratch(tuned, scratch) else "no"}** |')
    each = '; '.join(f'{title} {", ".join(f"{100 * value:.1f}" for value in results[name].seeds)}'
                     for name, title in FINE_TUNING.items())
    return [*lines, '', 'The spread is the sum of the two standard deviations' +
            (', which one seed does not show.' if num_seeds == 1 else '.'), '', f'Each seed: {each}.', '']


def _percent(result: TaskResult) -> str:
    return f'{100 * result.mean:.1f} ± {100 * result.std:.1f}'


def _run_section(work_dir: Path, name: str, title: str, page: Path) -> list[str]:
    lines = [f'### {title}', '']
    scalars = read_scalars(work_dir / name)
    last = [f'{key} {points[-1][1]:.4g}' for key, points in sorted(scalars.items()) if curve_of(key)]
    if last:
        num_steps = max(points[-1][0] for key, points in scalars.items() if curve_of(key))
        lines += [f'At step {num_steps}: {", ".join(last)}.', '']
    lines += [f'![{title}]({_link(curve, page)})' for curve in _draw_run(work_dir, name, title)]
    lines += ['']
    for picture in sorted((work_dir / name / 'pictures').glob('*.png')):
        caption = picture.stem.replace('_', ' ')
        lines += [f'{caption[:1].upper()}{caption[1:]}:', '', f'![{caption}]({_link(picture, page)})', '']
    return lines


def curve_of(scalar: str) -> str | None:
    """The entry of ``CURVES`` a scalar belongs to; ``None`` for such as the learning rate or the time."""
    return next((suffix for suffix in CURVES if scalar.endswith(suffix)), None)


def _draw_run(work_dir: Path, name: str, title: str) -> list[Path]:
    """One picture for each kind of scalar the run has logged."""
    kinds: dict[str, dict] = {}
    for scalar, points in sorted(read_scalars(work_dir / name).items()):
        suffix = curve_of(scalar)
        if suffix is not None:
            kinds.setdefault(suffix, {})[scalar.replace('_', ' ')] = points
    if len(kinds.get('loss', ())) == 2:
        kinds['loss'].pop('loss', None)  # the sum of a single term
    return [draw_curves(series, work_dir / 'pictures' / f'{name}_{suffix}.png', title, CURVES[suffix])
            for suffix, series in kinds.items()]


def _draw_fine_tuning(work_dir: Path) -> list[Path]:
    """For each method, the loss of the first seed, pre-trained and from scratch."""
    pictures = []
    for method, name in METHODS.items():
        series = {}
        for start, label in (('finetune', 'pre-trained'), ('scratch', 'from scratch')):
            run = work_dir / f'{start}_{method}'
            seeds = sorted(run.glob('seed_*'), key=lambda path: (len(path.name), path.name))
            series[label] = read_scalars(seeds[0] if seeds else run).get('loss', [])
        if any(series.values()):
            pictures.append(draw_curves(series, work_dir / 'pictures' / f'fine_tuning_{method}.png',
                                        f'Fine-tuning {name}, first seed', 'loss'))
    return pictures


def _link(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page)).as_posix().replace(' ', '%20')


def _skipped_section(skipped: list[dict[str, str]]) -> list[str]:
    lines = ['## Skipped files', '']
    if not skipped:
        return [*lines, 'None.', '']
    lines += ['| file | reason |', '| --- | --- |']
    return [*lines, *(f'| `{_cell(entry["path"])}` | {_cell(entry["reason"])} |' for entry in skipped), '']


def _cell(text: str) -> str:
    return ' '.join(text.split()).replace('|', '\\|')


def _steps_section(work_dir: Path, results: dict[str, TaskResult]) -> list[str]:
    """Times and commands: as the quickstart noted them, otherwise from what each run left behind."""
    lines = ['## Steps: time, and the command that repeats each', '']
    for title, seconds, command in _noted_steps(work_dir) or _runs_as_steps(work_dir, results):
        lines += [f'{title}{"" if seconds is None else f", {seconds:.0f} s"}:', '', f'    {command}', '']
    return lines


def _noted_steps(work_dir: Path) -> list[tuple[str, float, str]]:
    noted = work_dir / STEPS_FILE
    steps = []
    for number, line in enumerate(noted.read_text().splitlines() if noted.is_file() else [], 1):
        try:
            title, seconds, command = line.split('\t')
            steps.append((title, float(seconds), command.strip()))
        except ValueError as error:
            raise ValueError(f'{noted}, line {number}: got {line[:80]!r}, expected title, seconds and command with '
                             'tabs between') from error
    return steps


def _runs_as_steps(work_dir: Path, results: dict[str, TaskResult]) -> list[tuple[str, float | None, str]]:
    steps = []
    for name, title in (PRETRAINING | FINE_TUNING).items():
        run, environment = work_dir / name, [f'QUICKSTART={work_dir}']
        words = ['python', 'tools/train.py', f'configs/quickstart/{name}.py', '--work-dir', str(run)]
        if name in results:
            environment.append(f'QUICKSTART_CLASSES={results[name].num_classes}')
            words += ['--seeds', *(str(seed) for seed in range(len(results[name].seeds)))]
        if run.is_dir():
            seconds = sum(results[name].seconds) if name in results else _logged_seconds(run)
            steps.append((title, seconds, shlex.join([*environment, *words])))
    return steps


def _logged_seconds(run: Path) -> float | None:
    """The log has the seconds of a step, averaged over the last few steps."""
    times = read_scalars(run).get('time')
    if not times:
        return None
    before = [0, *(step for step, _ in times[:-1])]
    return sum(value * (step - last) for (step, value), last in zip(times, before))
