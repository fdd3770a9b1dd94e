from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssvideo.datasets.still_frames import StillFrames
from ssvideo.evaluation.tokenizer_quality import measure_tokenizer
from ssvideo.models.tokenizers import DalleVAE, PecoVQVAE, load_tokenizer
from tests.video_files import picture, write_video

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'inspect_tokenizer.py'
VOCAB = 20


def inspect(*args) -> None:
    spec = importlib.util.spec_from_file_location('inspect_tokenizer', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main([*map(str, args), '--device', 'cpu'])


@pytest.fixture
def media(tmp_path) -> Path:
    """Two videos, three images of which one is large and one tiny, and two files that are neither."""
    folder = tmp_path / 'media'
    (folder / 'deeper').mkdir(parents=True)
    write_video(folder / 'a.mp4', num_frames=12)
    write_video(folder / 'deeper' / 'b.mp4', num_frames=7)
    for name, (width, height) in {'photo.png': (40, 60), 'large.png': (300, 90), 'tiny.png': (30, 5)}.items():
        Image.fromarray(picture(len(name), width, height)).save(folder / name)
    (folder / 'broken.mp4').write_bytes(b'no video')
    (folder / 'broken.jpg').write_bytes(b'no image')
    return folder


@pytest.fixture
def tokenizers(tmp_path) -> dict[str, Path]:
    torch.manual_seed(0)
    peco = PecoVQVAE(None, vocab_size=VOCAB, code_dims=6, widths=(4, 8, 8, 12), num_blocks=1, attention=False)
    with torch.no_grad():
        peco.train().loss(torch.rand(4, 3, 32, 32))
    files = {}
    for name, trainer in dict(peco=peco, dalle=DalleVAE(VOCAB, 8, num_blocks=1)).items():
        files[name] = tmp_path / f'{name}.safetensors'
        trainer.save_tokenizer(files[name])
    return files


@pytest.mark.parametrize('kind', ['peco', 'dalle'])
def test_inspect_tokenizer__measures_any_folder_with_any_tokenizer(media, tokenizers, tmp_path, kind, capsys):
    out = tmp_path / 'out'
    inspect(tokenizers[kind], media, '--num', 30, '--size', 48, '--out', out)
    found = json.loads((out / 'tokenizer.json').read_text())
    assert set(found['unreadable']) == {str(media / name) for name in ('broken.mp4', 'broken.jpg', 'tiny.png')}
    assert found['num_pictures'] == 2 + 2 * 5, '2 images, and of each video as many frames as 30 pictures of 7 files need'

    tokenizer, tokens, psnr = load_tokenizer(tokenizers[kind]), [], []
    for still in StillFrames(media, num=30, size=48, multiple=8):
        pixels = torch.tensor(still).permute(2, 0, 1)[None, :, None] / 255
        with torch.no_grad():
            found_tokens = tokenizer(pixels)
            rebuilt = tokenizer.decode(found_tokens)
        tokens += found_tokens.flatten().tolist()
        psnr.append(-10 * np.log10(np.square((rebuilt - pixels).numpy().astype(np.float64)).mean()))
    used = set(tokens)
    assert found['psnr'] == pytest.approx(np.mean(psnr), rel=1e-4)
    assert found['num_tokens'] == len(tokens)
    assert found['dead_ids'] == [number for number in range(VOCAB) if number not in used]
    assert found['codebook_use'] == pytest.approx(len(used) / VOCAB)
    assert 1 <= found['codebook_perplexity'] <= len(used) + 1e-3

    drawn = np.asarray(Image.open(out / 'reconstructions.png').convert('RGB'))
    assert drawn.std() > 10
    printed = capsys.readouterr().out
    assert f'{found["psnr"]:.2f} dB' in printed and 'broken.mp4' in printed
    assert printed.splitlines()[-1] == f'The numbers are in {out}/tokenizer.json, pictures in {out}/reconstructions.png'


def test_inspect_tokenizer__reads_lists(media, tokenizers, tmp_path):
    (tmp_path / 'list.txt').write_text(f'{media / "photo.png"} 3\n{media / "a.mp4"} 0\n{media / "gone.png"} 1\n')
    inspect(tokenizers['peco'], tmp_path / 'list.txt', '--num', 2, '--out', tmp_path / 'out')
    found = json.loads((tmp_path / 'out' / 'tokenizer.json').read_text())
    assert found['num_pictures'] == 2
    assert set(found['unreadable']) <= {str(media / 'gone.png')}


def test_inspect_tokenizer__errors_are_one_line(media, tokenizers, tmp_path):
    with pytest.raises(SystemExit, match='error: there is no tokenizer file'):
        inspect(tmp_path / 'none.safetensors', media)
    with pytest.raises(SystemExit, match='is neither a file nor a folder'):
        inspect(tokenizers['peco'], tmp_path / 'nowhere')
    with pytest.raises(SystemExit, match='is not a whole safetensors file'):
        inspect(media / 'photo.png', media)
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad' / 'broken.mp4').write_bytes(b'no video')
    with pytest.raises(SystemExit, match=r'no picture to measure.*could not be read: .*broken.mp4: '):
        inspect(tokenizers['peco'], tmp_path / 'bad')


def test_still_frames__are_shrunk_but_never_enlarged(media):
    sides = sorted(still.shape for still in StillFrames(media, num=5, size=64, multiple=16))
    assert {shape[0] for shape in sides} == {32, 64}, 'a photo of 40 x 60 gives 32 x 32, the others are cut or shrunk to 64'
    [photo] = [still for still in StillFrames(media, num=7, size=64, multiple=8) if still.shape[0] == 40]
    assert np.array_equal(photo, picture(len('photo.png'), 40, 60)[10:50])
    assert sum(1 for _ in StillFrames(media, num=3, size=64)) == 3
    with pytest.raises(ValueError, match='size at least 16'):
        StillFrames(media, num=3, size=8, multiple=16)


def test_measure_tokenizer__a_perfect_one_is_finite():
    class Perfect(torch.nn.Module):
        vocab_size = 4

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, pixels):
            self.pixels = pixels
            return torch.tensor([[[[0, 1], [1, 3]]]])

        def decode(self, tokens):
            return self.pixels

    quality = measure_tokenizer(Perfect(), [torch.zeros(3, 4, 4, dtype=torch.uint8)] * 2)
    summary = quality.summary()
    assert summary['psnr'] == pytest.approx(100) and summary['dead_ids'] == [2] and summary['codebook_use'] == 0.75
    assert len(quality.shown) == 2
