"""Targets from a store are those of exactly the frames and the view that the model is shown."""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ssvideo.models  # noqa: F401
from ssvideo.datasets.broken import BrokenFileError
from ssvideo.datasets.token_store import TokenStoreWriter
from ssvideo.datasets.transforms import FixedView, StoredTokens, TokenizerView
from ssvideo.models.layers.dalle_blocks import DalleEncoder
from ssvideo.models.layers.resize_pixels import resize_pixels
from ssvideo.models.tokenizers.dalle_checkpoint import save_dalle
from ssvideo.registry import DATASETS, MODELS
from tests.video_files import sequential_decode, write_video

ROOT = Path(__file__).parents[2]
SETTINGS = dict(tokenizer='0' * 64, size=(32, 32), grid=(2, 2), vocab_size=1000)
UNEVEN = [0, 20, 41, 100, 130, 260, 261, 400, 533, 534, 700, 899, 1000, 1020, 1333, 1400]  # 1/1000 s


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmaction')


# -------------------------------------------------------------------------------- a store whose ids are frame numbers

def numbered_store(path: Path, name: str, num_frames: int, **settings) -> Path:
    """Token k of a video is k everywhere."""
    writer = TokenStoreWriter(path, SETTINGS | dict(fps=None, frame_interval=1) | settings)
    writer.write(name, torch.arange(num_frames)[:, None, None].expand(-1, 2, 2))
    writer.close()
    return path


def chosen(path: Path, indices, **changes) -> dict:
    """What a pipeline has made when it comes to ``StoredTokens``."""
    times, _ = sequential_decode(path)
    indices = np.array(indices)
    clips = np.zeros((1, 3, len(indices), 32, 32), np.uint8)
    return dict(filename=str(path), frame_inds=indices, frame_times=times[indices], total_frames=len(times), num_clips=1,
                clip_len=len(indices), imgs=clips, img_shape=(32, 32), original_shape=(64, 96)) | changes


@pytest.fixture
def video(tmp_path) -> Path:
    return write_video(tmp_path / 'even.mp4', num_frames=20)


def numbers_of(packed: dict) -> list[int]:
    assert packed['tokens'].dtype == torch.int64
    return packed['tokens'][0, :, 0, 0].tolist()


def test_stored_tokens__a_store_of_every_frame_has_those_of_any_clip(tmp_path, video):
    transform = StoredTokens(numbered_store(tmp_path / 'store', str(video), 20))
    packed = transform(chosen(video, [5, 3, 19, 3], num_clips=2, clip_len=2, imgs=np.zeros((2, 3, 2, 32, 32), np.uint8)))
    assert packed['tokens'][..., 0, 0].tolist() == [[5, 3], [19, 3]]
    assert packed['inputs'].shape == (2, 3, 2, 32, 32) and 'data_samples' in packed


def test_stored_tokens__names_are_relative_to_the_data_root(tmp_path, video):
    store = numbered_store(tmp_path / 'store', 'even.mp4', 20)
    assert numbers_of(StoredTokens(store, data_root=tmp_path)(chosen(video, [7]))) == [7]
    with pytest.raises(BrokenFileError, match='has no video .*set data_root'):
        StoredTokens(store)(chosen(video, [7]))


def test_stored_tokens__every_third_frame_has_only_those(tmp_path, video):
    transform = StoredTokens(numbered_store(tmp_path / 'store', str(video), 7, frame_interval=3))
    assert numbers_of(transform(chosen(video, [6, 9, 18]))) == [2, 3, 6]
    with pytest.raises(ValueError, match=r'frame 8 .* every 3 frames.*2 of 3 .*frame_interval=4\) \(here 6.25 frames'):
        transform(chosen(video, [8, 12, 16]))


