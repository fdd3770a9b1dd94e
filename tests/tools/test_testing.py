"""Testing with several views of each video: as one process or two, from one opening and one decode."""
from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.registry import DefaultScope

from ssvideo.datasets.decoders.pyav import VideoReader
from ssvideo.datasets.token_store import TokenStore
from tests.small_classifiers import LABELS, LENGTH, NUM_VIDEOS, load_tool, make_classifier


@pytest.fixture(scope='module', params=['pixels', 'tokens'])
def made(request, tmp_path_factory):
    return make_classifier(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(autouse=True)
def no_scope_left():
    yield
    DefaultScope._instance_dict.clear()


def run_test(made, folder: Path, *words: str) -> tuple[dict, list[dict]]:
    """The figures, and what was dumped."""
    tool, found = load_tool('test'), {}
    tool.line_of = lambda figures: found.update(figures) or ''
    tool.main([str(made.config), str(made.checkpoint), '--work-dir', str(folder), '--dump', str(folder / 'dump.pkl'),
               '--cfg-options', 'log_level=ERROR', *words])
    return found, pickle.loads((folder / 'dump.pkl').read_bytes())  # our own, just written


def test_testing__averages_the_probabilities_of_all_views(made, tmp_path):
    figures, dump = run_test(made, tmp_path)
    expected = made.probabilities()
    assert torch.allclose(torch.stack([result['pred_score'] for result in dump]), expected, atol=2e-5)
    assert [int(result['pred_label']) for result in dump] == expected.argmax(1).tolist()
    assert [int(result['gt_label']) for result in dump] == LABELS
    right = (expected.argmax(1) == torch.tensor(LABELS)).sum().item()
    assert 0 < right < NUM_VIDEOS and figures['acc/top1'] == pytest.approx(right / NUM_VIDEOS)


def one_of_two_processes(rank: int, made, folder: str) -> None:
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    DefaultScope._instance_dict.clear()
    torch.save(run_test(made, Path(folder), '--launcher', 'pytorch')[0], f'{folder}/{rank}.pth')


def test_testing__two_processes_give_the_figures_of_one_on_an_uneven_list(made, tmp_path):
    figures, dump = run_test(made, tmp_path / 'one')
    (tmp_path / 'two').mkdir()
    mp.start_processes(one_of_two_processes, args=(made, str(tmp_path / 'two')), nprocs=2, start_method='fork')
    for rank in range(2):
        assert torch.load(tmp_path / 'two' / f'{rank}.pth', weights_only=False) == figures
    two = pickle.loads((tmp_path / 'two' / 'dump.pkl').read_bytes())
    assert len(two) == len(dump) == NUM_VIDEOS
    for ours, theirs in zip(two, dump):
        assert torch.allclose(ours['pred_score'], theirs['pred_score'], atol=1e-6)
        assert torch.equal(ours['gt_label'], theirs['gt_label'])


@pytest.fixture
def counted(monkeypatch):
    """Counts, by file: openings, frames that the decoder gave, frames made RGB; and reads of a store."""
    counts = {what: Counter() for what in ('opened', 'decoded', 'shown', 'read')}
    opens, decode, show, read = VideoReader._open, VideoReader._decode, VideoReader._rgb, TokenStore.read

    def count_open(self):
        counts['opened'][self.path] += 1
        return opens(self)

    def count_decode(self, packets, wanted_pts=None):
        for frame in decode(self, packets, wanted_pts):
            counts['decoded'][self.path] += 1
            yield frame

    def count_show(self, frame, short_side):
        counts['shown'][self.path] += 1
        return show(self, frame, short_side)

    def count_read(self, video, frame_indices):
        counts['read'][self.path, video] += 1
        return read(self, video, frame_indices)
    for kind, name, method in ((VideoReader, '_open', count_open), (VideoReader, '_decode', count_decode),
                               (VideoReader, '_rgb', count_show), (TokenStore, 'read', count_read)):
        monkeypatch.setattr(kind, name, method)
    return counts


def test_testing__all_views_of_a_video_come_from_one_opening_and_one_decode(made, tmp_path, counted):
    run_test(made, tmp_path)
    if made.kind == 'tokens':
        assert len(counted['read']) == 2 * NUM_VIDEOS, 'two stores, one for each crop'
        assert set(counted['read'].values()) == {1} and not counted['opened'], 'for both clips at once'
        return
    assert len(counted['opened']) == NUM_VIDEOS and set(counted['opened'].values()) == {1}
    # two clips of 4 frames at 2, 4, 6, 8 and 8, 10, 12, 14 share a frame; three crops of each add none
    assert set(counted['shown'].values()) == {7} and not counted['read']
    assert max(counted['decoded'].values()) <= LENGTH, 'no frame is decoded for each clip anew'
    assert min(counted['decoded'].values()) >= 7
