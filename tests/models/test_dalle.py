from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from ssvideo.models.layers.dalle_blocks import DalleDecoder, DalleEncoder
from ssvideo.models.tokenizers import DalleTokenizer
from ssvideo.models.tokenizers.dalle_checkpoint import from_published, load_dalle, save_dalle
from ssvideo.structures import PAD
from ssvideo.utils.dalle_pickle import read_dalle_module

TOOL = Path(__file__).parents[2] / 'tools' / 'convert_checkpoint.py'
VOCAB, NUM_LAYERS = 20, 8


# ------------------------------------------------------------------ the published architecture, written out once more

def published_weights(kind: str) -> dict[str, torch.Tensor]:
    """Random weights under OpenAI's names: n_hid 8, 2 blocks a group, vocabulary 20, n_init 12."""
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def conv(name, n_in, n_out, kernel):
        weight = torch.randn(n_out, n_in, kernel, kernel, generator=generator)
        weights[f'{name}.w'] = weight / (n_in * kernel ** 2) ** 0.5
        weights[f'{name}.b'] = torch.randn(n_out, generator=generator) * 0.1

    first, widths, kernels = {'encoder': (8, (8, 16, 32, 64), (3, 3, 3, 1)),
                              'decoder': (12, (64, 32, 16, 8), (1, 3, 3, 3))}[kind]
    conv('blocks.input', *((3, 8, 7) if kind == 'encoder' else (VOCAB, 12, 1)))
    for group, width in enumerate(widths, 1):
        for block in (1, 2):
            prefix = f'blocks.group_{group}.block_{block}'
            if first != width:
                conv(f'{prefix}.id_path', first, width, 1)
            dims = (first, *[width // 4] * 3, width)
            for i, kernel in enumerate(kernels):
                conv(f'{prefix}.res_path.conv_{i + 1}', dims[i], dims[i + 1], kernel)
            first = width
    conv('blocks.output.conv', first, VOCAB if kind == 'encoder' else 6, 1)
    return weights


def published_forward(kind: str, weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    def conv(name, x):
        weight = weights[f'{name}.w']
        return F.conv2d(x, weight, weights[f'{name}.b'], padding=(weight.shape[-1] - 1) // 2)

    x = conv('blocks.input', x)
    for group in range(1, 5):
        for block in (1, 2):
            prefix = f'blocks.group_{group}.block_{block}'
            residual = x
            for i in range(1, 5):
                residual = conv(f'{prefix}.res_path.conv_{i}', residual.relu())
            x = (conv(f'{prefix}.id_path', x) if f'{prefix}.id_path.w' in weights else x) + residual / NUM_LAYERS ** 2
        if group < 4:
            x = (F.max_pool2d(x, 2) if kind == 'encoder' else x.repeat_interleave(2, -1).repeat_interleave(2, -2))
    return conv('blocks.output.conv', x.relu())


@pytest.fixture(scope='module')
def pictures() -> torch.Tensor:
    return torch.rand(3, 3, 32, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    save_dalle(tmp_path / 'dalle.safetensors', from_published(published_weights('encoder')),
               from_published(published_weights('decoder')))
    return tmp_path / 'dalle.safetensors'


def test_dalle_blocks__have_the_published_sizes():
    with torch.device('meta'):
        sizes = [sum(p.numel() for p in part.parameters())
                 for part in (DalleEncoder(256, 2, 8192), DalleDecoder(256, 2, 8192, 128))]
    assert sizes == [53_786_240, 43_829_766]


def test_dalle_tokenizer__is_the_written_out_network(checkpoint, pictures):
    tokenizer = DalleTokenizer(checkpoint)
    expected = published_forward('encoder', published_weights('encoder'), 0.8 * pictures + 0.1)
    assert torch.allclose(tokenizer.logits(pictures), expected, atol=1e-5)
    clips = torch.stack([pictures, pictures.flip(0)], dim=0).transpose(1, 2)  # (2, 3, T, H, W)
    tokens = tokenizer(clips)
    assert tokens.dtype == torch.int64
    assert torch.equal(tokens, torch.stack([expected.argmax(1), expected.flip(0).argmax(1)]))
    one_hot = F.one_hot(tokens[0], VOCAB).permute(0, 3, 1, 2).float()
    outputs = published_forward('decoder', published_weights('decoder'), one_hot)
    decoded = ((outputs[:, :3].sigmoid() - 0.1) / 0.8).clamp(0, 1)
    assert torch.allclose(tokenizer.decode(tokens)[0].transpose(0, 1), decoded, atol=1e-5)
    assert torch.allclose(tokenizer.decoder(one_hot), outputs, atol=1e-5)


def test_dalle_tokenizer__chunks_do_not_change_ids(checkpoint, pictures):
    clips = pictures.repeat(3, 1, 1, 1).view(1, 9, 3, 32, 24).transpose(1, 2)
    seen = []
    small = DalleTokenizer(checkpoint, frames_per_chunk=4)
    small.encoder.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    tokens = small(clips)
    assert seen == [4, 4, 1]
    assert torch.equal(tokens, DalleTokenizer(checkpoint)(clips))
    assert torch.allclose(small.decode(tokens), DalleTokenizer(checkpoint).decode(tokens), atol=1e-6)


def test_dalle_tokenizer__is_frozen_and_chooses_its_precision(checkpoint, pictures):
    tokenizer = DalleTokenizer(checkpoint)
    assert not any(p.requires_grad for p in tokenizer.parameters())
    assert (tokenizer.vocab_size, tokenizer.stride, tokenizer.training) == (VOCAB, (1, 8, 8), False)
    expected = tokenizer.logits(pictures)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(tokenizer.logits(pictures), expected)
    half = DalleTokenizer(checkpoint, precision='bfloat16').logits(pictures)
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().max() < 0.1


def test_dalle_tokenizer__says_what_is_wrong(checkpoint, tmp_path, pictures):
    tokenizer = DalleTokenizer(checkpoint)
    with pytest.raises(ValueError, match='multiples of 8'):
        tokenizer(pictures[:, :, None, :30])
    with pytest.raises(ValueError, match=r'float in \[0, 1\], got .*uint8'):
        tokenizer(pictures[:, :, None].byte())
    with pytest.raises(ValueError, match='leave out frames of PAD'):
        tokenizer.decode(torch.full((1, 1, 2, 2), PAD))
    with pytest.raises(FileNotFoundError, match='convert_checkpoint'):
        DalleTokenizer(tmp_path / 'missing.safetensors')
    (tmp_path / 'cut.safetensors').write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ValueError, match='not a whole safetensors file'):
        DalleTokenizer(tmp_path / 'cut.safetensors')
    save_file({'a': torch.zeros(1)}, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match="format=None, expected 'ssvideo.dalle/1'"):
        DalleTokenizer(tmp_path / 'other.safetensors')
    encoder, _ = load_dalle(checkpoint)
    save_dalle(tmp_path / 'encoder.safetensors', encoder)
    with pytest.raises(ValueError, match='no decoder'):
        DalleTokenizer(tmp_path / 'encoder.safetensors').decode(torch.zeros(1, 1, 2, 2, dtype=torch.long))


@pytest.mark.parametrize(('change', 'message'), [
    (lambda w: w.pop('blocks.group_2.block_1.id_path.w'), 'Missing key'),
    (lambda w: w.update({'blocks.group_2.block_1.res_path.conv_2.w': torch.zeros(4, 4, 5, 5)}), 'size mismatch'),
    (lambda w: w.update({'blocks.group_9.block_1.id_path.w': torch.zeros(1)}), 'group_9'),
    (lambda w: w.pop('blocks.input.w'), 'stem.weight'),
])
def test_from_published__refuses_other_weights(change, message):
    weights = published_weights('encoder')
    change(weights)
    with pytest.raises(ValueError, match=message):
        from_published(weights)


# ------------------------------------------------------------------------------------------------------ pickled modules

@pytest.fixture
def dall_e(monkeypatch):
    """A stand-in for the package dall_e: classes of its names, which only *writing* a pickle needs."""
    classes = {}
    for path in ('dall_e.encoder.Encoder', 'dall_e.encoder.EncoderBlock', 'dall_e.utils.Conv2d', 'dall_e.Other'):
        module_name, name = path.rsplit('.', 1)
        module = sys.modules.get(module_name) or types.ModuleType(module_name)
        monkeypatch.setitem(sys.modules, module_name, module)
        classes[name] = type(name, (nn.Module,), {'__module__': module_name})
        setattr(module, name, classes[name])
    return classes


def published_module(classes) -> nn.Module:
    """The encoder as OpenAI pickled it: nested modules with attributes w, b and post_gain."""
    root = classes['Encoder']()
    for name, weight in published_weights('encoder').items():
        owner = root
        for part in name.split('.')[:-1]:
            if part not in owner._modules:
                kind = 'EncoderBlock' if part.startswith('block_') else 'Conv2d' if 'conv' in part else None
                child = classes[kind]() if kind else nn.Sequential()
                if kind == 'EncoderBlock':
                    child.post_gain = 1 / NUM_LAYERS ** 2
                owner.add_module(part, child)
            owner = owner._modules[part]
        owner.register_parameter(name.split('.')[-1], nn.Parameter(weight))
    root.device = torch.device('cpu')
    return root


def test_read_dalle_module__reads_without_the_package(dall_e, tmp_path, monkeypatch):
    torch.save(published_module(dall_e), tmp_path / 'encoder.pkl')
    for name in [name for name in sys.modules if name.startswith('dall_e')]:
        monkeypatch.delitem(sys.modules, name)
    read, expected = read_dalle_module(tmp_path / 'encoder.pkl'), published_weights('encoder')
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], expected[name]) for name in expected)


class _Attack:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(('function', 'name'), [
    (os.system, f'{os.system.__module__}.system'), (eval, '__builtin__.eval'), (getattr, '__builtin__.getattr'),
    (torch.load, 'torch.serialization.load')])
def test_read_dalle_module__refuses_and_runs_nothing(dall_e, tmp_path, function, name):
    module = published_module(dall_e)
    module.attack = _Attack(function, f'touch {tmp_path}/ran')
    torch.save(module, tmp_path / 'encoder.pkl')
    with pytest.raises(ValueError, match=rf'names {name}.*refused'):
        read_dalle_module(tmp_path / 'encoder.pkl')
    assert not (tmp_path / 'ran').exists()


def test_read_dalle_module__says_what_is_wrong(dall_e, tmp_path):
    path = tmp_path / 'encoder.pkl'
    module = published_module(dall_e)
    module.blocks.group_1.block_1.post_gain = 0.5
    torch.save(module, path)
    with pytest.raises(ValueError, match='residual by 0.5'):
        read_dalle_module(path)
    module.other = dall_e['Other']()
    torch.save(module, path)
    with pytest.raises(ValueError, match='names dall_e.Other'):
        read_dalle_module(path)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match='not a whole file'):
            read_dalle_module(path)
    torch.save(published_weights('encoder'), path)
    with pytest.raises(ValueError, match='expected a pickled module'):
        read_dalle_module(path)


