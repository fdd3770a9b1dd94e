from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from safetensors.torch import load_file, save_file
from torch import nn

from ssvideo.models.layers.dalle_blocks import DalleDecoder, DalleEncoder, squeeze_range
from ssvideo.models.tokenizers import DalleTokenizer, DalleVAE
from ssvideo.models.tokenizers.dalle_checkpoint import from_published, load_dalle, save_dalle
from ssvideo.models.tokenizers.dalle_vae import logit_laplace_nll, set_codebook_from_data
from ssvideo.structures import PAD, Clips
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

def at_iteration(iteration: int) -> None:
    MessageHub.get_current_instance().update_info('iter', iteration)


def scale_of(outputs: torch.Tensor) -> torch.Tensor:
    """exp(log scale), with a soft floor at exp(-5)."""
    return (-5 + (outputs[:, 3:] + 5).exp().log1p()).exp()


def test_logit_laplace_nll__is_a_density():
    outputs = torch.tensor([0.3, -1.0, 2.0, -0.5, 0.2, -1.5]).view(1, 6, 1, 1).double()
    grid = (torch.arange(200000).double() + 0.5) / 200000
    nll = logit_laplace_nll(outputs, grid.view(-1, 1, 1, 1).expand(-1, 3, 1, 1))  # one picture for each value
    assert torch.allclose((-nll).exp().mean(0).flatten(), torch.ones(3).double(), atol=1e-3)
    base = torch.distributions.Laplace(outputs[0, :3, 0, 0], scale_of(outputs)[0, :, 0, 0])
    expected = base.log_prob(torch.logit(grid[500, None])) - (grid[500] * (1 - grid[500])).log()
    assert torch.allclose(-nll[500].flatten(), expected)


def test_logit_laplace_nll__stays_finite_on_plain_pictures():
    outputs = torch.tensor([0.0, 0, 0, -300, -300, -300]).view(1, 6, 1, 1).requires_grad_()
    for target in (0.1, 0.5, 0.9):
        nll = logit_laplace_nll(outputs, torch.full((1, 3, 1, 1), target))
        [gradient] = torch.autograd.grad(nll.sum(), outputs)
        assert nll.isfinite().all()
        assert gradient.abs().max() < 200


