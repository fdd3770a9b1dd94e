"""HOG against plain loops over pixels, the ViT's contract, and training in a ``Pretrainer``."""
from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from plugins.maskfeat import HogRegression, HogTargets, LastMap, MaskTokenViT
from plugins.maskfeat.hog import oriented_gradients
from plugins.maskfeat.hog_regression import explained_share
from ssvideo.contracts import check_backbone, check_objective, check_tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import MaskedTokens

FOLDER = Path(__file__).parent
SOBEL = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]


def mirrored(index: int, size: int) -> int:
    """Beyond a border the picture is mirrored, without the border's own pixel."""
    return -index if index < 0 else 2 * size - 2 - index if index >= size else index


def hog_of_cell(plane: list[list[float]], top: int, left: int, cell: int, num_bins: int) -> list[float]:
    """One histogram of one colour, pixel by pixel."""
    height, width, bins = len(plane), len(plane[0]), [0.0] * num_bins
    for y in range(top, top + cell):
        for x in range(left, left + cell):
            window = [[plane[mirrored(y + i, height)][mirrored(x + j, width)] for j in (-1, 0, 1)] for i in (-1, 0, 1)]
            across = sum(SOBEL[i][j] * window[i][j] for i in range(3) for j in range(3))
            down = sum(SOBEL[j][i] * window[i][j] for i in range(3) for j in range(3))
            turns = math.atan2(across, down) % math.pi / math.pi  # a direction and its opposite are one
            bins[int(turns * num_bins) % num_bins] += math.hypot(across, down)
    norm = math.sqrt(sum(value ** 2 for value in bins))
    return [value / norm for value in bins]


