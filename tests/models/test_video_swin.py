"""Video Swin against mmaction2's, against itself as an image model, and its ways of hiding."""
from __future__ import annotations

import functools
import math
import re

import pytest
import torch
import torch.nn.functional as F

from ssvideo.models.backbones.swin_weights import adapt_swin
from ssvideo.models.backbones.video_swin import VideoSwin
from ssvideo.models.layers.windows import windows_of

SMALL = {'embed_dims': 8, 'depths': (2, 1, 2, 2), 'num_heads': (1, 2, 4, 8)}
OURS_ONLY = ('patch_embed_2d', 'mask_embedding')


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def build(window=(4, 7, 7), **changes):
    return VideoSwin(**{**SMALL, 'window_size': window, 'drop_path_rate': 0.0, **changes})


def scatter(model):
    """Give every parameter a value that shows: fresh biases are zero."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@functools.cache
def reference(window=(4, 7, 7)):
    from mmaction.models import SwinTransformer3D  # importable once ssvideo is
    torch.manual_seed(0)
    arch = {key: list(value) if isinstance(value, tuple) else value for key, value in SMALL.items()}
    return scatter(SwinTransformer3D(arch, pretrained2d=False, window_size=window, drop_path_rate=0.0))


@pytest.mark.parametrize('shape', [
    (2, 3, 16, 28, 28), (1, 3, 4, 112, 56), (2, 3, 7, 61, 45), (1, 3, 1, 64, 36)],
    ids=['shifted in time', 'shifted in space', 'odd', 'one frame'])
def test_features_and_gradients__equal_mmaction2(shape):
    theirs, ours = reference(), build(image_stem=False)
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    expected = theirs(pixels)
    features = ours(pixels)
    last = ours.norm(features.maps[-1]).permute(0, 4, 1, 2, 3)
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.summary, expected.mean((2, 3, 4)), atol=1e-4, rtol=1e-4)

    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    names = [name for name, _ in theirs.named_parameters()]
    wanted = torch.autograd.grad((expected * weights).sum(), theirs.parameters())
    mine = dict(ours.named_parameters())
    got = torch.autograd.grad((last * weights).sum(), [mine[name] for name in names])
    for name, a, b in zip(names, got, wanted):
        torch.testing.assert_close(a, b, atol=1e-3 * b.abs().max().item(), rtol=1e-3, msg=lambda m, n=name: f'{n}: {m}')


def test_maps__are_the_stages_before_merging():
    theirs, ours = reference(), build(image_stem=False).eval()
    ours.load_state_dict(theirs.state_dict())
    seen, pixels = [], torch.randn(1, 3, 4, 48, 40)
    hooks = [stage.register_forward_hook(lambda module, args, out: seen.append(out)) for stage in theirs.layers]
    theirs(pixels)
    for hook in hooks:
        hook.remove()
    maps = ours(pixels).maps
    assert [m.shape[-1] for m in maps] == list(ours.channels) == [8, 16, 32, 64]
    for mine, their in zip(maps, seen, strict=True):
        torch.testing.assert_close(mine, their, atol=1e-4, rtol=1e-4)


def test_state_dict__moves_both_ways_strictly():
    theirs, ours = reference(), build()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    back = {name: value for name, value in ours.state_dict().items() if not name.startswith(OURS_ONLY)}
    indices = {name: value for name, value in theirs.state_dict().items() if name.endswith('relative_position_index')}
    theirs.load_state_dict({**back, **indices}, strict=True)
    assert set(ours.state_dict()) - set(back) == {name for name in ours.state_dict() if name.startswith(OURS_ONLY)}


def test_swin_b__has_the_published_number_of_parameters():
    with torch.device('meta'):
        model = VideoSwin()
    parameters = {name: p.numel() for name, p in model.named_parameters() if not name.startswith(OURS_ONLY)}
    assert round(sum(parameters.values()) / 1e6, 2) == 87.64
    assert model.token_stride == (1, 16, 16)


@pytest.mark.parametrize('grid', [(5, 9, 16), (8, 14, 21), (1, 7, 3)])
@pytest.mark.parametrize('shift', [(0, 0, 0), (2, 3, 3)])
def test_windows__show_each_cell_once(grid, shift):
    windows = windows_of(2, grid, (4, 7, 7), shift, torch.device('cpu'))
    x = torch.rand(2, *grid, 3) + 1
    cut = windows.cut(x)
    assert cut.shape == (2 * windows.num_windows, windows.length, 3)
    assert torch.equal(windows.join(cut, x.shape), x)
    assert cut[cut > 0].numel() == x.numel()  # beyond the grid there are zeros


def test_windows__separate_what_a_shift_wrapped():
    grid, size = (8, 14, 21), (4, 7, 7)
    windows = windows_of(1, grid, size, (2, 3, 3), torch.device('cpu'))
    cells = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing='ij'), -1).unsqueeze(0)
    cells = windows.cut(cells.double())  # (windows, L, 3): where in the grid each cell is
    wrapped = ((cells[:, :, None] - cells[:, None]).abs() >= torch.tensor(size)).any(-1)
    assert torch.equal(windows.apart().squeeze(1), wrapped)
    assert wrapped.any()
    assert windows_of(1, grid, size, (0, 0, 0), torch.device('cpu')).apart() is None
    assert windows_of(1, size, size, (2, 3, 3), torch.device('cpu')).apart() is None  # one window: nothing is shifted


def test_images__of_an_inflated_model_have_the_features_of_the_image_model():
    image_model = scatter(build(window=(1, 7, 7), patch_size=(1, 4, 4))).eval()
    video_model = scatter(build()).eval()
    fitted, lines = video_model.adapt(image_model.state_dict())
    video_model.load_state_dict(fitted, strict=True)
    pixels, mask = torch.randn(2, 3, 1, 64, 80), torch.rand(2, 1, 4, 5) < 0.4
    for a, b in zip(video_model(pixels, mask).maps, image_model(pixels, mask).maps, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    assert any(line.startswith('patch_embed_2d.norm.weight: taken') for line in lines)
    assert any(line.startswith('patch_embed.proj.weight: (8, 3, 1, 4, 4) -> (8, 3, 2, 4, 4)') for line in lines)


def test_inflation__still_clip_gives_the_patches_of_its_frame():
    image_model, video_model = scatter(build(window=(1, 7, 7), patch_size=(1, 4, 4))), build()
    video_model.load_state_dict(image_model.state_dict())
    frame = torch.randn(1, 3, 1, 32, 32)
    torch.testing.assert_close(video_model.patch_embed(frame.expand(-1, -1, 6, -1, -1)),
                               image_model.patch_embed(frame).expand(-1, 3, -1, -1, -1), atol=1e-5, rtol=1e-5)


TABLE = 'layers.1.blocks.0.attn.relative_position_bias_table'


def plane(window):
    """A bias table that is linear in each relative distance, one head the time, the others height and width."""
    axes = [torch.linspace(-1, 1, 2 * size - 1, dtype=torch.double) for size in window]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing='ij')], -1)


@pytest.mark.parametrize('window, other', [((16, 7, 7), (8, 7, 7)), ((8, 7, 7), (8, 12, 12)), ((4, 7, 7), (16, 7, 7))])
def test_adapt__resizes_tables_between_windows(window, other):
    others = {'patch_embed.proj.weight': torch.zeros(8, 3, 2, 4, 4), 'norm3.weight': torch.ones(1)}
    model = {TABLE: plane(window), **others}
    fitted, lines = adapt_swin({TABLE: plane(other), **others}, model, window)
    assert len(lines) == 1 and f'{other} -> {window}' in lines[0]
    centre = len(fitted[TABLE]) // 2
    torch.testing.assert_close(fitted[TABLE][centre], torch.zeros(3).double(), atol=1e-6, rtol=0)  # distance 0 stays
    away = fitted[TABLE] - model[TABLE]
    assert away.abs().max() < 0.12  # linear stays linear, but for the borders of align_corners=False
    assert (fitted[TABLE] + fitted[TABLE].flip(0)).abs().max() < 1e-6  # and odd functions stay odd


@pytest.mark.parametrize('window, other', [((16, 7, 7), (8, 7, 7)), ((8, 7, 7), (16, 7, 7)), ((3, 5, 5), (2, 5, 5))])
def test_adapt__resizes_tables_in_time_as_the_released_bevt_does(window, other):
    """SSv2 is fine-tuned at (16, 7, 7) from tables of (8, 7, 7): trilinear, as mmaction's cells are laid out."""
    sizes, wanted = ([2 * size - 1 for size in shape] for shape in (other, window))
    table = torch.randn(math.prod(sizes), 2)
    others = {'patch_embed.proj.weight': torch.zeros(8, 3, 2, 4, 4), 'norm3.weight': torch.ones(1)}
    fitted, _ = adapt_swin({TABLE: table, **others}, {TABLE: torch.zeros(math.prod(wanted), 2), **others}, window)
    expected = F.interpolate(table.t().view(1, 2, *sizes), size=wanted, mode='trilinear').view(2, -1).t()
    torch.testing.assert_close(fitted[TABLE], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('side', [7, 5, 12])
def test_adapt__inflates_2d_weights_as_mmaction2_does(tmp_path, side):
    """Of the same window, and of others; mmaction2 reads Microsoft's file."""
    from mmaction.models import SwinTransformer3D
    image_model = scatter(build(window=(1, side, side), patch_size=(1, 4, 4)))
    image_weights = {name: value for name, value in image_model.state_dict().items() if not name.startswith(OURS_ONLY)}
    image_weights['patch_embed.proj.weight'] = image_weights['patch_embed.proj.weight'].squeeze(2)
    for leaf in ('weight', 'bias'):
        image_weights[f'norm.{leaf}'] = image_weights.pop(f'norm3.{leaf}')
    torch.save({'model': image_weights}, tmp_path / 'swin.pth')
    arch = {key: list(value) if isinstance(value, tuple) else value for key, value in SMALL.items()}
    theirs = SwinTransformer3D(arch, pretrained=str(tmp_path / 'swin.pth'), pretrained2d=True, window_size=(4, 7, 7))
    theirs.init_weights()
    ours = build(image_stem=False)
    ours.load_state_dict(image_weights)
    for name, value in ours.state_dict().items():
        if not name.startswith(OURS_ONLY):
            torch.testing.assert_close(value, theirs.state_dict()[name], atol=1e-6, rtol=1e-5)


def test_adapt__reads_2d_swin_and_video_swin_names():
    model = build()
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith(OURS_ONLY)}
    weights['norm.weight'], weights['norm.bias'] = weights.pop('norm3.weight') + 1, weights.pop('norm3.bias')
    weights['patch_embed.proj.weight'] = torch.randn(8, 3, 4, 4)
    for name in [n for n in weights if n.endswith('bias_table')]:
        weights[name] = torch.randn(23 * 23, weights[name].shape[1])  # window 12 of Swin at 384 px
    weights['layers.0.blocks.1.attn_mask'] = torch.zeros(1)
    weights['head.weight'] = torch.zeros(1000, 64)
    model.load_state_dict(weights)
    assert torch.equal(model.norm.weight, weights['norm.weight'])
    assert torch.equal(model.patch_embed.proj.weight.sum(2), weights['patch_embed.proj.weight'])
    table = model.layers[0].blocks[0].attn.relative_position_bias_table.view(7, 13, 13)
    assert torch.equal(table[0], table[6])