def test_dalle_vae__gradients_stay_finite_when_ids_die():
    model = DalleVAE(VOCAB, 8, num_blocks=1, usage_weight=0.1, codebook_init='random')
    model.encoder.head.bias.data[0] = 1e4  # every other id has a probability of exactly 0
    at_iteration(0)
    losses = model(Clips(frames=torch.zeros(1, 3, 1, 16, 16, dtype=torch.uint8)), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_dalle_vae__loss_is_the_bound(monkeypatch):
    torch.manual_seed(0)
    model = DalleVAE(VOCAB, 8, kl_weight=6.6, kl_iters=10, temperature=(1.0, 0.1), temperature_iters=20,
                     usage_weight=0.7, codebook_init='random')
    frames = torch.randint(0, 256, (2, 3, 2, 16, 16), dtype=torch.uint8)
    monkeypatch.setattr(F, 'gumbel_softmax', lambda logits, tau, dim: (logits / tau).softmax(dim))
    at_iteration(5)
    terms = model(dict(video=Clips(frames=frames)), mode='loss')
    x = frames.transpose(1, 2).flatten(0, 1).double() / 255
    model.double()
    logits = model.encoder(squeeze_range(x))
    temperature = 0.1 + 0.9 * (0.5 + 0.5 * 2 ** -0.5)  # a quarter of the way down a cosine
    outputs = model.decoder((logits / temperature).softmax(1))
    laplace = torch.distributions.Laplace(outputs[:, :3], scale_of(outputs))
    target = 0.8 * x + 0.1
    density = laplace.log_prob(torch.logit(target)) - (target * (1 - target)).log()
    uniform = torch.distributions.Categorical(logits=torch.zeros(VOCAB).double())
    posterior = torch.distributions.Categorical(logits=logits.permute(0, 2, 3, 1))
    kl = torch.distributions.kl_divergence(posterior, uniform).mean()
    assert terms['loss_pixels'].item() == pytest.approx(-density.mean().item(), rel=1e-4)
    assert terms['kl'].item() == pytest.approx(kl.item(), rel=1e-4)
    assert terms['loss_kl'].item() == pytest.approx(3.3 / 192 * kl.item(), rel=1e-4)
    assert terms['temperature'].item() == pytest.approx(temperature)
    assert [name for name in terms if 'loss' in name] == ['loss_pixels', 'loss_kl', 'loss_usage']
    mean_posterior = torch.distributions.Categorical(probs=posterior.probs.mean((0, 1, 2)))
    usage = torch.distributions.kl_divergence(mean_posterior, uniform)
    assert terms['loss_usage'].item() == pytest.approx(0.7 * usage.item(), rel=1e-4)
    shares = torch.bincount(logits.argmax(1).flatten(), minlength=VOCAB) / 16
    assert terms['codebook_use'].item() == pytest.approx((shares > 0).float().mean().item())
    assert terms['codebook_perplexity'].item() == pytest.approx(torch.special.entr(shares).sum().exp().item(), rel=1e-5)


def test_dalle_vae__schedules():
    model = DalleVAE(VOCAB, 8, temperature=(1.0, 1 / 16), temperature_iters=100, kl_weight=2.0, kl_iters=50)
    expected = {0: (1.0, 0.0), 50: (0.53125, 2.0), 100: (0.0625, 2.0), 1000: (0.0625, 2.0)}
    for iteration, values in expected.items():
        at_iteration(iteration)
        assert model.schedule() == pytest.approx(values)
    MessageHub.get_current_instance().update_info('max_iters', 1000)
    model = DalleVAE(VOCAB, 8, kl_weight=2.0)
    for iteration, values in {0: (1.0, 0.0), 100: (None, 2.0), 400: (0.53125, 2.0), 800: (0.0625, 2.0)}.items():
        at_iteration(iteration)
        temperature, kl_weight = model.schedule()
        assert kl_weight == pytest.approx(values[1])
        assert values[0] is None or temperature == pytest.approx(values[0])


def test_dalle_vae__codebook_from_data_gives_every_id_its_patch():
    torch.manual_seed(0)
    encoder, decoder, x = DalleEncoder(8, 1, VOCAB), DalleDecoder(8, 1, VOCAB, 16), torch.rand(4, 3, 32, 32)
    features = []
    encoder.head.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    set_codebook_from_data(encoder, decoder, x, spread=6.0)
    logits = encoder(squeeze_range(x)).permute(0, 2, 3, 1).flatten(0, 2)  # (64, VOCAB)
    assert len(set(logits.argmax(1).tolist())) == VOCAB
    assert (logits - logits.mean(1, keepdim=True)).std().item() == pytest.approx(6.0, rel=1e-3)
    flat = features[0].permute(0, 2, 3, 1).flatten(0, 2)
    normal = (flat - flat.mean(0)) / (flat.std(0) + 1e-3 * flat.std())
    cosine = logits / normal.norm(dim=1, keepdim=True)  # but for a common factor
    own = cosine.argmax(0)  # the patch that each id was made from
    expected = F.normalize(normal) @ F.normalize(normal[own]).T
    assert torch.allclose(cosine / cosine.max(), expected, atol=1e-4)
    assert decoder.stem.weight.std().item() == pytest.approx(1.0)


def test_dalle_vae__sets_the_codebook_once_and_not_after_loading(tmp_path):
    at_iteration(0)
    inputs = Clips(frames=torch.randint(0, 256, (4, 3, 2, 32, 32), dtype=torch.uint8))
    model = DalleVAE(VOCAB, 8, num_blocks=1, codebook_init='data')
    before = model.encoder.head.weight.clone()
    model(inputs, mode='loss')
    set_once = model.encoder.head.weight.clone()
    assert not torch.equal(before, set_once)
    model(inputs, mode='loss')
    assert torch.equal(model.encoder.head.weight, set_once)
    other = DalleVAE(VOCAB, 8, num_blocks=1, codebook_init='data')
    other.load_state_dict(model.state_dict())
    other(inputs, mode='loss')
    assert torch.equal(other.encoder.head.weight, set_once)


@pytest.fixture
def one_thread():
    """Threads of tiny convolutions mostly wait for each other, which on a busy machine takes a hundred times as long."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def test_dalle_vae__learns_and_becomes_a_tokenizer(tmp_path, one_thread):
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (8, 3, 2, 4, 4))  # plain patches of 8 x 8, each in a colour of its own
    frames = frames.repeat_interleave(8, -1).repeat_interleave(8, -2).byte()
    model = DalleVAE(VOCAB, 16, num_blocks=1, input_dims=16, temperature_iters=100, kl_weight=0.0, kl_iters=1,
                     usage_weight=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for iteration in range(60):
        at_iteration(iteration)
        losses = model(dict(video=Clips(frames=frames)), mode='loss')
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    pictures = frames.transpose(1, 2).flatten(0, 1) / 255
    error = F.mse_loss(model(Clips(frames=frames), mode='predict'), pictures)
    assert error < 0.7 * pictures.var((0, 2, 3)).mean()  # 1 is what the mean colour alone explains
    assert losses['codebook_use'] >= 0.25
    model.save_tokenizer(tmp_path / 'tokenizer.safetensors')
    tokenizer = DalleTokenizer(tmp_path / 'tokenizer.safetensors')
    with torch.no_grad():
        tokens = model(Clips(frames=frames), mode='tensor')
        assert torch.equal(tokenizer(frames / 255).flatten(0, 1), tokens)
        decoded = tokenizer.decode(tokens[:, None])[:, :, 0]
        assert torch.allclose(decoded, model(Clips(frames=frames), mode='predict'), atol=1e-5)


def test_dalle_vae__says_what_is_wrong():
    model = DalleVAE(VOCAB, 8)
    with pytest.raises(ValueError, match="'video' brings none"):
        model(dict(video=Clips()), mode='loss')
    with pytest.raises(ValueError, match='one size, multiples of 8'):
        model(Clips(frames=torch.zeros(1, 3, 1, 12, 16, dtype=torch.uint8)), mode='loss')
    with pytest.raises(ValueError, match="'loss', 'tensor' or 'predict'"):
        model(Clips(frames=torch.zeros(1, 3, 1, 16, 16, dtype=torch.uint8)), mode='other')
    with pytest.raises(ValueError, match='codebook_init'):
        DalleVAE(VOCAB, 8, codebook_init='kmeans')
    with pytest.raises(ValueError, match='hidden_dims must divide by 4'):
        DalleVAE(VOCAB, 10)
