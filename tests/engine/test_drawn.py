from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch.utils.data import DataLoader, Dataset, RandomSampler

from ssvideo.datasets.draw_sampler import DrawSampler
from ssvideo.engine.drawn import drawn_in
from ssvideo.engine.streams import ZippedLoader


class Echo(Dataset):
    """Gives back what it is asked for."""
    seed = None

    def __len__(self):
        return 7

    def describe(self, index):
        return dict(filename=f'{index}.mp4', label=index)

    def __getitem__(self, key):
        return key


def loader(batch_size, rank=0, world_size=1, **words):
    sampler = DrawSampler(Echo(), seed=3)
    sampler.rank, sampler.world_size, sampler.num_samples = rank, world_size, -(-7 // world_size)
    return DataLoader(Echo(), batch_size, sampler=sampler, collate_fn=list, **words)


def told(runner, iteration, stream='video'):
    return [(one['index'], one['draw']) for one in drawn_in(runner, iteration)[stream]]


@pytest.mark.parametrize('drop_last', [True, False])
@pytest.mark.parametrize('rank', [0, 1])
def test_drawn_in__an_epoch_loop(rank, drop_last):
    """Every batch of three epochs, the small last ones too."""
    found = loader(3, rank, 2, drop_last=drop_last)
    runner, iteration = SimpleNamespace(train_dataloader=found), 0
    for epoch in range(3):
        found.sampler.set_epoch(epoch)
        for batch in found:
            assert told(runner, iteration) == batch
            iteration += 1
    assert iteration == 3 * (1 if drop_last else 2)


def test_drawn_in__streams_read_together():
    streams = ZippedLoader(dict(video=loader(2), image=loader(3)))
    runner, batches = SimpleNamespace(train_dataloader=streams), streams.batches(4)
    for iteration in range(4, 9):
        batch = next(batches)
        assert {stream: told(runner, iteration, stream) for stream in batch} == batch
    assert drawn_in(runner, 8)['image'][0]['path'] == f'{batch["image"][0][0]}.mp4'


def test_drawn_in__other_samplers_do_not_tell():
    assert drawn_in(SimpleNamespace(train_dataloader=DataLoader(Echo(), 2, sampler=RandomSampler(Echo()))), 0) == {}
