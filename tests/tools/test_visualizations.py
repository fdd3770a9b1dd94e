from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from ssvideo.datasets.given_videos import find_videos
from ssvideo.datasets.token_writer import TokenStoreWriter
from ssvideo.models.tokenizers import load_tokenizer
from ssvideo.utils.checksum import checksum_of
from tests.small_models import VOCAB, make_models, run_visualization

run = run_visualization


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_models(tmp_path)


def pictures(out: Path) -> dict[str, int]:
    """Names of the pictures and how many frames each has."""
    found = {}
    for path in sorted([*out.glob('*.png'), *out.glob('*.gif')]):
        with Image.open(path) as picture:
            found[path.name] = getattr(picture, 'n_frames', 1)
    return found


def test_nearest_copy__of_videos_writes_numbers_pictures_and_animations(folder, capsys):
    out = folder / 'out'
    run('nearest_copy', folder / 'videos', '--tokenizer', folder / 'dalle.safetensors', '--out', out, '--size', 32,
        '--num-frames', 4, '--fps', 10, '--num-pictures', 1)
    found = json.loads((out / 'nearest_copy.json').read_text())
    assert set(found['unreadable']) == {str(folder / 'videos' / 'broken.mp4')}
    assert set(found['clips']) == {str(folder / 'videos' / name) for name in ('a.mp4', 'b.mp4')} and found['num_clips'] == 2
    settings = [(row['masking'], row['ratio'], row['neighbours']) for row in found['mean']]
    assert len(set(settings)) == 8 and {ratio for _, ratio, _ in settings} == {0.15, 0.45}
    for place, row in enumerate(found['mean']):
        for name in ('hidden', 'agreement', 'psnr_hidden', 'psnr'):
            assert row[name] == pytest.approx(sum(rows[place][name] for rows in found['clips'].values()) / 2)
    assert pictures(out) == {'000_a.gif': 4, '000_a.png': 1}
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f'The numbers are in {out}/nearest_copy.json, pictures and animations beside them'
    assert 'cannot be read' in printed and f"{found['mean'][0]['agreement']:.1%}" in printed


def test_nearest_copy__of_a_store_takes_its_own_tokenizer_only(folder, capsys):
    manifest = dict(fps=2.0, size=(32, 32), grid=(4, 4), vocab_size=VOCAB)
    for store, checksum in dict(own=checksum_of(load_tokenizer(folder / 'dalle.safetensors')), other='abc').items():
        writer = TokenStoreWriter(folder / store, manifest | dict(tokenizer=checksum))
        writer.write('long.mp4', torch.randint(VOCAB, (9, 4, 4)))
        writer.write('short.mp4', torch.randint(VOCAB, (2, 4, 4)))  # three frames of its clip are PAD
        writer.close()
    arguments = ['--tokenizer', folder / 'dalle.safetensors', '--out', folder / 'out']
    run('nearest_copy', folder / 'own', *arguments, '--ratios', 0.3)
    found = json.loads((folder / 'out' / 'nearest_copy.json').read_text())
    assert {name: len(rows) for name, rows in found['clips'].items()} == {'long.mp4': 4, 'short.mp4': 4}
    assert pictures(folder / 'out')['000_long.gif'] == 5
    with pytest.raises(SystemExit, match=r"error: .*tokenizer is 'abc', expected"):
        run('nearest_copy', folder / 'other', *arguments)
    with pytest.raises(SystemExit, match='error: .*must be the only source'):
        run('nearest_copy', folder / 'own', folder / 'videos', *arguments)


def test_nearest_copy__errors_are_one_line(folder):
    arguments = ['--tokenizer', folder / 'dalle.safetensors', '--out', folder / 'out']
    with pytest.raises(SystemExit, match='error: there is no clip.* Could not be read: .*broken.mp4: '):
        run('nearest_copy', folder / 'videos' / 'broken.mp4', *arguments)
    with pytest.raises(SystemExit, match='error: ratio must lie between 0 and 1, got 1.5'):
        run('nearest_copy', folder / 'videos', *arguments, '--ratios', 1.5)
    with pytest.raises(SystemExit, match='error: there is no tokenizer file'):
        run('nearest_copy', folder / 'videos', '--tokenizer', folder / 'none.safetensors')
    assert not (folder / 'out').exists()


