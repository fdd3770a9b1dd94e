"""A checkpoint is resumed by its own run only."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from ssvideo.engine.hooks import CheckpointHook
from tests.engine.small_runs import Net, small_runner


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('first')
    small_runner(folder, checkpoint=dict(interval=2)).train()
    return folder / 'epoch_2.pth'


def resume(tmp_path, path, **arguments):
    return small_runner(tmp_path, resume=True, load_from=str(path), **arguments).train()


def edited(checkpoint, tmp_path, edit):
    content = torch.load(checkpoint, weights_only=True)
    edit(content)
    torch.save(content, tmp_path / 'edited.pth')
    return tmp_path / 'edited.pth'


def test_resume__the_same_run_goes_on(checkpoint, tmp_path):
    resume(tmp_path, checkpoint)
    assert torch.load(checkpoint, weights_only=True)['meta']['run'] == dict(
        seed=7, processes=1, accumulative_counts=1, batch_sizes=dict(video=2, image=3), entries=dict(video=10, image=10))


@pytest.mark.parametrize(('key', 'value', 'said'), [
    ('processes', 8, 'processes=8 then, 1 now'), ('seed', 1, 'seed=1 then, 7 now'),
    ('accumulative_counts', 4, 'accumulative_counts=4 then, 1 now'),
    ('batch_sizes', dict(video=2, image=4), r"batch_sizes=\{'video': 2, 'image': 4\} then, \{'video': 2, 'image': 3\} now")])
def test_resume__another_run_is_refused(checkpoint, tmp_path, key, value, said):
    path = edited(checkpoint, tmp_path, lambda content: content['meta']['run'].update({key: value}))
    with pytest.raises(ValueError, match=f'the checkpoint belongs to another run: {said}. Resume with the same values'):
        resume(tmp_path, path)


def test_resume__other_data_is_said(checkpoint, tmp_path, capfd):
    path = edited(checkpoint, tmp_path, lambda content: content['meta']['run']['entries'].update(video=11))
    resume(tmp_path, path, log_level='WARNING')
    assert 'another number of entries' in capfd.readouterr().out


def test_resume__weights_of_another_model_are_refused(checkpoint, tmp_path):
    def other_shape(content):
        content['state_dict']['layer.weight'] = torch.zeros(7, 4)

    def other_names(content):
        content['state_dict'] = {f'theirs.{name}': value for name, value in content['state_dict'].items()}

    with pytest.raises(ValueError, match=r'not one of this Net: .*1 of another shape \[.layer.weight \(7, 4\), expected'):
        resume(tmp_path, edited(checkpoint, tmp_path, other_shape))
    with pytest.raises(ValueError, match=r"7 weights are missing \['layer.bias'.*7 unexpected \['theirs.layer.bias'"):
        resume(tmp_path, edited(checkpoint, tmp_path, other_names))


def test_resume__weights_alone_are_no_checkpoint(checkpoint, tmp_path):
    torch.save(Net().state_dict(), tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='this is not the checkpoint of a training'):
        resume(tmp_path, tmp_path / 'weights.pth')


def test_resume__code_in_the_checkpoint_is_not_run(checkpoint, tmp_path):
    trace = tmp_path / 'executed'
    code = f'open({str(trace)!r}, "w")'
    resume(tmp_path, edited(checkpoint, tmp_path, lambda content: content['meta'].update(config=code, cfg=code)))
    assert not trace.exists()


class WithTokenizer(Net):
    """A frozen part that checkpoints name and do not hold."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        object.__setattr__(self, 'tokenizers', {'dalle': nn.Linear(2, 2)})


def test_resume__another_tokenizer_is_refused(tmp_path, capfd):
    def hook_and_file(seed):
        runner = small_runner(tmp_path / str(seed), log_level='WARNING', checkpoint=dict(interval=2))
        runner.model = WithTokenizer(seed)
        return runner, next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))

    runner, _ = hook_and_file(0)
    runner.train()
    saved = tmp_path / '0' / 'epoch_2.pth'
    checksum = torch.load(saved, weights_only=True)['meta']['tokenizers']['dalle']
    assert len(checksum) == 64
    same, same_hook = hook_and_file(0)
    same._resume = True
    same_hook.after_load_checkpoint(same, torch.load(saved, weights_only=True))
    assert 'another tokenizer' not in capfd.readouterr().out
    other, other_hook = hook_and_file(1)
    other_hook.after_load_checkpoint(other, torch.load(saved, weights_only=True))  # as load_from does
    assert 'tokens of another tokenizer' in capfd.readouterr().out
    other._resume = True
    with pytest.raises(ValueError, match=rf"another tokenizer \(checksums: 'dalle' {checksum[:12]} then, [0-9a-f]{{12}} now\)"):
        other_hook.after_load_checkpoint(other, torch.load(saved, weights_only=True))
