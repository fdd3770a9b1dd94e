from __future__ import annotations

import random

import pytest
import torch

import ssvideo.models  # noqa: F401
from ssvideo.datasets.token_clips import TokenClips
from ssvideo.datasets.token_codec import ZLIB
from ssvideo.datasets.token_store import TokenStore, TokenStoreWriter
from ssvideo.registry import MODELS
from ssvideo.structures import PAD

MANIFEST = dict(tokenizer='abc', fps=2.0, size=(16, 24), grid=(2, 3), vocab_size=8192)
LENGTHS = {'a/first clip.mp4': 20, 'b.mp4': 3, 'ünï.mp4': 7}


def video(num_frames: int) -> torch.Tensor:
    """Every token tells its frame, place and the length of its video."""
    return torch.arange(num_frames * 6).view(num_frames, 2, 3) + 100 * num_frames


def write(folder, offset: int = 0, lengths: dict = LENGTHS, **manifest):
    writer = TokenStoreWriter(folder, MANIFEST | manifest)
    for label, (name, length) in enumerate(lengths.items()):
        writer.write(name, video(length) + offset, label)
    writer.close()
    return folder


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / 'store')


def test_token_clips__are_the_stored_frames(store):
    clips = TokenClips(store, clip_len=3, num_clips=2, frame_interval=2, seed=1)
    names = [v.name for v in clips.store.videos]
    for index, name in enumerate(names):
        item = clips[index, 5]
        sample, stored = item['data_samples'], video(LENGTHS[name])
        assert sample.name == name
        assert int(sample.gt_label) == list(LENGTHS).index(name)
        for view, start in enumerate(sample.starts):
            for t, frame in enumerate(range(start, start + 6, 2)):
                expected = stored[frame] if frame < len(stored) else torch.full((2, 3), PAD)
                assert torch.equal(item['tokens'][view, t], expected)
    assert (clips[names.index('b.mp4'), 0]['tokens'][:, 2] == PAD).all()  # 3 frames do not hold 5


def test_token_clips__draws_are_functions_of_seed_stream_and_number(store):
    def starts(item, **kwargs):
        return TokenClips(store, clip_len=2, num_clips=3, **kwargs)[item]['data_samples'].starts

    index = [v.num_frames for v in TokenStore(store).videos].index(20)
    assert starts((index, 3), seed=1) == starts((index, 3), seed=1)
    drawn = {str(starts((index, draw), seed=seed, stream=stream))
             for draw in (3, 4) for seed in (1, 2) for stream in ('video', 'other')}
    assert len(drawn) == 8
    assert starts(index, seed=1) == starts((index, index), seed=1)


def test_token_clips__are_uniform_independent_and_near(store):
    clips = TokenClips(store, clip_len=3, num_clips=2)
    pairs = [tuple(clips.starts(8, random.Random(n))) for n in range(3600)]
    counts = torch.tensor([[pairs.count((i, j)) for j in range(6)] for i in range(6)])
    assert counts.sum() == 3600
    assert (counts - 100).abs().max() < 45  # 4.5 standard deviations
    near = TokenClips(store, clip_len=3, num_clips=4, max_distance=1.0)  # 2 frames at 2 FPS
    drawn = [near.starts(20, random.Random(n)) for n in range(300)]
    distances = {abs(start - starts[0]) for starts in drawn for start in starts}
    assert distances == {0, 1, 2}


def test_token_clips__test_mode_spreads_evenly(store):
    clips = TokenClips(store, clip_len=5, num_clips=4, test_mode=True)
    assert clips.starts(20, None) == [2, 6, 10, 14]
    assert clips.starts(3, None) == [0, 0, 0, 0]


def test_token_clips__labels_choose_videos(store, tmp_path):
    (tmp_path / 'list.txt').write_text('b.mp4 4\na/first clip.mp4 9\n')
    clips = TokenClips(store, clip_len=2, labels=tmp_path / 'list.txt', test_mode=True)
    assert [(clips[i]['data_samples'].name, int(clips[i]['data_samples'].gt_label)) for i in range(len(clips))] == [
        ('b.mp4', 4), ('a/first clip.mp4', 9)]
    (tmp_path / 'list.txt').write_text('b.mp4 4\nmissing.mp4 9\n')
    with pytest.raises(ValueError, match='missing.mp4'):
        TokenClips(store, clip_len=2, labels=tmp_path / 'list.txt')
    with pytest.raises(ValueError, match='fps is 2.0, expected 3'):
        TokenClips(store, clip_len=2, expect=dict(fps=3))