def test_adapt__gives_a_one_frame_window_the_table_of_distance_0():
    video_model, image_model = scatter(build()), build(window=(1, 7, 7))
    image_model.load_state_dict(video_model.state_dict())
    pixels = torch.randn(1, 3, 1, 64, 64)
    torch.testing.assert_close(image_model(pixels).maps[-1], video_model(pixels).maps[-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('name, value, message', [
    (TABLE, torch.zeros(100, 2), 'table of 100 rows fits no window'),
    (TABLE, torch.zeros(7 * 169, 3), '3 heads do not fit 2'),
    ('patch_embed.proj.weight', torch.zeros(8, 3, 1, 8, 8), 'only patches of one frame')])
def test_adapt__refuses_what_cannot_be_fitted(name, value, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        model.adapt({**model.state_dict(), name: value})


def test_mask__hides_exactly_the_pixels_under_it():
    model = scatter(build()).eval()
    mask = torch.zeros(1, 4, 4, 3, dtype=torch.bool)
    mask[:, 2:4, 1:3, 2] = True
    pixels = torch.randn(1, 3, 4, 64, 48)
    hidden = mask.repeat_interleave(16, 2).repeat_interleave(16, 3).unsqueeze(1)
    changed = torch.where(hidden, torch.randn_like(pixels), pixels)
    expected = model(pixels, mask).maps
    assert all(torch.equal(a, b) for a, b in zip(model(changed, mask).maps, expected, strict=True))
    fine = expected[0]
    assert not torch.allclose(model(changed).maps[0], model(pixels).maps[0], atol=0.1)
    assert not torch.allclose(model(pixels).maps[0], fine, atol=0.1)
    one_more = pixels.clone()
    one_more[:, :, 2, 15, 32] += 1  # just above the mask
    assert not torch.allclose(model(one_more, mask).maps[0], fine, atol=1e-3)


def test_mask__int8_hides_all_but_zero():
    model = scatter(build()).eval()
    pixels, noisy = torch.randn(1, 3, 4, 32, 32), torch.randint(0, 4, (1, 4, 2, 2), dtype=torch.int8)
    noisy = noisy[:, ::2].repeat_interleave(2, 1)
    assert torch.equal(model(pixels, noisy).summary, model(pixels, noisy > 0).summary)


def test_image_stem__is_used_for_one_frame_only():
    model = build()
    with torch.no_grad():
        model.patch_embed_2d.norm.weight.zero_()
        model.patch_embed_2d.norm.bias.zero_()
    assert not model(torch.randn(1, 3, 2, 32, 32)).maps[0].equal(model(torch.randn(1, 3, 2, 32, 32)).maps[0])
    assert model(torch.randn(1, 3, 1, 32, 32)).maps[0].equal(model(torch.randn(1, 3, 1, 32, 32)).maps[0])
    assert build(patch_size=(1, 4, 4)).patch_embed_2d is None


def test_checkpoint_activations__changes_no_gradient():
    plain, thrifty = build(), build(checkpoint_activations=True)
    thrifty.load_state_dict(plain.state_dict())
    pixels = torch.randn(1, 3, 4, 32, 32)
    for model in (plain, thrifty):
        model.train()(pixels).summary.square().sum().backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), thrifty.named_parameters()):
        if not name.startswith(OURS_ONLY):
            torch.testing.assert_close(a.grad, b.grad, msg=lambda m, n=name: f'{n}: {m}')


def test_drop_path__drops_whole_clips_and_keeps_the_mean():
    torch.manual_seed(0)
    block = build(drop_path_rate=0.5).layers[3].blocks[1].train()
    assert block.drop_path == 0.5
    dropped = block._drop(torch.ones(4000, 1, 1, 1, 2))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped[..., 0], dropped[..., 1])
    assert dropped.mean().item() == pytest.approx(1, abs=0.06)
    assert block.eval()._drop(dropped) is dropped


