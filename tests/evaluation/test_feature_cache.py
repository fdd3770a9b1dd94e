from __future__ import annotations

import pytest
import torch
from mmaction.structures import ActionDataSample
from torch.utils.data import Dataset

from ssvideo.evaluation import feature_cache
from ssvideo.evaluation.feature_cache import FeatureCache, encode_batch
from ssvideo.models.frozen_encoder import build_encoder

VOCAB, GRID, VIEWS = 16, (2, 4, 4), 2
MODEL = dict(backbone=dict(type='ssvideo.DividedTransformer', grid=GRID, vocab_size=VOCAB, embed_dims=24, num_layers=1,
                           num_heads=4))


class Videos(Dataset):
    """Token clips, two views of each video; number 3 is missing. Fails at ``fails_at``."""

    def __init__(self, num_videos: int = 11, fails_at: int | None = None) -> None:
        self.num_videos, self.fails_at, self.read = num_videos, fails_at, []

    def __len__(self) -> int:
        return self.num_videos

    def __getitem__(self, item: int) -> dict:
        if item == self.fails_at:
            raise KeyboardInterrupt
        self.read.append(item)
        sample = ActionDataSample(metainfo=dict(missing='gone') if item == 3 else {})
        tokens = torch.randint(VOCAB, (VIEWS, *GRID), generator=torch.Generator().manual_seed(item))
        return dict(tokens=tokens, data_samples=sample)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(feature_cache, 'VIDEOS_PER_BLOCK', 4)


@pytest.fixture
def encoder():
    return build_encoder(MODEL, None)


def cache_of(folder, tokens=True, **about) -> FeatureCache:
    return FeatureCache(folder, 'train', about, 11, tokens)


def fill(cache, encoder, videos, blocks=None) -> None:
    cache.fill(encoder, videos, cache.todo() if blocks is None else blocks, 3, 0, False, lambda done: None)


@pytest.mark.parametrize('in_memory', [2**30, 0])
def test_feature_cache__holds_what_the_backbone_gives(tmp_path, encoder, monkeypatch, in_memory):
    monkeypatch.setattr(feature_cache, 'IN_MEMORY', in_memory)
    videos, cache = Videos(), cache_of(tmp_path)
    fill(cache, encoder, videos)
    found = cache.read(torch.arange(11).numpy() % 3)
    assert len(found) == 11 and found.missing.nonzero().tolist() == [[3]]
    items = torch.tensor([10, 0, 5, 0])
    for item, tokens in zip(items.tolist(), found.tokens(items)):
        features = encoder.backbone(videos[item]['tokens'])
        torch.testing.assert_close(found.pooled['summary'][item], features.summary.mean(0))
        torch.testing.assert_close(found.pooled['map'][item], features.maps[0].mean((0, 1, 2, 3)))
        assert torch.equal(tokens, features.maps[0].flatten(0, 3).half()), 'of one view after the other'


def test_feature_cache__goes_on_where_it_was_ended(tmp_path, encoder):
    with pytest.raises(KeyboardInterrupt):
        fill(cache_of(tmp_path), encoder, Videos(fails_at=9))
    assert cache_of(tmp_path).todo() == [2], 'a block is there whole or not at all'
    videos = Videos()
    fill(cache_of(tmp_path), encoder, videos)
    assert videos.read == [8, 9, 10]
    assert cache_of(tmp_path).todo() == []


def test_feature_cache__the_shares_of_processes_make_the_whole(tmp_path, encoder):
    fill(cache_of(tmp_path / 'one'), encoder, Videos())
    for blocks in ([1], [0, 2]):
        fill(cache_of(tmp_path / 'two'), encoder, Videos(), blocks)
    one, two = (cache_of(tmp_path / name).read(torch.zeros(11).numpy()) for name in ('one', 'two'))
    assert torch.equal(one.pooled['summary'], two.pooled['summary'])


def test_feature_cache__of_anything_else_is_another(tmp_path):
    folders = {cache_of(tmp_path).folder, cache_of(tmp_path, backbone='a').folder, cache_of(tmp_path, backbone='b').folder,
               cache_of(tmp_path, tokens=False).folder}
    assert len(folders) == 4
    assert cache_of(tmp_path, backbone='a').folder in folders


def test_feature_cache__without_tokens_there_are_none(tmp_path, encoder):
    cache = cache_of(tmp_path, tokens=False)
    fill(cache, encoder, Videos())
    assert cache.read(torch.zeros(11).numpy()).tokens is None


def test_feature_cache__a_small_disk_is_said_early(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(feature_cache.shutil, 'disk_usage', lambda folder: type('Usage', (), dict(free=100)))
    with pytest.raises(ValueError, match='leave out the attentive probe'):
        fill(cache_of(tmp_path), encoder, Videos())


def test_feature_cache__a_damaged_block_is_not_taken(tmp_path, encoder):
    cache = cache_of(tmp_path)
    fill(cache, encoder, Videos())
    cache.file(1).write_bytes(cache.file(1).read_bytes()[:100])
    with pytest.raises(ValueError, match='000001.safetensors is damaged'):
        cache.read(torch.zeros(11).numpy())


def test_encode_batch__takes_the_map_that_is_asked_for():
    swin = dict(type='ssvideo.VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1), num_heads=(1, 2),
                window_size=(2, 4, 4))
    encoder = build_encoder(dict(backbone=swin, data_preprocessor=dict(
        type='ssvideo.ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3)), None)
    frames = torch.randint(256, (2, 1, 3, 4, 32, 32), dtype=torch.uint8)
    batch = dict(inputs=list(frames), data_samples=[ActionDataSample()] * 2)
    maps = encoder.encode_frames(frames[:, 0]).maps
    for level in (0, 1, -1):
        found = encode_batch(encoder, batch, tokens=True, level=level)
        torch.testing.assert_close(found['map'], maps[level].mean((1, 2, 3)))
        assert torch.equal(found['tokens'], maps[level].flatten(1, 3).half())
    with pytest.raises(ValueError, match='has 2 maps, .* got 2'):
        encode_batch(encoder, batch, tokens=False, level=2)


def test_encode_batch__what_is_not_finite_is_an_error(encoder):
    batch = dict(tokens=[Videos()[0]['tokens']], data_samples=[Videos()[0]['data_samples']])
    with torch.no_grad():
        encoder.backbone.layers[0].mlp.norm.weight.mul_(1e5)
    assert encode_batch(encoder, batch, tokens=False)['summary'].isfinite().all()
    with pytest.raises(ValueError, match='tokens of the features is not finite in half precision'):
        encode_batch(encoder, batch, tokens=True)
    with torch.no_grad():
        encoder.backbone.layers[0].mlp.norm.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match='summary of the features is not finite'):
        encode_batch(encoder, batch, tokens=False)
