"""Kill a small joint training again and again, resume it, and compare it with one that nobody interrupted.

    python tools/dev/kill_resume.py --kills 200 --out work_dirs/kill_resume

Two zipped streams with workers, accumulation, bfloat16, an average of the weights and one kept checkpoint. The whole process
group is sent SIGKILL at a random moment after its first step, every third time while it saves. After the kills it is asked to
end (--stops) by a SIGTERM to the group, and must save and end with status 143. Every restart must find the newest whole
checkpoint; every step, done again or not, must have seen the same pictures and had the same loss, and the last
weights, averages and moments must be equal bit for bit. Processes are forked from this one, which has imported what they
need, so that a start takes no time worth mentioning.
"""
from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
from ssvideo.datasets.synthetic_motion import MotionSettings, make_motion_dataset  # noqa: E402
from ssvideo.engine.checkpoint_files import POINTER  # noqa: E402
from ssvideo.engine.launch import build_runner, train_until_stopped  # noqa: E402
from ssvideo.registry import MODELS  # noqa: E402

INTERVAL = 4  # iterations from one checkpoint to the next
EPOCH = 12
SAVING = 0.03  # s after a temporary file appears, within which the kill falls
AFTERWARDS = 0.01  # s after it is renamed


class Recorder(Hook):
    """Writes what each step saw and found, and tells the watching process how far the run is."""

    def __init__(self, started, done) -> None:
        self.started, self.done = started, done

    def before_train(self, runner) -> None:
        """Tell where the run goes on."""
        self.started.value = runner.iter

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Append a line: iteration, digest of all pictures, loss to the last bit."""
        digest = hashlib.sha256()
        for stream in data_batch.values():
            for clip in stream['inputs']:
                digest.update(clip.numpy().tobytes())
        with open(Path(runner.work_dir) / 'steps.txt', 'a') as file:
            file.write(f'{runner.iter} {digest.hexdigest()[:16]} {float(outputs["loss"]).hex()}\n')
        self.done.value = runner.iter + 1


class Run:
    """A training in a folder, in one process after the other."""

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.folder = cfg, Path(cfg.work_dir)
        self.folder.mkdir(parents=True)
        self.started, self.done = (multiprocessing.Value('l', -1, lock=False) for _ in range(2))
        self.pid = 0

    def start(self) -> None:
        """Start, or go on, in a process group of its own."""
        self.started.value = self.done.value = -1
        self.pid = os.fork()
        if self.pid:
            return
        status = 1
        try:
            os.setsid()
            log = os.open(self.folder / 'log.txt', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            runner = build_runner(self.cfg)
            runner.register_hook(Recorder(self.started, self.done))
            train_until_stopped(runner)
            status = 0
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until the run has come that far.

        Raises:
            RuntimeError: if it ends before.
        """
        while not condition():
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                self.pid = 0
                raise RuntimeError(f'the run ended at iteration {self.done.value}; see {self.folder}/log.txt')
            time.sleep(0.0005)

    def kill(self) -> None:
        """End the whole process group at once, if it still runs."""
        if self.pid:
            os.killpg(self.pid, signal.SIGKILL)
            self._ended()

    def _ended(self) -> int:
        """Wait for the end; the exit status."""
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def stop(self) -> int:
        """Ask the whole process group to end; iterations done by then.

        Raises:
            RuntimeError: if it does not end as documented.
        """
        os.killpg(self.pid, signal.SIGTERM)
        if (status := self._ended()) != 128 + signal.SIGTERM:
            raise RuntimeError(f'after SIGTERM the run ended with status {status}; see {self.folder}/log.txt')
        return self.done.value

    def finish(self) -> None:
        """Let it go on to its end."""
        if status := self._ended():
            raise RuntimeError(f'the run ended with status {status}; see {self.folder}/log.txt')

    def temporary_files(self) -> list[Path]:
        """What a save is writing."""
        return list(self.folder.glob('.*.tmp'))

    def checkpoints(self) -> list[int]:
        """Iterations of the whole checkpoints."""
        return sorted(int(path.stem.removeprefix('iter_')) for path in self.folder.glob('iter_*.pth'))

    def steps(self) -> dict[int, set[str]]:
        """What was recorded of each iteration; one element where it is always the same."""
        found: dict[int, set[str]] = {}
        for line in (self.folder / 'steps.txt').read_text().splitlines():
            words = line.split()
            if len(words) == 3 and words[2][-1].isdigit():  # a kill may cut a line
                found.setdefault(int(words[0]), set()).add(' '.join(words[1:]))
        return found