def test_training_after_inference_mode__may_save_the_cached_indices():
    model, pixels = build(), torch.randn(1, 3, 6, 40, 40)
    with torch.inference_mode():
        model(pixels)
    model(pixels).summary.sum().backward()
    assert model.layers[0].blocks[1].attn.relative_position_bias_table.grad.any()


def test_compile__is_one_graph_and_equal():
    torch._dynamo.reset()
    model, pixels = build(depths=(2, 1, 1, 1)), torch.randn(1, 3, 6, 48, 44)
    mask = torch.rand(1, 6, 3, 3) < 0.4
    compiled = torch.compile(model, backend='aot_eager', fullgraph=True, dynamic=False)
    got, expected = compiled(pixels, mask).summary, model(pixels, mask).summary
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    a, b = (torch.autograd.grad(out.square().sum(), model.layers[0].blocks[1].attn.qkv.weight)[0]
            for out in (got, expected))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize('changes, message', [
    ({'depths': (2, 2)}, 'must name the same stages'), ({'num_heads': (3, 2, 4, 8)}, '8 channels does not divide'),
    ({'patch_size': (4, 4)}, 'patch_size must be three positive integers')])
def test_build__refuses_sizes_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_forward__refuses_other_shapes():
    with pytest.raises(ValueError, match=re.escape('got (1, 3, 32, 32); give an image as a clip with T = 1')):
        build()(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match='N = 1 clips'):
        build()(torch.zeros(1, 3, 2, 32, 32), torch.zeros(2, 2, 2, 2, dtype=torch.bool))