def test_stored_tokens__by_rate_are_those_shown_at_their_times(tmp_path):
    path = write_video(tmp_path / 'uneven.mkv', num_frames=len(UNEVEN), times=UNEVEN)
    times, _ = sequential_decode(path)
    fps, stored = 7.6, {}
    for number in range(12):  # by hand: the last frame that has begun at number / fps
        stored.setdefault(max(i for i, t in enumerate(times) if t <= number / fps + 1e-6), number)
    assert len(set(stored)) < 12 < len(times), 'some frames are stored twice, some not at all'
    transform = StoredTokens(numbered_store(tmp_path / 'store', str(path), 12, frame_interval=None, fps=fps))
    for index in range(len(times)):
        if index in stored:
            assert numbers_of(transform(chosen(path, [index]))) == [stored[index]]
        else:
            with pytest.raises(ValueError, match=f'frame {index} .* 7.6 frames a second'):
                transform(chosen(path, [index]))


def test_stored_tokens__an_image_is_a_clip_of_one_frame(tmp_path):
    store = numbered_store(tmp_path / 'store', 'a.png', 1, frame_interval=None, fps=2)
    results = dict(filename='a.png', frame_inds=np.zeros(1, np.int64), total_frames=1, num_clips=1, clip_len=1,
                   imgs=np.zeros((1, 3, 1, 32, 32), np.uint8), img_shape=(32, 32))
    assert numbers_of(StoredTokens(store)(results)) == [0]


@pytest.mark.parametrize('rate', [dict(frame_interval=1), dict(frame_interval=None, fps=25)])
def test_stored_tokens__a_video_that_changed_is_broken(tmp_path, video, rate):
    transform = StoredTokens(numbered_store(tmp_path / 'store', str(video), 19, **rate))
    with pytest.raises(BrokenFileError, match='19 frames of it, the file now gives 20'):
        transform(chosen(video, [0]))


CENTRE = dict(flip=False, crop_quadruple=np.array([0.22, 0.08, 0.56, 0.84], np.float32))  # 32 x 32 of 57 x 38


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(flip=True), 'take Flip out'),
    (dict(short_edge=70), 'RandomRescale'),
    (dict(crop_quadruple=np.array([0.22, 0.0, 0.56, 0.84], np.float32)), 'use the pipeline'),
    (dict(crop_quadruple=np.array([0.25, 0.125, 0.5, 0.75], np.float32)), r'crop=.center. of short_side=38'),
    (dict(img_shape=(32, 40)), '32 x 40, the stored ones were 32 x 32'),
    (dict(imgs=np.zeros((3, 3, 1, 32, 32), np.uint8)), 'use one crop'),
    (dict(imgs=np.zeros((1, 3, 32, 32), np.uint8)), 'FormatShape')])
def test_stored_tokens__another_view_is_refused(tmp_path, video, changes, message):
    view = dict(short_side=38, crop='center', flip=False)
    transform = StoredTokens(numbered_store(tmp_path / 'store', str(video), 20, **view))
    assert numbers_of(transform(chosen(video, [4], **CENTRE))) == [4]
    assert numbers_of(transform(chosen(video, [4], **CENTRE, img_shape=(64, 64)))) == [4], 'larger frames of the same'
    with pytest.raises(ValueError, match=message):
        transform(chosen(video, [4], **CENTRE | changes))


def test_stored_tokens__the_size_of_the_crop_counts_where_the_store_says_it(tmp_path, video):
    view = dict(short_side=76, crop='center', crop_size=(64, 64))  # a crop that was shrunk for the tokenizer
    transform = StoredTokens(numbered_store(tmp_path / 'store', str(video), 20, **view))
    assert numbers_of(transform(chosen(video, [4], **CENTRE, img_shape=(64, 64)))) == [4]
    middle = dict(flip=False, crop_quadruple=np.array([0.36, 0.29, 0.28, 0.42], np.float32))  # 32 x 32 of 114 x 76
    with pytest.raises(ValueError, match='use the pipeline'):
        transform(chosen(video, [4], **middle))