def convert(*args) -> None:
    spec = importlib.util.spec_from_file_location('convert_checkpoint', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main(['dalle', *map(str, args)])


@pytest.mark.parametrize('suffix', ['pkl', 'pth', 'safetensors'])
def test_convert_checkpoint__reads_every_kind(dall_e, tmp_path, suffix, checkpoint, capsys):
    source, out = tmp_path / f'encoder.{suffix}', tmp_path / 'out.safetensors'
    content = published_module(dall_e) if suffix == 'pkl' else published_weights('encoder')
    save_file(content, source) if suffix == 'safetensors' else torch.save(content, source)
    torch.save(published_weights('decoder'), tmp_path / 'decoder.pth')
    convert(source, out, '--decoder', tmp_path / 'decoder.pth')
    assert 'with a decoder' in capsys.readouterr().out
    ours, expected = load_file(out), load_file(checkpoint)
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_convert_checkpoint__errors_are_one_line_and_leave_no_file(dall_e, tmp_path):
    torch.save(published_weights('decoder'), tmp_path / 'decoder.pth')
    torch.save(published_module(dall_e), tmp_path / 'module.pth')
    for source, message in [('decoder.pth', 'expected a DalleEncoder'), ('missing.pkl', 'there is no file'),
                            ('module.pth', 'end in .pkl')]:
        with pytest.raises(SystemExit, match=message):
            convert(tmp_path / source, tmp_path / 'out.safetensors')
    assert not (tmp_path / 'out.safetensors').exists()


# --------------------------------------------------------------------------------------------------------- the trainer