@pytest.mark.parametrize(('num_bins', 'cell'), [(9, 8), (6, 4)])
def test_hog__matches_loops_over_pixels(num_bins, cell):
    pictures = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)).double()
    found = oriented_gradients(pictures, num_bins, cell)
    assert found.shape == (2, 16 // cell, 24 // cell, 3, num_bins)
    for m, colour, row, column in [(0, 0, 0, 0), (1, 2, 1, 2), (0, 1, 0, 2), (1, 0, 1, 0)]:
        expected = hog_of_cell(pictures[m, colour].tolist(), row * cell, column * cell, cell, num_bins)
        assert found[m, row, column, colour].tolist() == pytest.approx(expected, abs=1e-4)


def test_hog__a_ramp_is_one_bin_and_its_negative_the_same():
    """The gradient of a ramp points one way; turning the ramp by k bins fills bin k."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing='ij')
    for k in range(9):
        angle = (k + 0.5) * math.pi / 9  # of the gradient, from the vertical
        ramp = (math.sin(angle) * x + math.cos(angle) * y).expand(1, 3, 16, 16)
        for picture in (ramp, -3 * ramp + 7):
            inner = oriented_gradients(picture, cell=4)[0, 1:3, 1:3]  # the mirrored border bends the ramp
            assert torch.allclose(inner, torch.eye(9)[k].expand_as(inner), atol=1e-5)
    assert oriented_gradients(torch.full((1, 3, 8, 8), 0.3)).abs().max() == 0, 'a plain cell has no direction, and no NaN'


def test_hog__min_norm_keeps_edges_and_damps_noise():
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 0.5
    noise = torch.randint(2, (1, 3, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    assert torch.equal(oriented_gradients(edge, min_norm=31.9), oriented_gradients(edge)), 'its norm is 64 x 0.5'
    assert torch.allclose(oriented_gradients(edge, min_norm=64.0), oriented_gradients(edge) / 2)
    damped = oriented_gradients(noise, min_norm=2.0)
    assert 0.05 < damped.norm(dim=-1).mean() < 0.3
    assert torch.allclose(F.normalize(damped, dim=-1), oriented_gradients(noise), atol=1e-5)


def test_hog__autocast_does_not_coarsen_it():
    pictures = torch.rand(1, 3, 16, 16)
    expected = oriented_gradients(pictures)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(oriented_gradients(pictures), expected)


@pytest.mark.parametrize('stride', [(1, 8, 8), (2, 16, 8)])
def test_hog_targets__fulfil_the_contract(stride):
    check_tokenizer(HogTargets(stride))


def test_hog_targets__are_the_cells_of_each_patch_in_the_first_of_its_frames():
    pixels = torch.rand(2, 3, 4, 32, 48)
    targets = HogTargets((2, 16, 16))
    found = targets(pixels)
    assert targets.target_dims == 2 * 2 * 3 * 9 == 108
    for n, t, h, w in [(0, 0, 0, 0), (1, 1, 1, 2), (0, 1, 0, 1)]:
        cells = oriented_gradients(pixels[n:n + 1, :, 2 * t])[0, 2 * h:2 * h + 2, 2 * w:2 * w + 2]
        assert torch.equal(found[n, t, h, w], cells.flatten())
    assert targets(pixels[:, :, :1]).shape == (2, 1, 2, 3, 108), 'an image is a clip of one frame'
    with pytest.raises(ValueError, match=r'multiples of cell.*got stride=\(1, 12, 16\)'):
        HogTargets((1, 12, 16))


def test_hog_targets__pictures_show_strokes_along_edges():
    """A vertical edge is drawn as a vertical stroke, a horizontal one as a horizontal stroke, in the colour that has it."""
    pixels = torch.zeros(1, 3, 1, 8, 16)
    pixels[:, 0, :, :, 4:8] = 1.0  # red: an edge from top to bottom in the left cell
    pixels[:, 2, :, 4:, 8:] = 1.0  # blue: one from left to right in the right cell
    targets = HogTargets((1, 8, 8), num_bins=18)
    red, _, blue = targets.decode(targets(pixels))[0, :, 0]
    assert red[:, 3:5].mean() > 3 * red[:, :2].mean()
    assert blue[3:5, 8:].mean() > 3 * blue[:2, 8:].mean()


def vit(**changes) -> MaskTokenViT:
    torch.manual_seed(0)
    return MaskTokenViT(**dict(grid=(2, 4, 4), patch_size=(2, 4, 4), embed_dims=32, num_layers=2, num_heads=4) | changes)


def test_mask_token_vit__fulfils_the_contract():
    check_backbone(vit(), torch.rand(2, 3, 4, 16, 16), (2, 4, 4))


def test_mask_token_vit__positions_fit_another_grid_and_errors_say_what_to_do():
    small, large = vit(), vit(grid=(4, 8, 8))
    large.load_state_dict(small.state_dict())
    expected = torch.nn.functional.interpolate(small.positions.height.t()[None], size=8, mode='linear')[0].t()
    assert torch.allclose(large.positions.height, expected)
    with pytest.raises(ValueError, match=r'needs pixels \(N, 3, \*\(4, 16, 16\)\), got \(1, 3, 4, 16, 24\)'):
        small(torch.rand(1, 3, 4, 16, 24))
    with pytest.raises(ValueError, match=r'a mask must be \(1, 2, 4, 4\)'):
        small(torch.rand(1, 3, 4, 16, 16), torch.ones(1, 4, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match='does not divide into 5 heads'):
        vit(num_heads=5)


def targets_of(tokenizer: HogTargets, pixels: torch.Tensor) -> MaskedTokens:
    tokens = tokenizer(pixels)
    mask = torch.rand(tokens.shape[:4], generator=torch.Generator().manual_seed(0)) < 0.4
    return MaskedTokens(tokens=tokens, mask=mask, positions=mask.flatten().nonzero().squeeze(1))


def test_hog_regression__fulfils_the_contract_and_is_the_mean_square():
    backbone, tokenizer = vit(patch_size=(2, 8, 8)), HogTargets((2, 8, 8))
    objective = HogRegression(backbone, tokenizer, decoder=dict(type='LastMap'))
    pixels = torch.rand(2, 3, 4, 32, 32)
    masked = targets_of(tokenizer, pixels)
    features = backbone(pixels, masked.mask)
    check_objective(objective, features, masked)
    terms = objective(features, masked)
    predicted = objective.head(backbone.norm(features.maps[0]))[masked.mask]
    expected = (predicted - masked.tokens[masked.mask]).square().mean()
    assert terms['loss'].item() == pytest.approx(expected.item(), rel=1e-4)
    spread = masked.tokens[masked.mask].var(0, unbiased=False).mean()
    assert terms['explained'].item() == pytest.approx(1 - (expected / spread).item(), abs=1e-3)


def test_explained_share__is_1_for_the_truth_and_0_for_the_mean():
    targets = torch.rand(5, 3)
    assert explained_share(targets, targets).item() == 1
    assert explained_share(targets.mean(0).expand(5, 3), targets).item() == pytest.approx(0, abs=1e-6)
    assert explained_share(targets[:1], targets[:1]).item() == 0


def test_hog_regression__says_what_does_not_fit():
    with pytest.raises(ValueError, match='needs a tokenizer with continuous targets.*got NoneType'):
        HogRegression(vit(), None, decoder=dict(type='LastMap'))
    with pytest.raises(ValueError, match=r'VideoSwin.norm is .* and the decoder makes 16 channels'):
        swin = MODELS.build(dict(type='VideoSwin', embed_dims=8, depths=(1, 1, 1), num_heads=(1, 1, 1)))
        swin.channels = swin.channels[:2]
        HogRegression(swin, HogTargets(), decoder=dict(type='LastMap'))
    with pytest.raises(ValueError, match=r'the token grid is \(2, 2, 2\), but the last map has \(2, 4, 4\)'):
        LastMap((32,))((torch.rand(1, 2, 4, 4, 32),), (2, 2, 2))


@pytest.mark.parametrize('name', ['config_small.py', 'config_small_vit.py'])
def test_maskfeat__learns_as_configured(name):
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(FOLDER / name).model)
    frames = torch.randint(256, (2, 3, 8, 64, 64), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(video=dict(inputs=list(frames[:, None]))))['inputs']
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = []
    for _ in range(6):
        losses = model(inputs, mode='loss')
        optimizer.zero_grad()
        losses['video_hog_loss'].backward()
        optimizer.step()
        history.append(losses['video_hog_loss'].item())
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert history[0] == pytest.approx(1 / 9, abs=0.04), 'a histogram of 9 bins has norm 1, and the first predictions are about 0'
    assert history[-1] < 0.7 * history[0]


@pytest.mark.parametrize(('name', 'dims', 'grid'), [('config.py', 108, (8, 14, 14)), ('config_vit.py', 108, (1, 14, 14))])
def test_maskfeat__recipes_step_when_shrunk(name, dims, grid):
    model = Config.fromfile(FOLDER / name).model
    small = dict(num_layers=1) if 'ViT' in model.backbone.type else dict(depths=(1, 1, 1, 1))
    model.backbone.update(**small, embed_dims=24, num_heads=(1, 1, 2, 2) if 'depths' in small else 2)
    model = MODELS.build(model)
    assert model.tokenizers['tokenizer'].target_dims == dims
    (stream,) = model.maskers
    frames = torch.randint(256, (1, 3, grid[0] * model.backbone.token_stride[0], 224, 224), dtype=torch.uint8)
    inputs = model.data_preprocessor({stream: dict(inputs=[frames])})['inputs']
    assert model.token_grid(inputs[stream]) == grid
    model.parse_losses(model(inputs, mode='loss'))[0].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
