from __future__ import annotations

import math
import tempfile

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ssvideo.models.backbones.base import Backbone
from ssvideo.models.objectives.info_nce import InfoNCE, info_nce
from ssvideo.structures import Features, MaskedTokens

PROCESSES = 2
VIDEOS = 3  # a process
DIMS = 6


def slow_info_nce(embeddings, temperature):
    """Equations 4, 5 and 6 of the paper, term by term."""
    unit = [vector / vector.norm() for vector in embeddings]
    n = len(unit) // 2
    first, second = unit[:n], unit[n:]
    total, right = 0.0, 0
    for anchors, others in ((first, second), (second, first)):
        for i in range(n):
            positive = (anchors[i] @ others[i] / temperature).exp()
            negatives = [(anchors[i] @ anchors[k] / temperature).exp() for k in range(n) if k != i]
            across = [(anchors[i] @ others[k] / temperature).exp() for k in range(n)]
            total = total - (positive / (sum(negatives) + sum(across))).log() / n
            right += bool(positive >= max([*negatives, *across]))
    return temperature * total, right / (2 * n)


def slow_similarities(embeddings):
    """Mean cosine of partners, and of all other pairs."""
    n, cosines = len(embeddings) // 2, {True: [], False: []}
    for i, first in enumerate(embeddings):
        for k, second in enumerate(embeddings):
            if i != k:
                cosines[abs(i - k) == n].append(torch.cosine_similarity(first, second, dim=0).item())
    return [sum(found) / max(len(found), 1) for found in (cosines[True], cosines[False])]


@pytest.mark.parametrize(('n', 'temperature'), [(1, 0.2), (2, 0.2), (7, 0.07), (7, 1.0)])
def test_info_nce__equals_plain_loops(n, temperature):
    torch.manual_seed(n)
    embeddings = torch.randn(2 * n, DIMS, dtype=torch.float64)
    embeddings[n:] += embeddings[:n]  # pairs resemble each other
    fast, slow = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    terms = info_nce(fast, temperature)
    expected, accuracy = slow_info_nce(slow, temperature)
    positive, negative = slow_similarities(slow.detach())
    torch.testing.assert_close(terms['loss'], expected)
    assert terms['accuracy'].item() == pytest.approx(accuracy)
    assert terms['positive_similarity'].item() == pytest.approx(positive)
    assert terms['negative_similarity'].item() == pytest.approx(negative)
    terms['loss'].backward()
    expected.backward()
    torch.testing.assert_close(fast.grad, slow.grad)


def test_info_nce__starts_at_chance():
    """Random vectors in many dimensions: 0.4 ln(2n - 1), 2.22 at n = 128."""
    torch.manual_seed(0)
    loss = info_nce(torch.randn(256, 20000), 0.2)['loss'].item()
    assert loss == pytest.approx(0.4 * math.log(255), abs=0.01)
    assert loss == pytest.approx(2.22, abs=0.01)


def test_info_nce__perfect_pairs():
    assert info_nce(torch.eye(8).repeat(2, 1), 0.01)['accuracy'].item() == 1
    assert info_nce(torch.eye(8).repeat(2, 1), 0.01)['loss'].item() == pytest.approx(0, abs=1e-6)


class Encoder(Backbone):
    """One linear layer, so that a gradient below the contrast can be compared."""
    reads = 'tokens'
    channels = (DIMS,)

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(DIMS, DIMS)

    def forward(self, inputs, mask=None):
        return Features(maps=(), summary=self.linear(inputs))


class Contrast(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = Encoder()
        self.nce = InfoNCE(self.backbone, num_layers=3, hidden_dims=8, out_dims=4, weight=0.5)
        for parameter in self.parameters():  # far from the initial law: gradients of order one
            torch.nn.init.normal_(parameter)

    def forward(self, inputs):
        return self.nce(self.backbone(inputs), pairs_of(len(inputs)))['loss']


def pairs_of(num_clips, num_views=2):
    mask = torch.zeros(num_clips, 1, 1, 1, dtype=torch.bool)
    return MaskedTokens(None, mask, torch.zeros(0, dtype=torch.long), num_views)


def views():
    """(views, all videos, DIMS)"""
    return torch.randn(2, PROCESSES * VIDEOS, DIMS, generator=torch.Generator().manual_seed(5))


def results(model, loss):
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {'loss': loss.detach(), **gradients, **dict(model.named_buffers())}


def one_of_two_processes(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=PROCESSES)
    model = Contrast()
    wrapped = torch.nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    inputs = views()[:, rank * VIDEOS:(rank + 1) * VIDEOS].flatten(0, 1)  # view-major on each process
    loss = wrapped(inputs)
    loss.backward()
    torch.save(results(model, loss), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_info_nce__two_processes_equal_one():
    """Loss, every gradient (below and above the gather), and batch norm's statistics."""
    model = Contrast()
    loss = model(views().flatten(0, 1))
    loss.backward()
    expected = results(model, loss)
    assert expected['backbone.linear.weight'].norm() > 1e-2
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(one_of_two_processes, args=(folder,), nprocs=PROCESSES)
        for rank in range(PROCESSES):
            ours = torch.load(f'{folder}/{rank}.pth', weights_only=True)
            assert ours.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(ours[name], value, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f'{n}: {m}')


def test_info_nce__projector():
    """VIMPAC's: three layers of width 4096 to 256, neither bias nor norm at the end."""
    with torch.device('meta'):
        projector = InfoNCE(Encoder()).projector
    kinds = [type(layer).__name__ for layer in projector]
    assert kinds == ['Linear', 'BatchNorm1d', 'ReLU', 'Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    assert [layer.out_features for layer in projector if hasattr(layer, 'out_features')] == [4096, 4096, 256]
    assert projector[-1].bias is None
    assert len(InfoNCE(Encoder(), num_layers=1).projector) == 1


def test_info_nce__needs_two_views():
    model = Contrast()
    with pytest.raises(ValueError, match='two clips of each video'):
        model.nce(model.backbone(torch.randn(4, DIMS)), pairs_of(4, num_views=1))


def test_info_nce__wrong_arguments():
    with pytest.raises(ValueError, match='num_layers'):
        InfoNCE(Encoder(), num_layers=0)
    with pytest.raises(ValueError, match='temperature'):
        InfoNCE(Encoder(), temperature=0.0)


def test_info_nce__autocast_does_not_coarsen_the_scores():
    torch.manual_seed(0)
    embeddings = torch.randn(16, 64)
    expected = info_nce(embeddings, 0.05)['loss']
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(info_nce(embeddings, 0.05)['loss'], expected)