@dataclass
class End:
    """How a process of a run was ended: when, what was on the disk then, and where it had gone on itself."""
    when: str
    left: str
    at: int
    resumed: int


def recipe(folder: Path, name: str, iterations: int) -> Config:
    """The quickstart's joint BEVT, smaller still, with everything whose state a checkpoint must carry."""
    os.environ.update(QUICKSTART=str(folder), QUICKSTART_DRAWS=str(2 * EPOCH), QUICKSTART_SCALE='1')
    cfg = Config.fromfile(ROOT / 'configs/quickstart/bevt_joint.py')
    cfg.merge_from_dict({
        'model.backbone.embed_dims': 8, 'model.backbone.depths': (1, 1, 1), 'model.backbone.num_heads': (1, 1, 2),
        'model.backbone.drop_path_rate': 0.1, 'train_dataloader.video.batch_size': 2, 'train_dataloader.image.batch_size': 1,
        'optim_wrapper.type': 'ssvideo.AutocastOptimWrapper', 'optim_wrapper.accumulative_counts': 2,
        'train_cfg.max_epochs': iterations // EPOCH, 'visualizer.vis_backends': [],
        'default_hooks.checkpoint': dict(by_epoch=False, interval=INTERVAL, max_keep_ckpts=1, filename_tmpl='iter_{}.pth')})
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.01, interval=2)]
    cfg.param_scheduler[1].update(end=iterations // EPOCH)
    cfg.load_from, cfg.launcher, cfg.auto_resume = None, 'none', True
    cfg.work_dir = str(folder / name)
    return cfg


def prepare(folder: Path) -> None:
    """Videos, their list, and a tokenizer that has not learnt anything."""
    make_motion_dataset(folder / 'data', MotionSettings(num_train=10, num_val=1, num_frames=24, fps=16, speed=(4., 4.)))
    (folder / 'train.txt').write_text(''.join(f'{path}\n' for path in sorted((folder / 'data/train').iterdir())))
    (folder / 'tokenizer').mkdir()
    torch.manual_seed(0)
    MODELS.build(dict(type='DalleVAE', vocab_size=32, hidden_dims=8, num_blocks=1)).save_tokenizer(
        folder / 'tokenizer/tokenizer.safetensors')


def kill_once(run: Run, saving: bool, rng: random.Random) -> End:
    """Start a run, kill it at a random moment after its first step and first checkpoint, and look at what it leaves."""
    first = not run.checkpoints()
    resumed = start(run)
    if saving:
        run.wait_for(run.temporary_files)
        if rng.random() < 0.5:
            time.sleep(rng.uniform(0, SAVING))
        else:  # between the renaming of the file, that of the pointer and the deletion
            run.wait_for(lambda: not list(run.folder.glob('.iter_*.tmp')))
            time.sleep(rng.uniform(0, AFTERWARDS))
    else:
        last = rng.randint(1, 2 * INTERVAL) + (INTERVAL if first else resumed)
        run.wait_for(lambda: run.done.value >= last)
        time.sleep(rng.uniform(0, SAVING))
    run.kill()
    newest = max(run.checkpoints())
    pointer = (run.folder / POINTER).read_text()
    left = ('a part of a file' if run.temporary_files() else
            'a file that nothing points to' if f'iter_{newest}.' not in pointer else
            'the old file beside the new one' if len(run.checkpoints()) > 1 else 'one whole checkpoint')
    return End('while saving' if saving else 'while training', left, run.done.value, resumed)


def start(run: Run) -> int:
    """Start a run and wait for a step and a checkpoint; the iteration at which it went on."""
    run.start()
    run.wait_for(lambda: run.done.value > run.started.value >= 0 and (run.folder / POINTER).exists())
    return run.started.value


def stop_once(run: Run, rng: random.Random) -> End:
    """Start a run and ask it to end at a random moment."""
    resumed = start(run)
    time.sleep(rng.uniform(0, SAVING))
    return End('asked to end', 'a checkpoint of its last step', run.stop(), resumed)


def end_many(run: Run, kills: int, stops: int, seed: int) -> list[End]:
    """Kill a run so many times and ask it to end so many, then let it end by itself.

    Raises:
        RuntimeError: if a restart does not go on from the newest whole checkpoint, or from where it was asked to end.
    """
    rng, ends, expected = random.Random(seed), [], 0
    for index in range(kills + stops):
        end = kill_once(run, index % 3 == 0, rng) if index < kills else stop_once(run, rng)
        if end.resumed != expected:
            raise RuntimeError(f'start {index} went on from iteration {end.resumed}, and a whole checkpoint of {expected} was '
                               f'there. See {run.folder}/log.txt')
        expected = max(run.checkpoints()) if index < kills else end.at
        ends.append(end)
        print(f'{index + 1} of {kills + stops}: went on from {end.resumed}, {end.when} at {end.at}, left {end.left}', flush=True)
    run.start()
    run.finish()
    return ends


def different(first: object, second: object) -> list[str]:
    """Places at which two nested states differ in any bit."""
    if isinstance(first, dict):
        return [f'{key}.{place}' for key in first.keys() | second.keys()
                for place in (different(first[key], second[key]) if key in first and key in second else ['missing'])]
    same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
    return [] if same else ['']


def compare(whole: Run, killed: Run) -> tuple[list[str], int]:
    """What differs between two runs, and how many steps were compared."""
    expected, found = whole.steps(), killed.steps()
    others = [f'step {number}' for number in sorted(expected) if expected[number] != found.get(number)]
    states = [torch.load(run.folder / f'iter_{run.checkpoints()[-1]}.pth', weights_only=True) for run in (whole, killed)]
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        others += [f'{part}.{place}' for place in different(*(dict(enumerate(state[part])) if part == 'param_schedulers'
                                                              else state[part] for state in states))]
    return others, len(expected)


def report(ends: list[End], others: list[str], num_steps: int, seconds: float) -> str:
    """The table, in Markdown."""
    times = Counter((end.when, end.left) for end in ends)
    lines = ['| ended | on the disk | times |', '| --- | --- | --- |',
             *(f'| {when} | {left} | {number} |' for (when, left), number in sorted(times.items()))]
    verdict = 'nothing differs' if not others else f'{len(others)} differ: {others[:5]}'
    return '\n'.join([*lines, '', f'{len(ends)} ends in {seconds:.0f} s; every start went on from the newest whole checkpoint; '
                      f'{num_steps} steps, weights, averages, moments and schedules compared: {verdict}'])


def main(argv: list[str] | None = None) -> None:
    """Kill, compare, and print the table; the exit status is 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--stops', type=int, default=2)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/kill_resume'), help='folder; an old one is replaced')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    prepare(args.out.resolve())
    iterations = EPOCH * -(-(args.kills + args.stops) * 2 * INTERVAL // EPOCH) + EPOCH  # a start gets some 8 steps on at most
    began = time.monotonic()
    whole, killed = (Run(recipe(args.out.resolve(), name, iterations)) for name in ('whole', 'killed'))
    try:
        whole.start()
        whole.finish()
        print(f'the uninterrupted run: {iterations} iterations in {time.monotonic() - began:.0f} s', flush=True)
        ends = end_many(killed, args.kills, args.stops, args.seed)
    finally:
        whole.kill()
        killed.kill()
    others, num_steps = compare(whole, killed)
    print(report(ends, others, num_steps, time.monotonic() - began))
    sys.exit(bool(others))


if __name__ == '__main__':
    main()