def test_token_clips__of_several_views_are_drawn_from_all_and_tested_on_each(tmp_path):
    for number, view in enumerate(('256_center', '256_center_flip', '320_top_left')):
        write(tmp_path / 'views' / view, offset=1000 * number, short_side=view[:3])
    clips = TokenClips(tmp_path / 'views', clip_len=2, num_clips=2, seed=0)
    seen = set()
    for draw in range(40):
        item = clips[0, draw]
        sample = item['data_samples']
        for v, (start, view) in enumerate(zip(sample.starts, sample.views)):
            assert torch.equal(item['tokens'][v], video(20)[start:start + 2] + 1000 * view)
        seen.add(tuple(sample.views))
    assert len(seen) == 9, 'each clip has a view of its own'
    one = TokenClips(tmp_path / 'views' / '256_center', clip_len=2, num_clips=2, seed=0)
    assert one[0, 7]['data_samples'].starts == clips[0, 7]['data_samples'].starts

    test = TokenClips([tmp_path / 'views' / '256_center', tmp_path / 'views' / '320_top_left'], clip_len=2, num_clips=2,
                      test_mode=True)[0]
    assert test['data_samples'].views == [0, 0, 1, 1]
    expected = torch.stack([video(20)[start:start + 2] for start in test['data_samples'].starts[:2]])
    assert torch.equal(test['tokens'], torch.cat([expected, expected + 2000]))


def test_token_clips__refuse_views_of_different_videos_or_settings(tmp_path):
    write(tmp_path / 'a')
    with pytest.raises(ValueError, match='no views of the same videos.*videos is'):
        TokenClips([tmp_path / 'a', write(tmp_path / 'b', lengths={'b.mp4': 3})], clip_len=1)
    with pytest.raises(ValueError, match='no views of the same videos.*fps is 4'):
        TokenClips([tmp_path / 'a', write(tmp_path / 'c', fps=4)], clip_len=1)
    TokenClips([tmp_path / 'a', write(tmp_path / 'd', compression=ZLIB, size=(20, 30))], clip_len=1)
    (tmp_path / 'a' / 'manifest.json').unlink()
    with pytest.raises(ValueError, match='no finished token store'):
        TokenClips([tmp_path / 'a', tmp_path / 'd'], clip_len=1)


def test_token_clips__ten_clips_of_three_crops_are_averaged_video_by_video(tmp_path):
    """VIMPAC's test: the views of a video, as TokenClips gives them, are those that ClipClassifier takes for one video."""
    crops = [write(tmp_path / crop, offset=1000 * number) for number, crop in enumerate(('top_left', 'center', 'bottom_right'))]
    clips = TokenClips(crops, clip_len=2, num_clips=10, test_mode=True)
    items = [clips[index] for index in range(3)]
    assert [item['data_samples'].views for item in items] == [[0] * 10 + [1] * 10 + [2] * 10] * 3
    assert all(item['tokens'].shape == (30, 2, 2, 3) for item in items)
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ClipClassifier', num_classes=5, dropout=0.0, backbone=dict(
        type='DividedTransformer', grid=(2, 2, 3), embed_dims=8, num_layers=1, num_heads=2))).eval()
    for parameter in model.parameters():  # so that clips differ
        torch.nn.init.normal_(parameter)
    batch = dict(tokens=[item['tokens'] for item in items], data_samples=[item['data_samples'] for item in items])
    with torch.no_grad():
        samples = model.test_step(batch)
        for item, sample in zip(items, samples):
            single = torch.stack([model(clip[None]).softmax(1)[0] for clip in item['tokens']])  # (30, classes)
            assert torch.allclose(sample.pred_score, single.mean(0), atol=1e-6)
    assert not torch.allclose(samples[0].pred_score, samples[1].pred_score, atol=1e-2)
