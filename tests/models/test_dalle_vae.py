from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from torch import nn

from ssvideo.models.layers.dalle_blocks import DalleDecoder, DalleEncoder, squeeze_range
from ssvideo.models.tokenizers import DalleTokenizer, DalleVAE
from ssvideo.models.tokenizers.dalle_vae import logit_laplace_nll, set_codebook_from_data
from ssvideo.structures import Clips

VOCAB, NUM_LAYERS = 20, 8


@pytest.fixture(scope='module')
def pictures() -> torch.Tensor:
    return torch.rand(3, 3, 32, 24, generator=torch.Generator().manual_seed(1))


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
