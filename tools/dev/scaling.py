"""Strong and weak scaling of a recipe's step over processes of this machine.

    python tools/dev/scaling.py configs/vimpac_small.py --processes 1 2 --batch 2
    python tools/dev/scaling.py configs/quickstart/bevt_joint.py --batch 8 --zero

Each process has one thread, or one GPU where there are as many; gradients are exchanged as in training. Weak scaling: each
process takes --batch videos; its efficiency is the time of one process over that of R. Strong: the processes share --batch
videos; its efficiency is the time of one over R times that of R. Clips are random, and so are the weights. The numbers of
processes take turns, so that all of them see the same machine; where it has fewer cores than processes, or other work, efficiency
tells that.
"""
from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.model import MMDistributedDataParallel  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from tqdm import tqdm  # noqa: E402

import ssvideo.engine  # noqa: E402, F401
from ssvideo.evaluation.random_batches import random_batch  # noqa: E402
from ssvideo.evaluation.step_timing import build_step_model  # noqa: E402
from ssvideo.utils.files import write_whole  # noqa: E402

WARM_UP = 2


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file of a training')
    parser.add_argument('--processes', type=int, nargs='+', default=(1, 2), metavar='R', help='the first is compared with')
    parser.add_argument('--batch', type=int, default=2, help='videos of a process, and in strong scaling of all')
    parser.add_argument('--steps', type=int, default=5, help='timed steps in each turn, after two that are not')
    parser.add_argument('--turns', type=int, default=3)
    parser.add_argument('--zero', action='store_true', help='share out the moments (ssvideo.ZeroAdamW)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override the config: key=value')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/scaling.md'))
    args = parser.parse_args(argv)
    if min(*args.processes, args.batch, args.steps, args.turns) < 1 or args.batch % max(args.processes):
        parser.error('all numbers must be positive, and --batch must divide by every number of processes')
    return args


def one_process(rank: int, processes: int, batch: int, args: argparse.Namespace, folder: str) -> None:
    """Time steps of this process among the others; the first one writes their seconds."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as in training
    init_default_scope('mmaction')
    on_gpu = torch.cuda.device_count() >= processes
    device = torch.device('cuda', rank) if on_gpu else torch.device('cpu')
    dist.init_process_group('nccl' if on_gpu else 'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=processes)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    wrapper = cfg.optim_wrapper.copy()
    wrapper.type = 'ssvideo.GuardedOptimWrapper'
    wrapper.pop('accumulative_counts', None)
    if args.zero:
        wrapper.optimizer.type = 'ssvideo.ZeroAdamW'
    torch.manual_seed(0)
    model, optimiser, _ = build_step_model(cfg.model, wrapper, device)
    wrapped = MMDistributedDataParallel(
        model, device_ids=[rank] if on_gpu else None, broadcast_buffers=False, gradient_as_bucket_view=True)
    clips = random_batch(model, cfg.train_dataloader, batch)
    seconds = []
    for _ in range(WARM_UP + args.steps):
        dist.barrier()
        started = time.perf_counter()
        with optimiser.optim_context(wrapped), torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            total, _ = model.parse_losses(wrapped(**model.data_preprocessor(clips, True), mode='loss'))
        optimiser.update_params(total)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    if rank == 0:
        parameters = sum(value.numel() for value in model.parameters() if value.requires_grad)
        torch.save(dict(seconds=torch.tensor(seconds[WARM_UP:]), parameters=parameters), f'{folder}/found.pth')
    dist.destroy_process_group()


def measure(args: argparse.Namespace) -> tuple[dict[tuple[str, int], list[float]], int]:
    """Seconds of every step by kind and number of processes, and the trained parameters."""
    found, parameters = {}, 0
    cases = [(kind, number) for kind in ('weak', 'strong') for number in args.processes]
    for _ in tqdm(range(args.turns), desc='turns', unit='turn'):
        for kind, number in cases:
            batch = args.batch if kind == 'weak' else args.batch // number
            with tempfile.TemporaryDirectory() as folder:
                mp.spawn(one_process, (number, batch, args, folder), nprocs=number)
                result = torch.load(f'{folder}/found.pth', weights_only=True)
            found.setdefault((kind, number), []).extend(result['seconds'].tolist())
            parameters = result['parameters']
    return found, parameters


def page_of(found: dict[tuple[str, int], list[float]], parameters: int, args: argparse.Namespace) -> str:
    """The table in markdown."""
    lines = ['| scaling | processes | videos a process | seconds a step (smallest to largest) | efficiency | MB sent by each |',
             '| --- | --- | --- | --- | --- | --- |']
    first = args.processes[0]
    for (kind, number), seconds in found.items():
        median, base = statistics.median(seconds), statistics.median(found[kind, first])
        efficiency = base / median if kind == 'weak' else base * first / (median * number)
        videos = args.batch if kind == 'weak' else args.batch // number
        sent = 2 * (number - 1) / number * 4 * parameters / 1e6
        lines.append(f'| {kind} | {number} | {videos} | {median:.3g} ({min(seconds):.3g} to {max(seconds):.3g}) | '
                     f'{efficiency:.0%} | {sent:.3g} |')
    where = f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}'
    return f'{Path(args.config).name}, {parameters / 1e6:.4g} M parameters; {where}.\n\n' + '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    args = parse_args(argv)
    page = page_of(*measure(args), args)
    print(page)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, page)
    print(f'The table is in {args.out}')


if __name__ == '__main__':
    main()