@pytest.mark.parametrize('view', [dict(), dict(crop='top_left', scale=1.25), dict(crop='bottom_right', scale=1.25, flip=True)])
def test_stored_tokens__any_fixed_view_fits_its_own_store_only(tmp_path, video, view):
    make = FixedView(32, **view)
    transform = StoredTokens(numbered_store(tmp_path / 'store', str(video), 20, **make.describe()))

    def shown(by: FixedView) -> dict:
        results = by(dict(imgs=[np.zeros((64, 96, 3), np.uint8)], filename='a'))
        return chosen(video, [4]) | {key: results[key] for key in ('img_shape', 'flip', 'crop_quadruple')}

    assert numbers_of(transform(shown(make))) == [4]
    with pytest.raises(ValueError, match='StoredTokens: the frames'):
        transform(shown(FixedView(32, crop='center', scale=1.25)))


def test_stored_tokens__a_store_of_another_kind_is_refused(tmp_path, video):
    with pytest.raises(ValueError, match='no finished token store'):
        StoredTokens(tmp_path / 'missing')
    other = numbered_store(tmp_path / 'other', str(video), 20, crop='MultiScaleCrop')
    with pytest.raises(ValueError, match='was cropped by MultiScaleCrop'):
        StoredTokens(other)
    with pytest.raises(ValueError, match=r'grid is \[2, 2\], expected \[14, 14\]'):
        StoredTokens(numbered_store(tmp_path / 'store', str(video), 20), expect=dict(grid=(14, 14)))


# ------------------------------------------------------------------------- against tokenizing on the fly, end to end

FIXED_VIEW = [dict(type='Resize', scale=(-1, 72)), dict(type='CenterCrop', crop_size=64)]
EXTRACTION = """
custom_imports = dict(imports=['ssvideo'])
default_scope = 'mmaction'
tokenizer = dict(type='ssvideo.DalleTokenizer', checkpoint='{folder}/dalle.safetensors', frames_per_chunk=4)
dataset = dict(
    type='ssvideo.VideoList', source='{folder}/list.txt', data_root='{folder}', test_mode=True, pipeline=[
        dict(type='ssvideo.SampleWholeVideo', {sampling}),
        dict(type='ssvideo.DecodeClips'),
        *{view},
        dict(type='ssvideo.TokenizerView', size=32),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')])
"""


def extract(folder: Path, config: Path, *options: str) -> Path:
    sys.path.insert(0, str(ROOT / 'tools'))
    try:
        import extract_tokens
    finally:
        sys.path.remove(str(ROOT / 'tools'))
    extract_tokens.main([str(config), '--out', str(folder / 'tokens'), '--workers', '0', '--device', 'cpu', *options])
    return folder / 'tokens'


def batch_of(folder: Path, sampling: dict, last: dict) -> dict:
    """A batch of four draws, as the loader of a fixed-view config collates them."""
    videos = DATASETS.build(dict(
        type='VideoList', source=folder / 'list.txt', data_root=folder, pipeline=[
            dict(type='ssvideo.SampleClips', clip_len=4, **sampling), dict(type='ssvideo.DecodeClips'), *FIXED_VIEW,
            dict(type='FormatShape', input_format='NCTHW'), last]))
    samples = [videos[i % 3, i] for i in range(4)]
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def joint_bevt(folder: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='Pretrainer', data_preprocessor=dict(type='ClipPreprocessor', mean=[120.0] * 3, std=[60.0] * 3),
        backbone=dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4),
                      window_size=(2, 4, 4), drop_path_rate=0.0),
        tokenizer=dict(type='DalleTokenizer', checkpoint=str(folder / 'dalle.safetensors')),
        maskers=dict(video=dict(type='TubeMasker', min_block=2, temporal_stride=2), image=dict(type='TubeMasker', min_block=2)),
        objectives=dict(mvm=dict(type='MVM', decoder=dict(type='SwinDecoder')))))


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    encoder = DalleEncoder(8, 1, 50).requires_grad_(False)
    encoder.head.bias.copy_(-encoder(torch.rand(8, 3, 32, 32)).mean((0, 2, 3)))  # so that many ids are in use
    save_dalle(tmp_path / 'dalle.safetensors', encoder)
    for n in range(3):
        write_video(tmp_path / f'clip {n}.mp4', num_frames=24 + 5 * n, size=(128, 96 + 16 * n))
    (tmp_path / 'list.txt').write_text(''.join(f'clip {n}.mp4 {n}\n' for n in range(3)))
    return tmp_path


