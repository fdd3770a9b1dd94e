"""Which samples an iteration was given."""
from __future__ import annotations

from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..datasets.draw_sampler import DrawSampler
from .streams import ZippedLoader


def drawn_in(runner: Runner, iteration: int) -> dict[str, list[dict]]:
    """What this process drew for an iteration, by stream; known without having kept it, as draws are numbered.

    Args:
        runner: in training.
        iteration: from 0.

    Returns:
        For each sample its ``draw``, its ``index`` in the data set and, where the data set tells, its ``path``; empty where
        no ``DrawSampler`` draws. In the place of a file that cannot be read (``broken_videos.jsonl``) another was taken.
    """
    loader = runner.train_dataloader
    loaders = loader.loaders if isinstance(loader, ZippedLoader) else {'video': loader}
    return {stream: _drawn(part, iteration) for stream, part in loaders.items() if isinstance(part.sampler, DrawSampler)}


def _drawn(loader: DataLoader, iteration: int) -> list[dict]:
    sampler = loader.sampler
    first, last = iteration * loader.batch_size, None
    if not sampler.endless:  # an epoch loop's, where the last batch of an epoch may be smaller
        epoch, batch = divmod(iteration, len(loader))
        first, last = epoch * len(sampler) + batch * loader.batch_size, (epoch + 1) * len(sampler)
    found = []
    for position in range(first, min(first + loader.batch_size, last or first + loader.batch_size)):
        draw = position * sampler.world_size + sampler.rank
        index = sampler.entry_of(draw)
        found.append(dict(draw=draw, index=index) | _path(loader.dataset, index))
    return found


def _path(dataset, index: int) -> dict[str, str]:
    return {'path': dataset.describe(index)['filename']} if hasattr(dataset, 'describe') else {}
