"""Clips in another order: which frame is shown where, in pixels and in tokens."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvideo.datasets import ReorderedTokens, TokenClips, VideoList
from ssvideo.datasets.temporal_order import TEMPORAL_ORDERS, shown_frames
from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.datasets.transforms import ReorderFrames
from ssvideo.structures import PAD
from tests.video_files import write_video

CHANGED = TEMPORAL_ORDERS[1:]


@pytest.mark.parametrize('order', TEMPORAL_ORDERS)
def test_shown_frames__a_function_of_seed_and_video(order):
    shown = shown_frames(order, 3, 8, 'data/a.mp4', 1)
    assert np.array_equal(shown, shown_frames(order, 3, 8, '/elsewhere/a.mp4', 1)), 'where the file is does not matter'
    others = [shown_frames(order, 3, 8, f'{name}.mp4', seed) for name in 'abcd' for seed in (1, 2)]
    assert len({str(other) for other in others}) == (1 if order in ('normal', 'reverse') else 8)


def test_shown_frames__what_each_order_shows():
    frames = np.arange(24).reshape(3, 8)
    assert np.array_equal(shown_frames('normal', 3, 8, 'a', 0), frames)
    assert np.array_equal(shown_frames('reverse', 3, 8, 'a', 0), frames[:, ::-1])
    shuffled = shown_frames('shuffle', 3, 8, 'a', 0)
    assert np.array_equal(np.sort(shuffled, 1), frames) and not np.array_equal(shuffled, frames)
    assert (shuffled - frames[:, :1] == shuffled[0]).all(), 'every clip is permuted alike'
    single = {int(frame) for name in range(400) for frame in np.unique(shown_frames('single-frame', 3, 8, str(name), 0))}
    assert single == set(range(24)), 'one frame for all clips, any of them'
    with pytest.raises(ValueError, match="one of .*'shuffle'.* got 'backwards'"):
        shown_frames('backwards', 3, 8, 'a', 0)


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp('videos')
    for name in 'ab':
        write_video(root / f'{name}.mp4', num_frames=24)
    return root


def clips_of(videos, order: str | None, num_clips: int = 3, seed: int = 0) -> torch.Tensor:
    """``(videos, crops, num_clips, 3, T, H, W)``, three crops of each clip."""
    reorder = [] if order is None else [dict(type='ReorderFrames', order=order, seed=seed)]
    dataset = VideoList(videos, labels=False, test_mode=True, pipeline=[
        dict(type='SampleClips', clip_len=4, frame_interval=2, num_clips=num_clips, test_mode=True), *reorder,
        dict(type='DecodeClips'), dict(type='mmaction.ThreeCrop', crop_size=64),
        dict(type='mmaction.FormatShape', input_format='NCTHW')])
    clips = torch.stack([torch.from_numpy(dataset[i]['imgs']) for i in range(len(dataset))])
    return clips.unflatten(1, (3, num_clips))


@pytest.mark.parametrize('order', CHANGED)
def test_reorder_frames__every_crop_of_every_clip_shows_the_same_frames(videos, order):
    plain, changed = clips_of(videos, None), clips_of(videos, order)
    for number, name in enumerate('ab'):
        shown = torch.from_numpy(shown_frames(order, 3, 4, f'{name}.mp4', 0).copy())
        frames = plain[number].movedim(3, 2).flatten(1, 2)  # (crops, num_clips * T, 3, H, W)
        assert torch.equal(changed[number].movedim(3, 2), frames[:, shown])
    assert torch.equal(changed, clips_of(videos, order)), 'the same again'
    assert torch.equal(clips_of(videos, 'normal'), plain)


def test_reorder_frames__times_follow_and_wrong_orders_fail():
    found = ReorderFrames('reverse').transform(dict(
        filename='a.mp4', num_clips=1, clip_len=3, frame_inds=np.array([4, 6, 8]), frame_times=np.array([0.4, 0.6, 0.8])))
    assert found['frame_inds'].tolist() == [8, 6, 4] and found['frame_times'].tolist() == [0.8, 0.6, 0.4]
    with pytest.raises(ValueError, match='single-frame'):
        ReorderFrames('static')


@pytest.fixture(scope='module')
def stores(tmp_path_factory):
    """Two views; a token tells its view, frame and place. The second video is shorter than a clip of 5."""
    root = tmp_path_factory.mktemp('stores')
    for view in range(2):
        writer = TokenStoreWriter(root / f'view_{view}', dict(
            tokenizer='abc', fps=2.0, size=(16, 16), grid=(2, 2), vocab_size=8192))
        for label, (name, length) in enumerate({'a.mp4': 30, 'b.mp4': 3}.items()):
            writer.write(name, torch.arange(4 * length).view(length, 2, 2) + 1000 * view, label)
        writer.close()
    return root


def tokens_of(stores, index: int, order: str | None = None, seed: int = 0) -> torch.Tensor:
    """``(views, num_clips, t, h, w)``."""
    clips = dict(type='TokenClips', store=str(stores), clip_len=5, num_clips=3, test_mode=True)
    dataset = TokenClips(**{key: value for key, value in clips.items() if key != 'type'}) if order is None else \
        ReorderedTokens(clips, order, seed)
    assert len(dataset) == 2
    return dataset[index]['tokens'].unflatten(0, (2, 3))


@pytest.mark.parametrize('order', CHANGED)
def test_reordered_tokens__every_view_shows_the_same_frames(stores, order):
    plain, changed = tokens_of(stores, 0), tokens_of(stores, 0, order)
    shown = torch.from_numpy(shown_frames(order, 3, 5, 'a.mp4', 0).copy())
    assert torch.equal(changed, plain.flatten(1, 2)[:, shown])
    assert torch.equal(changed[1], changed[0] + 1000)
    assert not torch.equal(changed, plain) and torch.equal(tokens_of(stores, 0, 'normal'), plain)


@pytest.mark.parametrize('order', CHANGED)
def test_reordered_tokens__padding_stays_at_the_end(stores, order):
    plain, changed = tokens_of(stores, 1), tokens_of(stores, 1, order)
    assert ((changed == PAD) == (plain == PAD)).all() and (changed[:, :, 3:] == PAD).all()
    frames = shown_frames(order, 3, 3, 'b.mp4', 0) % 3  # the three clips are the same three frames
    assert (changed[0, :, :3, 0, 0] // 4).tolist() == frames.tolist()


def test_reordered_tokens__refuses_clips_that_are_drawn(stores):
    with pytest.raises(ValueError, match='test_mode=True'):
        ReorderedTokens(dict(type='TokenClips', store=str(stores), clip_len=5), 'shuffle')
