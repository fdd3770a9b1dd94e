from __future__ import annotations

import importlib
import multiprocessing

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

module = importlib.import_module('ssvideo.datasets.collate_clips')


class Items(Dataset):
    """Pixels and tokens that no two items share; the third batch of four is of another size, and one item is odd."""

    def __init__(self, odd: bool = False) -> None:
        self.odd = odd

    def __len__(self) -> int:
        return 26

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        side = 40 if 8 <= index < 12 or (self.odd and index == 5) else 32
        pixels = torch.randint(0, 256, (2, 3, 4, side, side), generator=generator, dtype=torch.uint8)
        return dict(inputs=pixels, tokens=torch.randint(-1, 8192, (2, 4, 4, 4), generator=generator), name=f'{index}.mp4')


def batches(collate, **arguments) -> list[dict]:
    return list(DataLoader(Items(), 4, collate_fn=collate, **arguments))  # all kept, while workers go on


def assert_same(found: list[dict], expected: list[dict]) -> None:
    assert len(found) == len(expected) == 7
    for batch, other in zip(found, expected):
        assert batch['name'] == other['name']
        for key in ('inputs', 'tokens'):
            assert type(batch[key]) is list and len(batch[key]) == len(other[key])
            assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(batch[key], other[key]))


@pytest.mark.parametrize('arguments', [
    dict(num_workers=0), dict(num_workers=2), dict(num_workers=1, prefetch_factor=5)], ids=str)
def test_collate_clips__gives_what_pseudo_collate_does(arguments):
    assert_same(batches(module.collate_clips, **arguments), batches(pseudo_collate))


def test_collate_clips__tensors_that_differ_go_the_usual_way():
    items = Items(odd=True)
    batch = list(DataLoader(items, 4, collate_fn=module.collate_clips, num_workers=1))[1]
    for index, (pixels, tokens) in enumerate(zip(batch['inputs'], batch['tokens']), 4):
        assert torch.equal(pixels, items[index]['inputs']) and torch.equal(tokens, items[index]['tokens'])


def test_collate_clips__a_config_names_it():
    config = dict(batch_size=4, dataset=Items(), sampler=torch.utils.data.SequentialSampler(Items()), num_workers=1,
                  collate_fn=dict(type='ssvideo.collate_clips'))
    loader = Runner.build_dataloader(config)
    assert loader.collate_fn.func is module.collate_clips
    assert_same(list(loader), batches(pseudo_collate))


def test_sender__uses_a_buffer_again_when_it_was_read_and_not_before():
    sender = module.Sender()
    clips = [[torch.full((3, 50, 50), n, dtype=torch.uint8)] * 2 for n in range(4)]
    first, second = sender.send(clips[0]), sender.send(clips[1])
    assert (first.number, second.number) == (0, 1)
    assert torch.equal(module.receive(first)[1], clips[0][1])
    assert sender.send(clips[2]).number == 0
    small = sender.send([torch.zeros(5)])  # none is free
    assert small.number == 2 and len(sender.buffers[2]) == 21
    kept = module.receive(second)
    module.receive(small)
    assert sender.send([torch.ones(5)]).number == 2  # the smallest that it fits in
    sender.send(clips[3])
    assert torch.equal(kept[0], clips[1][0])  # what was received is a copy
    assert len(sender.buffers) == 3


def test_receive__lets_go_of_the_buffers_of_processes_that_have_ended():
    module._mapped.clear()
    batches(module.collate_clips, num_workers=2)
    assert {owner for owner, _ in module._mapped}.isdisjoint(p.pid for p in multiprocessing.active_children())
    batches(module.collate_clips, num_workers=1)
    assert len({owner for owner, _ in module._mapped}) == 1
    module._mapped.clear()
