"""From a config file and command-line words to a runner; shared by ``tools/train.py`` and ``tools/test.py``."""
from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.dist import init_dist
from mmengine.runner import Runner

from .. import registry as ours
from ..utils.plugins import config_with_plugins, plugin_argument, use_plugins
from .auto_accumulation import keep_global_batch
from .hooks.stop import StopHook
from .restarts import go_on
from .stop_signals import StopSignals


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words that training and testing share; they are mmaction2's."""
    parser.add_argument('--work-dir', help='where logs and results go; default: work_dirs/<config name>')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={},
                        help='override the config: key=value, key="[a,b]", nested keys with dots')
    plugin_argument(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """Read a config and merge the common words into it.

    Raises:
        ValueError: for a component of ours that is written without ``ssvideo.``, or a plugin that cannot be imported.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = given_config(args.config, args.cfg_options, args.plugin)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    cfg.setdefault('work_dir', str(Path('work_dirs') / Path(args.config).stem))
    return cfg


def given_config(path: str, options: Mapping, plugins: Sequence[str] = ()) -> Config:
    """A config as a command line gives it, with plugins and all that it names imported.

    Args:
        path: of the file.
        options: what overrides it (``--cfg-options``).
        plugins: folders (``--plugin``), which are loaded first.

    Raises:
        ValueError: for a component of ours that is written without ``ssvideo.``, or a plugin that cannot be imported.
    """
    use_plugins(plugins)
    cfg = config_with_plugins(path)
    cfg.merge_from_dict(dict(options))
    check_names(cfg)
    return cfg


def check_names(cfg: Config) -> None:
    """Catch a bare name of ours where mmengine would end in a bare ``KeyError``.

    Raises:
        ValueError: naming the place in the config and the name to write.
    """
    known = {name: registry for registry in vars(ours).values() if isinstance(registry, ours.Registry)
             for name in _registered(registry)}
    for place, name in _types(cfg._cfg_dict):
        if isinstance(name, str) and name in known and _is_only_ours(name, known[name]):
            raise ValueError(f'{place}.type = {name!r}: did you mean ssvideo.{name}? Configs run in the scope '
                             f'{cfg.get("default_scope")!r}, so components of this package are written with their scope.')


def build_runner(cfg: Config, train: bool = True) -> Runner:
    """A runner on any machine; the processes of a launcher join before, over gloo where there is no GPU.

    Args:
        cfg: a config with ``launcher`` and ``work_dir``.
        train: whether to keep the recipe's batch (:func:`keep_global_batch`) and to go on where a run was
            (:func:`~ssvideo.engine.restarts.go_on`); testing needs neither.

    Returns:
        mmengine's runner; nothing is trained yet.

    Raises:
        ValueError: if the recipe's batch cannot be kept, or the launcher does not work without a GPU.
    """
    torch.set_flush_denormal(True)  # a saturated softmax is full of denormals, which a CPU multiplies ten times slower
    line = keep_global_batch(cfg) if train else None
    _join(cfg)
    resuming = go_on(cfg) if train else []
    if cfg.launcher != 'none' and not torch.cuda.is_available():
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False) \
            | dict(cfg.get('model_wrapper_cfg') or {})
    runner = Runner.from_cfg(cfg)
    if line:
        runner.logger.info(line)
    for level, said in resuming:
        runner.logger.log(level, said)
    return runner


def train_until_stopped(runner: Runner) -> None:
    """Train; after SIGTERM or SIGINT, save at the next optimiser step and end with 128 + the signal's number.

    Args:
        runner: of a process that is given to this training, whose signals mean it.
    """
    with StopSignals() as signals:
        runner.register_hook(StopHook(signals))
        runner.train()


def leave() -> None:
    """Close the connections to the other processes, once all have come to their end."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _join(cfg: Config) -> None:
    if cfg.launcher == 'none' or dist.is_initialized():
        return
    if torch.cuda.is_available():
        init_dist(cfg.launcher, **cfg.env_cfg.get('dist_cfg', {}))
    elif cfg.launcher == 'pytorch':
        dist.init_process_group('gloo')
    else:
        raise ValueError(f'without a GPU only --launcher pytorch (torchrun) is supported, got {cfg.launcher!r}')


def _registered(registry: ours.Registry) -> list[str]:
    registry.import_from_location()
    return list(registry.module_dict)


def _is_only_ours(name: str, registry: ours.Registry) -> bool:
    importlib.import_module('mmaction.registry')
    root = registry.parent
    siblings = [root, *(child for scope, child in root.children.items() if scope != registry.scope)]
    for sibling in siblings:
        sibling.import_from_location()
    return not any(name in sibling.module_dict for sibling in siblings)


def _types(node, place: str = 'config') -> Iterator[tuple[str, str]]:
    if isinstance(node, (dict, ConfigDict)):
        if 'type' in node:
            yield place, node['type']
        for key, value in node.items():
            yield from _types(value, f'{place}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _types(value, f'{place}[{index}]')
