from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from PIL import Image

from ssvideo.datasets.token_writer import TokenStoreWriter
from ssvideo.engine.browse import Browser
from ssvideo.engine.loaded_batch import build_loaders, drawn_keys, load_batch
from ssvideo.models.pretrainer import Pretrainer
from ssvideo.models.tokenizers import DalleVAE, load_tokenizer
from ssvideo.utils.checksum import checksum_of
from ssvideo.visualization import colour_ids, spread_cells
from ssvideo.visualization.masks import EDGE, SHADE
from tests.small_models import VOCAB, make_models, run_visualization
from tests.video_files import sequential_decode, write_video

LOOP = """
train_cfg = dict(type='ssvideo.StreamTrainLoop', max_epochs=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
randomness = dict(seed=7)
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Configs that read the videos of the folder, or a store of tokens, in a loop."""
    make_models(tmp_path)
    write_video(tmp_path / 'videos' / 'c.mp4', num_frames=20)
    (tmp_path / 'list.txt').write_text(''.join(f'{tmp_path}/videos/{name}.mp4 {label}\n' for label, name in enumerate('abc')))
    checksum = checksum_of(load_tokenizer(tmp_path / 'dalle.safetensors'))
    writer = TokenStoreWriter(tmp_path / 'store', dict(tokenizer=checksum, fps=2.0, size=(32, 32), grid=(4, 4), vocab_size=VOCAB))
    for name, length in dict(long=9, short=2, other=5).items():
        writer.write(f'{name}.mp4', torch.randint(VOCAB, (length, 4, 4)), label=len(name) % 3)
    writer.close()
    loader = "batch_size=2, num_workers=0, sampler=dict(type='ssvideo.DrawSampler', shuffle=True), dataset="
    for name in ('bevt', 'vimpac'):
        text = (tmp_path / f'{name}.py').read_text().replace("source='nowhere'", f"source='{tmp_path}/list.txt'")
        text = text.replace('clip_len=3)', 'clip_len=3, num_clips=2)').replace('dataset=', loader) + LOOP
        (tmp_path / f'{name}.py').write_text(text)
    return tmp_path


class Recorder(Hook):
    """Keeps what a training was given."""

    def __init__(self) -> None:
        self.batches = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.batches.append(data_batch)


def train(folder: Path, name: str, monkeypatch) -> tuple[list, list]:
    """Batches and masks of each iteration of a real training."""
    cfg = Config.fromfile(folder / f'{name}.py')
    cfg.work_dir = str(folder / 'work')
    recorder, masks, draw_mask = Recorder(), [], Pretrainer.draw_mask
    monkeypatch.setattr(Pretrainer, 'draw_mask', lambda *args: masks.append(draw_mask(*args)) or masks[-1])
    runner = Runner.from_cfg(cfg)
    runner.register_hook(recorder)
    runner.train()
    monkeypatch.undo()
    return recorder.batches, masks


@pytest.mark.parametrize(('name', 'key'), [('bevt', 'inputs'), ('vimpac', 'tokens')])
def test_browser__samples_and_masks_are_those_of_the_training(folder, monkeypatch, name, key):
    batches, masks = train(folder, name, monkeypatch)
    assert len(batches) == 4  # of which the last ends the second pass and begins the third
    cfg = Config.fromfile(folder / f'{name}.py')
    for iteration in (3, 1):
        loader = build_loaders(cfg, 'train', 7)['video']
        loaded = load_batch(loader, drawn_keys(cfg, 'train', loader, iteration))
        for clip, expected in zip(loaded.batch[key], batches[iteration]['video'][key], strict=True):
            assert torch.equal(clip, expected)
        browser, found = Browser(cfg, 'train'), []
        draw_mask = Pretrainer.draw_mask
        monkeypatch.setattr(Pretrainer, 'draw_mask', lambda *args: found.append(draw_mask(*args)) or found[-1])  # noqa: B023
        table = browser.samples('video', iteration, num=2)
        monkeypatch.undo()
        assert len(found) == 1 and torch.equal(found[0], masks[iteration]) and found[0].any()
        assert len(table) == 2


def test_browser__pictures_hide_exactly_what_is_masked(folder):
    init_default_scope('mmaction')
    browser = Browser(Config.fromfile(folder / 'bevt.py'), 'train')
    (label, rows), *_ = browser.samples('video', 0, num=1).items()
    captions, pictures = zip(*rows)
    assert captions[:3] == ('frames', 'tokens', 'decoded') and captions[3].startswith('masked, ')
    frames, tokens, _, masked = pictures
    covered = (masked == SHADE).all(-1) | (masked == EDGE).all(-1)
    cells = covered.reshape(4, 4, 8, 4, 8).transpose(0, 1, 3, 2, 4).reshape(4, 4, 4, 64)
    assert (cells.all(-1) | ~cells.any(-1)).all()  # whole tokens
    assert np.array_equal(masked[~covered], frames[~covered]) and captions[3] == f'masked, {cells.all(-1).mean():.0%}'
    ids = browser.model.tokenizers['tokenizer'](torch.from_numpy(frames).permute(3, 0, 1, 2)[None] / 255)[0].numpy()
    assert np.array_equal(tokens, spread_cells(colour_ids(ids, VOCAB), (4, 32, 32)))
    assert label.splitlines()[0] in ('a.mp4', 'b.mp4', 'c.mp4') and label.endswith('draw 0')


