from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from mmengine.runner import Runner
from torch import nn

from ssvideo.engine.hooks import PicturesHook, SaveTokenizerHook
from ssvideo.models.layers.perceptual import PerceptualNetwork
from ssvideo.models.tokenizers import PecoTokenizer, PecoVQVAE
from ssvideo.models.tokenizers.codebook_signals import codebook_signals, num_dead_codes
from ssvideo.structures import Clips

VOCAB, PROCESSES = 12, 2
PERCEPTUAL = dict(name='resnet18', layers=(1,), random_weights=True)


def trainer(**changes) -> PecoVQVAE:
    torch.manual_seed(0)
    sizes = dict(vocab_size=VOCAB, code_dims=6, widths=(4, 8, 8, 12), num_blocks=1, attention=False)
    return PecoVQVAE(**dict(perceptual=None, codebook_init='random', dead_code_threshold=0.0) | sizes | changes).train()


def pictures(num: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.rand(num, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def features_of(model: PecoVQVAE, batch: torch.Tensor) -> torch.Tensor:
    """``(tokens, C)``"""
    return model.encoder(batch).permute(0, 2, 3, 1).flatten(0, 2)


@pytest.mark.parametrize('pixel_distance', ['l1', 'l2'])
def test_peco_vqvae__loss_is_the_sum_of_its_terms(pixel_distance):
    model = trainer(perceptual=PERCEPTUAL, pixel_distance=pixel_distance, perceptual_weight=0.5, commitment_weight=0.3)
    nn.init.normal_(model.encoder.head.weight)
    batch, codebook = pictures(), model.codebook.clone()
    terms = model(Clips(frames=(batch * 255).round().byte().unsqueeze(2)), mode='loss')
    batch = (batch * 255).round() / 255
    z = features_of(model, batch)
    tokens = torch.cdist(z.double(), codebook.double()).argmin(1)
    codes = codebook[tokens].view(4, 4, 4, 6).permute(0, 3, 1, 2)
    rebuilt = model.decoder(codes).detach()
    error = (rebuilt - batch).double()
    pixels = error.abs().mean() if pixel_distance == 'l1' else error.square().mean()
    assert terms['loss_pixels'].item() == pytest.approx(pixels.item(), rel=1e-4)
    assert terms['loss_commitment'].item() == pytest.approx(0.3 * (z - codebook[tokens]).square().mean().item(), rel=1e-4)
    distance = PerceptualNetwork(**PERCEPTUAL)(rebuilt, batch).item()
    assert terms['loss_perceptual'].item() == pytest.approx(0.5 * distance, rel=1e-3)
    mse = (rebuilt.clamp(0, 1) - batch).square().mean()
    assert terms['psnr'].item() == pytest.approx(10 * (1 / mse).log10().item(), rel=1e-4)
    shares = torch.bincount(tokens, minlength=VOCAB) / 64
    assert terms['codebook_use'].item() == pytest.approx((shares > 0).float().mean().item())
    perplexity = 2 ** -(shares * shares.clamp_min(1e-9).log2()).sum().item()
    assert terms['codebook_perplexity'].item() == pytest.approx(perplexity, rel=1e-4)
    assert [name for name in terms if 'loss' in name] == ['loss_pixels', 'loss_commitment', 'loss_perceptual']


def test_peco_vqvae__gradients_pass_straight_through():
    """The encoder is given the gradient of the codes, as if nothing were between them."""
    model = trainer(commitment_weight=0.0)
    batch, kept = pictures(), {}

    def keep(name):
        def hook(module, args, out=None):
            kept[name] = out if out is not None else args[0]
            kept[name].retain_grad()
        return hook

    model.encoder.register_forward_hook(keep('features'))
    model.decoder.register_forward_pre_hook(keep('codes'))
    model.loss(batch)['loss_pixels'].backward()
    assert not torch.allclose(kept['features'], kept['codes'])
    assert kept['features'].grad.abs().max() > 0
    assert torch.equal(kept['features'].grad, kept['codes'].grad)


@torch.no_grad()
def test_peco_vqvae__codes_are_moving_averages():
    """N = g N + (1 - g) n, m = g m + (1 - g) sum z, code = m / N."""
    decay = 0.8
    model = trainer(decay=decay)
    nn.init.normal_(model.encoder.head.weight)
    sizes, sums = torch.ones(VOCAB).double(), model.codebook.double().clone()
    for step in range(3):
        batch = pictures(seed=step)
        z = features_of(model, batch).double()
        tokens = torch.cdist(z, model.codebook.double()).argmin(1)
        model.loss(batch)
        for code in range(VOCAB):
            mine = z[tokens == code]
            sizes[code] = decay * sizes[code] + (1 - decay) * len(mine)
            sums[code] = decay * sums[code] + (1 - decay) * mine.sum(0)
        assert torch.allclose(model.cluster_sizes.double(), sizes, rtol=1e-4)
        assert torch.allclose(model.codebook.double(), sums / sizes[:, None], atol=1e-3)
    assert model.codebook.std() > 0.01


@torch.no_grad()
@pytest.mark.parametrize('code_distance', ['euclidean', 'cosine'])
def test_peco_vqvae__dead_codes_become_features_of_the_batch(code_distance):
    plain = torch.full((4, 3, 32, 32), 0.3)  # few different features, so that most codes are out of use
    dying, reviving = (trainer(decay=0.5, dead_code_threshold=threshold, code_distance=code_distance)
                       for threshold in (0.0, 0.3))
    z = features_of(reviving, plain)
    z = F.normalize(z) if code_distance == 'cosine' else z

    assert reviving.loss(plain)['codebook_dead'] == 0  # sizes begin at 1, of which half is left
    found = reviving.loss(plain)
    fresh = reviving.cluster_sizes == torch.tensor(0.3)
    assert fresh.sum() == found['codebook_dead'] >= VOCAB / 2
    assert torch.cdist(reviving.codebook[fresh], z).min(1).values.max() < 1e-3

    for _ in range(12):
        dead, alive = dying.loss(plain), reviving.loss(plain)
    assert dead['codebook_dead'] >= VOCAB / 2
    assert alive['codebook_use'] > 1.5 * dead['codebook_use']
    assert torch.cdist(dying.codebook, z).min(1).values.max() > 1e-2, 'without a threshold dead codes stay where they were'


@torch.no_grad()
def test_peco_vqvae__kmeans_sets_the_codebook_once_and_not_after_loading():
    model = trainer(codebook_init='kmeans', decay=0.0)
    model.loss(pictures(8))
    assert model.codebook.unique(dim=0).shape[0] == VOCAB
    z = features_of(model, pictures(8))
    nearest = torch.cdist(z, model.codebook).min(1).values
    assert nearest.mean() < 0.8 * (z - z.mean(0)).norm(dim=1).mean(), 'the codes are centres of the features'
    model = trainer(codebook_init='kmeans', decay=0.99)
    model.loss(pictures(8))
    other = trainer(codebook_init='kmeans', decay=0.99)
    other.load_state_dict(model.state_dict())
    for copy in (model, other):
        copy.loss(pictures(seed=5))
    assert torch.equal(model.codebook, other.codebook)


@torch.no_grad()
@pytest.mark.parametrize('code_distance', ['euclidean', 'cosine'])
def test_peco_vqvae__tokenizes_as_it_trains(code_distance, tmp_path):
    model = trainer(code_distance=code_distance, codebook_init='kmeans', decay=0.9)
    for step in range(3):
        model.loss(pictures(seed=step))
    if code_distance == 'cosine':
        assert torch.allclose(model.codebook.norm(dim=1), torch.ones(VOCAB), atol=1e-5)
    model.eval()
    codes, expected, _ = model.quantizer(model.encoder(pictures()))
    tokens = model.tokenize(pictures())
    assert torch.equal(tokens, expected) and tokens.unique().numel() > 3
    assert torch.allclose(model.decode(tokens), model.decoder(codes).clamp(0, 1), atol=1e-6)
    model.save_tokenizer(tmp_path / 'peco.safetensors')
    assert torch.equal(PecoTokenizer(tmp_path / 'peco.safetensors').tokens_of(pictures()), tokens)


def test_peco_vqvae__checkpoints_leave_the_perceptual_network_out():
    model = trainer(perceptual=PERCEPTUAL)
    state = model.state_dict()
    assert not any(name.startswith('perceptual') for name in state)
    assert {name.split('.')[0] for name in state} == {'encoder', 'decoder', 'quantizer'}
    model.load_state_dict(state)


def test_peco_vqvae__learns(one_thread):
    frames = torch.randint(0, 256, (8, 3, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    frames = frames.repeat_interleave(8, -1).repeat_interleave(8, -2).byte()  # plain patches, each in a colour of its own
    model = trainer(vocab_size=32, code_dims=8, widths=(8, 16, 16, 16), codebook_init='kmeans', decay=0.9,
                    dead_code_threshold=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(60):
        losses = model(dict(video=Clips(frames=frames)), mode='loss')
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()
    batch = frames.transpose(1, 2).flatten(0, 1) / 255
    model.eval()
    error = F.mse_loss(model(Clips(frames=frames), mode='predict'), batch)
    assert error < 0.5 * batch.var((0, 2, 3)).mean()  # 1 is what the mean colour alone explains
    assert losses['codebook_use'] >= 0.5


def test_peco_vqvae__hooks_write_the_tokenizer_and_pictures(tmp_path):
    data = torch.randint(0, 256, (8, 1, 3, 1, 16, 16), dtype=torch.uint8)
    runner = Runner(
        trainer(codebook_init='kmeans'), str(tmp_path),
        train_dataloader=dict(dataset=[dict(inputs=picture) for picture in data], batch_size=4,
                              sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=1), optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        custom_hooks=[SaveTokenizerHook(out='peco.safetensors')], default_hooks=dict(checkpoint=None),
        experiment_name=f'peco_{tmp_path.name}')
    runner.train()
    tokenizer = PecoTokenizer(tmp_path / 'peco.safetensors')
    assert torch.equal(tokenizer.codebook, runner.model.codebook)
    hook = PicturesHook()
    hook.after_train_iter(runner, 0, dict(image=dict(inputs=list(data[:3]))))  # a batch as StreamTrainLoop gives it
    hook.draw(runner)
    assert (tmp_path / 'pictures' / 'reconstruction.png').stat().st_size > 1000


def test_peco_vqvae__says_what_is_wrong():
    model = trainer()
    with pytest.raises(ValueError, match="PecoVQVAE learns from frames, and the stream 'video' brings none"):
        model(dict(video=Clips()), mode='loss')
    with pytest.raises(ValueError, match='one size, multiples of 8'):
        model(Clips(frames=torch.zeros(1, 3, 1, 12, 16, dtype=torch.uint8)), mode='loss')
    with pytest.raises(ValueError, match="'loss', 'tensor' or 'predict'"):
        model(Clips(frames=torch.zeros(1, 3, 1, 16, 16, dtype=torch.uint8)), mode='other')
    for name in ('pixel_distance', 'code_distance', 'codebook_init'):
        with pytest.raises(ValueError, match=f"PecoVQVAE: {name} must be one of .*, got 'ssim'"):
            trainer(**{name: 'ssim'})
    with pytest.raises(ValueError, match=r'decay in \[0, 1\)'):
        trainer(decay=1.0)
    with pytest.raises(ValueError, match='random_weights=True'):
        trainer(perceptual=dict(name='resnet18', layers=(1,)))


# ------------------------------------------------------------------------------------------------------------- signals

def test_codebook_signals__even_and_uneven_use():
    even = codebook_signals(torch.arange(6).view(2, 3), 12)
    assert even['codebook_use'].item() == 0.5 and even['codebook_perplexity'].item() == pytest.approx(6)
    uneven = codebook_signals(torch.tensor([0, 0, 0, 1]), 4)
    entropy = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log())
    assert uneven['codebook_perplexity'].item() == pytest.approx(entropy.exp().item())


def test_num_dead_codes__counts_the_unused_and_the_just_revived():
    sizes = torch.tensor([100.0, 0.5, 0.2, 0.21, 3.0])  # a hundredth of the mean is 0.208
    assert num_dead_codes(sizes, 0.0) == 1
    assert num_dead_codes(sizes, 0.5) == 3


# ------------------------------------------------------------------------------------------------------- two processes

def codebooks_after(batches: list[torch.Tensor], **changes) -> dict[str, torch.Tensor]:
    model = trainer(**changes)
    nn.init.normal_(model.encoder.head.weight, generator=torch.Generator().manual_seed(2))
    if dist.is_initialized():
        torch.manual_seed(dist.get_rank())  # features are drawn differently
    with torch.no_grad():
        for batch in batches:
            model.loss(batch)
    return dict(codebook=model.codebook.clone(), sizes=model.cluster_sizes.clone())


CASES = dict(
    plain=dict(decay=0.5),
    reviving=dict(decay=0.5, dead_code_threshold=3.0),
    kmeans=dict(decay=0.5, dead_code_threshold=1.0, codebook_init='kmeans'),
    cosine=dict(decay=0.5, dead_code_threshold=1.0, codebook_init='kmeans', code_distance='cosine'))


def one_of_two_processes(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=PROCESSES)
    batches = [pictures(4, seed).chunk(PROCESSES)[rank] for seed in range(3)]
    torch.save({name: codebooks_after(batches, **changes) for name, changes in CASES.items()}, f'{folder}/{rank}.pth')
    dist.barrier()
    dist.destroy_process_group()


def test_peco_vqvae__two_processes_keep_one_codebook(tmp_path):
    """Equal after revival and k-means, too; and without them, that of one process with all pictures."""
    mp.spawn(one_of_two_processes, args=(str(tmp_path),), nprocs=PROCESSES)
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(PROCESSES))
    for case in CASES:
        assert first[case]['codebook'].std() > 0.01
        for name in ('codebook', 'sizes'):
            assert torch.equal(first[case][name], second[case][name]), (case, name)
    assert (first['reviving']['sizes'] == 3.0).any(), 'some codes were revived'
    alone = codebooks_after([pictures(4, seed) for seed in range(3)], **CASES['plain'])
    for name, value in alone.items():
        torch.testing.assert_close(first['plain'][name], value, atol=1e-5, rtol=1e-4)
