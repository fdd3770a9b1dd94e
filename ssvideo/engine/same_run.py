"""What a run must share with the one that wrote a checkpoint, to go on as if it had never stopped."""
from __future__ import annotations

from collections.abc import Mapping

from mmengine.dist import all_gather_object, get_world_size
from mmengine.runner import Runner
from torch import nn

from ..utils.checksum import checksum_of
from .auto_accumulation import accumulative_counts
from .streams import ZippedLoader


def describe_run(runner: Runner) -> dict:
    """What decides over the draws of a training: built-ins, for the ``meta`` of its checkpoints."""
    loaders = runner.train_dataloader.loaders
    return dict(seed=runner.seed, processes=get_world_size(), accumulative_counts=accumulative_counts(runner),
                batch_sizes={name: loader.batch_size for name, loader in loaders.items()},
                entries={name: loader.sampler.num_entries for name, loader in loaders.items()})


def refuse_other_run(runner: Runner, meta: Mapping) -> None:
    """Compare a checkpoint that is being resumed with this run.

    Args:
        runner: of a ``StreamTrainLoop``; with other loops, which start an epoch over, nothing is compared.
        meta: the checkpoint's.

    Raises:
        ValueError: if the run could not go on as it was, or the processes read different checkpoints.
    """
    places = all_gather_object((meta['epoch'], meta['iter']))
    if len(set(places)) > 1:
        raise ValueError(f'the processes resume from different checkpoints, of (epoch, iteration) {places}: put the work '
                         'folder where all machines see it, or name the file with --resume FILE')
    saved = meta.get('run')
    if saved is None or not isinstance(runner.train_dataloader, ZippedLoader):
        return
    here = describe_run(runner)
    if saved.pop('entries') != here.pop('entries'):
        runner.logger.warning('the data set has another number of entries than when the checkpoint was written: the run '
                              'goes on, but what it draws is not what it would have drawn')
    if others := [f'{key}={saved.get(key)!r} then, {value!r} now' for key, value in here.items() if saved.get(key) != value]:
        raise ValueError(f'the checkpoint belongs to another run: {"; ".join(others)}. Resume with the same values, or '
                         'start anew from its weights with load_from=FILE and resume=False')


def refuse_other_weights(model: nn.Module, checkpoint: Mapping, shapes: bool = True) -> None:
    """Where all weights must come from a checkpoint, compare its names and shapes with the model's.

    Args:
        model: not wrapped.
        checkpoint: with ``state_dict``.
        shapes: False where the model fits the weights to its own sizes.

    Raises:
        ValueError: naming what differs.
    """
    own, found = model.state_dict(), checkpoint.get('state_dict', checkpoint)
    found = {name.removeprefix('module.'): value for name, value in found.items()}
    missing, unexpected = sorted(own.keys() - found), sorted(found.keys() - own)
    others = [f'{name} {tuple(found[name].shape)}, expected {tuple(value.shape)}' for name, value in own.items()
              if shapes and name in found and getattr(found[name], 'shape', None) != value.shape]
    if missing or unexpected or others:
        raise ValueError(f'the checkpoint is not one of this {type(model).__name__}: {len(missing)} weights are missing '
                         f'{missing[:3]}, {len(unexpected)} unexpected {unexpected[:3]}, {len(others)} of another shape '
                         f'{others[:3]}. Use the config that it was trained with')


def checksums_of_tokenizers(model: nn.Module) -> dict[str, str]:
    """SHA-256 of each frozen tokenizer, which checkpoints do not hold, by its name in the model."""
    return {name: checksum_of(tokenizer) for name, tokenizer in getattr(model, 'tokenizers', {}).items()}


def compare_tokenizers(saved: Mapping[str, str], here: Mapping[str, str]) -> str | None:
    """One sentence on the tokenizers of the same name that differ, or None."""
    others = [f'{name!r} {saved[name][:12]} then, {here[name][:12]} now' for name in here
              if name in saved and saved[name] != here[name]]
    return f'the weights were trained on the tokens of another tokenizer (checksums: {"; ".join(others)})' if others else None