def test_browser__notes_tell_the_frames_that_are_shown(folder):
    init_default_scope('mmaction')
    cfg = Config.fromfile(folder / 'bevt.py')
    cfg.train_dataloader.video.dataset.pipeline[2] = dict(type='CenterCrop', crop_size=32)
    loader = build_loaders(cfg, 'train', 7)['video']
    before = list(loader.dataset.transforms)
    loaded = load_batch(loader, drawn_keys(cfg, 'train', loader, 0))
    assert loader.dataset.transforms == before
    for clip, note in zip(loaded.batch['inputs'], loaded.notes):
        _, frames = sequential_decode(Path(note['path']))
        top, left = ((side - 32) // 2 for side in frames[0].shape[:2])
        for shown, number in zip(clip[0].permute(1, 2, 3, 0).numpy(), note['frames']):
            assert np.array_equal(shown, frames[number][top:top + 32, left:left + 32])
        assert 'abc'[note['label']] == Path(note['path']).stem


def test_browser__a_file_that_cannot_be_read_is_named_as_what_was_taken(folder):
    (folder / 'list.txt').write_text(f'{folder}/videos/broken.mp4 0\n{folder}/videos/a.mp4 1\n')
    init_default_scope('mmaction')
    browser = Browser(Config.fromfile(folder / 'bevt.py'), 'train')
    labels = list(browser.samples('video', 0, num=2))
    assert [label.splitlines()[0] for label in labels] == ['a.mp4', 'a.mp4']


def test_browser__strips_are_equally_spaced_frames_of_the_whole_video(folder):
    init_default_scope('mmaction')
    browser = Browser(Config.fromfile(folder / 'bevt.py'), 'train')
    for label, [(_, strip)] in browser.strips('video', 0, num=2, num_frames=4).items():
        name = label.splitlines()[0]
        _, frames = sequential_decode(folder / 'videos' / name)
        size = len(frames) / 4
        assert label.splitlines()[1] == f'class {"abc".index(name[0])}'
        assert np.array_equal(strip, np.stack([frames[int((i + 0.5) * size)] for i in range(4)]))


def test_browser__strips_of_a_store_are_decoded(folder):
    init_default_scope('mmaction')
    cfg = Config.fromfile(folder / 'vimpac.py')
    with pytest.raises(ValueError, match='say with --tokenizer'):
        Browser(cfg, 'train').strips('video', 0, 1, 3)
    DalleVAE(VOCAB, 8, num_blocks=1).save_tokenizer(folder / 'other.safetensors')
    with pytest.raises(ValueError, match='does not hold what the config expects .*tokenizer is'):
        Browser(cfg, 'train', str(folder / 'other.safetensors'))
    browser = Browser(cfg, 'train', str(folder / 'dalle.safetensors'))
    (label, [(_, strip)]), *_ = browser.strips('video', 0, num=1, num_frames=2).items()
    store = browser.loaders['video'].dataset.store
    name = label.splitlines()[0]
    moments = [int((i + 0.5) * store.num_frames(name) / 2) for i in range(2)]
    pictures = load_tokenizer(folder / 'dalle.safetensors').decode(store.read(name, moments)[None])[0]
    assert np.abs(strip - (pictures * 255).permute(1, 2, 3, 0).detach().numpy()).max() <= 0.51


def test_browse_dataset__writes_what_the_suffix_says(folder, capsys):
    run_visualization('browse_dataset', folder / 'bevt.py', '--out', folder / 'a.png', '--num', 1)
    run_visualization('browse_dataset', folder / 'vimpac.py', '--out', folder / 'a.gif', '--iteration', 2)
    run_visualization('browse_dataset', folder / 'bevt.py', '--out', folder / 'a.mp4', '--strip', '--num-frames', 5)
    with Image.open(folder / 'a.png') as png, Image.open(folder / 'a.gif') as gif, av.open(str(folder / 'a.mp4')) as mp4:
        assert png.format == 'PNG' and gif.n_frames == 3 and len(list(mp4.decode(video=0))) == 5
    assert capsys.readouterr().out.splitlines()[-1] == f'What the model sees is in {folder}/a.mp4'


def test_browse_dataset__fine_tuning_and_testing_show_their_views(folder):
    text = (folder / 'bevt.py').read_text()
    val = text[text.index('train_dataloader'):text.index('train_cfg')].replace('train_', 'val_').replace('video=dict(', '')
    val = val.replace('frame_interval=2)', 'frame_interval=2, num_clips=3, test_mode=True)')
    val = val.replace("ssvideo.DrawSampler', shuffle=True", "DefaultSampler', shuffle=False")
    val = val.rstrip()[:-1].replace("dict(type='RandomCrop', size=32)", "dict(type='CenterCrop', crop_size=32)")
    (folder / 'val.py').write_text(text + val + '\n')
    init_default_scope('mmaction')
    browser = Browser(Config.fromfile(folder / 'val.py'), 'val')
    table = browser.samples('val', 0, num=2)
    assert list(table) == ['a.mp4\nclass 0\nentry 0', 'b.mp4\nclass 1\nentry 1']
    assert [caption for caption, _ in table['a.mp4\nclass 0\nentry 0']] == [f'view {view}: frames' for view in (1, 2, 3)]


def test_browse_dataset__errors_are_one_line(folder):
    with pytest.raises(SystemExit, match='error: the config has no test_dataloader'):
        run_visualization('browse_dataset', folder / 'bevt.py', '--loader', 'test')
    with pytest.raises(SystemExit, match=r"error: .*suffix '\.webp'"):
        run_visualization('browse_dataset', folder / 'bevt.py', '--out', folder / 'a.webp')
    with pytest.raises(SystemExit, match='error: the videos are read from a token store: say with --tokenizer'):
        run_visualization('browse_dataset', folder / 'vimpac.py', '--strip', '--out', folder / 'a.png')