@pytest.mark.parametrize(('stored', 'sampled'), [
    ('frame_interval=1', dict(frame_interval=3)), ('frame_interval=1', dict(fps=7)), ('fps=25', dict(frame_interval=2))])
def test_stored_tokens__are_those_made_on_the_fly_and_so_is_the_joint_loss(folder, stored, sampled):
    (folder / 'extraction.py').write_text(EXTRACTION.format(folder=folder, sampling=stored, view=FIXED_VIEW))
    store = extract(folder, folder / 'extraction.py')
    fresh = batch_of(folder, sampled, dict(type='PackActionInputs'))
    cached = batch_of(folder, sampled, dict(type='ssvideo.StoredTokens', store=store, data_root=folder))
    assert all(torch.equal(a, b) for a, b in zip(fresh['inputs'], cached['inputs']))

    model = joint_bevt(folder)
    image = dict(inputs=[clip[:, :, :1] for clip in fresh['inputs']])
    batches = [model.data_preprocessor(dict(video=video, image=image))['inputs'] for video in (fresh, cached)]
    mask = torch.ones(4, 4, 4, 4, dtype=torch.bool)
    made, read = (model.tokenize('video', batch['video'], mask)['tokenizer'].tokens for batch in batches)
    assert len(read.unique()) > 6, 'targets that say something'
    assert torch.equal(made, read)

    losses = []
    for batch in batches:
        model = joint_bevt(folder)  # anew: its first step
        losses.append(model(batch, mode='loss'))
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


def test_stored_tokens__the_published_pair_of_configs_fits(tmp_path):
    tokenizer = str(tmp_path / 'dalle.safetensors')
    write_video(tmp_path / 'a.mp4', num_frames=20, size=(320, 180))
    torch.manual_seed(0)
    save_dalle(tokenizer, DalleEncoder(4, 1, 8192))
    (tmp_path / 'list.txt').write_text('a.mp4\n')
    store = extract(tmp_path, ROOT / 'configs/tokenizers/tokens_bevt.py', '--cfg-options', f'tokenizer.checkpoint={tokenizer}',
                    f'dataset.source={tmp_path}/list.txt', f'dataset.data_root={tmp_path}')

    config = Config.fromfile(ROOT / 'configs/bevt_swin_b_stored.py')
    config.model.tokenizer.checkpoint = tokenizer
    config.model.backbone.update(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    videos = config.train_dataloader.video.dataset
    videos.source, videos.pipeline[-1].store = f'{tmp_path}/list.txt', str(store)
    videos.data_root = videos.pipeline[-1].data_root = str(tmp_path)
    sample = DATASETS.build(videos)[0]

    model = MODELS.build(config.model)
    made, read = (model.data_preprocessor(dict(video={key: [sample[key]] for key in keys}))['inputs']['video']
                  for keys in (['inputs'], ['inputs', 'tokens']))
    assert model.token_grid(read) == (16, 14, 14)
    everything = torch.ones(1, 16, 14, 14, dtype=torch.bool)
    assert torch.equal(model.tokenize('video', made, everything)['tokenizer'].tokens, read.tokens)


def test_tokenizer_view__is_what_the_pretrainer_shows(folder):
    image = np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)
    for view_filter in ('lanczos4', 'lanczos'):
        results = TokenizerView((32, 45), view_filter)(dict(imgs=[image]))
        shown = resize_pixels(torch.from_numpy(image).permute(2, 0, 1), (32, 45), view_filter)
        assert results['img_shape'] == (32, 45)
        assert torch.equal(torch.from_numpy(results['imgs'][0]).permute(2, 0, 1) / 255, shown)