def test_reconstruct__a_model_that_reads_tokens(folder, capsys):
    arguments = [folder / 'vimpac.py', folder / 'vimpac.pth', folder / 'videos', '--tokenizer', folder / 'dalle.safetensors']
    for out in ('first', 'again', 'other'):
        run('reconstruct', *arguments, '--out', folder / out, '--fps', 10, '--seed', int(out == 'other'))
    found, again, other = (json.loads((folder / out / 'reconstruction.json').read_text()) for out in ('first', 'again', 'other'))
    assert found['videos'] == again['videos'] != other['videos']
    assert set(found['videos']) == {str(folder / 'videos' / name) for name in ('a.mp4', 'b.mp4')}
    assert set(found['unreadable']) == {str(folder / 'videos' / 'broken.mp4')}
    assert set(found['mean']) == {'hidden', 'accuracy', 'copy_accuracy', 'psnr_hidden', 'psnr'}
    assert pictures(folder / 'first') == {'000_a.gif': 3, '000_a.png': 1, '001_b.gif': 3, '001_b.png': 1}
    assert (folder / 'first' / '000_a.png').read_bytes() == (folder / 'again' / '000_a.png').read_bytes()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f'The numbers are in {folder}/other/reconstruction.json, a picture and an animation of each video beside it'


def test_reconstruct__a_model_that_reads_pixels(folder):
    arguments = [folder / 'bevt.py', folder / 'bevt.pth', folder / 'videos' / 'a.mp4', '--out', folder / 'out']
    run('reconstruct', *arguments)
    found = json.loads((folder / 'out' / 'reconstruction.json').read_text())
    assert found['mean']['hidden'] == pytest.approx(0.5, abs=0.25)
    assert pictures(folder / 'out') == {'000_a.gif': 4, '000_a.png': 1}
    run('reconstruct', *arguments, '--cfg-options', 'model.maskers.video.mask_ratio=0.7',
        'train_dataloader.video.dataset.pipeline.4.type=ssvideo.StoredTokens')  # a store without this video is not asked
    changed = json.loads((folder / 'out' / 'reconstruction.json').read_text())
    assert changed['mean']['hidden'] > found['mean']['hidden'], 'the masker is that of the config'


def test_reconstruct__errors_are_one_line(folder):
    video, tokenizer = folder / 'videos' / 'a.mp4', ['--tokenizer', folder / 'dalle.safetensors']
    with pytest.raises(SystemExit, match='error: .*say with --tokenizer which file'):
        run('reconstruct', folder / 'vimpac.py', folder / 'vimpac.pth', video)
    with pytest.raises(SystemExit, match=r'error: say the frame rate with --fps .*store is no finished token store'):
        run('reconstruct', folder / 'vimpac.py', folder / 'vimpac.pth', video, *tokenizer)
    with pytest.raises(SystemExit, match='error: .*bevt.pth does not fit the model of the config'):
        run('reconstruct', folder / 'vimpac.py', folder / 'bevt.pth', video, *tokenizer, '--fps', 10)
    with pytest.raises(SystemExit, match='error: there is no file .*none.pth'):
        run('reconstruct', folder / 'vimpac.py', folder / 'none.pth', video, *tokenizer, '--fps', 10)
    with pytest.raises(SystemExit, match='error: .*a.mp4 is not a file of plain tensors'):
        run('reconstruct', folder / 'vimpac.py', video, video, *tokenizer, '--fps', 10)
    (folder / 'torn.safetensors').write_bytes((folder / 'dalle.safetensors').read_bytes()[:1000])
    with pytest.raises(SystemExit, match='error: .*torn.safetensors is not a whole safetensors file'):
        run('reconstruct', folder / 'vimpac.py', folder / 'torn.safetensors', video, *tokenizer, '--fps', 10)
    with pytest.raises(SystemExit, match='error: --fps is for models that read tokens'):
        run('reconstruct', folder / 'bevt.py', folder / 'bevt.pth', video, '--fps', 10)


def test_find_videos__takes_files_folders_and_lists(folder):
    videos = folder / 'videos'
    (folder / 'list.txt').write_text(f'{videos}/b.mp4 3\n/elsewhere/c d.mp4 1\n')
    assert find_videos([videos / 'b.mp4', videos]) == [str(videos / name) for name in ('b.mp4', 'a.mp4', 'broken.mp4')]
    assert find_videos([folder / 'list.txt']) == [f'{videos}/b.mp4', '/elsewhere/c d.mp4']
    (folder / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty holds no video'):
        find_videos([folder / 'empty'])
    with pytest.raises(ValueError, match='nowhere is neither a file nor a folder'):
        find_videos([folder / 'nowhere'])
