"""The parts of VideoMAE equal slow references and published formulas, fulfil the contracts, and train."""
import math
import random
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from plugins.pixel_targets import PixelTargets
from plugins.videomae import MaskTokenDecoder, PatchRegression, RandomTubeMasker, VideoViT, sine_positions
from plugins.videomae.slow_vit import slow_norm, slow_stage
from ssvideo.contracts import check_backbone, check_masker, check_objective, check_tokenizer
from ssvideo.datasets.video_list import build_transform
from ssvideo.engine.launch import check_names
from ssvideo.engine.layer_decay import number_layers
from ssvideo.models.maskers import Random3DMasker
from ssvideo.registry import MODELS
from ssvideo.structures import Clips, Features, MaskedTokens

HERE = Path(__file__).parent
GRID = (2, 3, 4)


@pytest.fixture
def vit():
    """Two blocks of two heads, in float64 and with weights far from where they start."""
    torch.manual_seed(0)
    backbone = VideoViT(patch_size=(2, 4, 4), embed_dims=12, num_layers=2, num_heads=2).double()
    return scatter_weights(backbone)


def scatter_weights(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def clips_and_masks(num_hidden):
    """Pixels of the grid, and a mask for each clip that hides so many random patches."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(len(num_hidden), 3, 4, 12, 16, dtype=torch.float64, generator=generator)
    mask = torch.zeros(len(num_hidden), math.prod(GRID), dtype=torch.bool)
    for row, number in zip(mask, num_hidden):
        row[torch.randperm(len(row), generator=generator)[:number]] = True
    return pixels, mask.view(-1, *GRID)


def slow_patches(pixels, size=(2, 4, 4)):
    """Patches of one clip, by slicing, in the order of the grid."""
    t, h, w = (side // step for side, step in zip(pixels.shape[1:], size))
    return torch.stack([
        pixels[:, i * size[0]:(i + 1) * size[0], j * size[1]:(j + 1) * size[1], k * size[2]:(k + 1) * size[2]].flatten()
        for i in range(t) for j in range(h) for k in range(w)])


def flat_formula(place, dims):
    return torch.tensor([f(place / 10000 ** (2 * i / dims)) for i in range(dims // 2) for f in (math.sin, math.cos)])


# ------------------------------------------------------------------------------------------------------------ backbone


@pytest.mark.parametrize('num_hidden', [(18, 18, 18), (20, 5, 0)], ids=['equal', 'unequal'])
def test_video_vit__equals_each_clip_alone_with_only_its_visible_patches(vit, num_hidden):
    pixels, mask = clips_and_masks(num_hidden)
    found = vit(pixels, mask)
    for n, hidden in enumerate(mask.flatten(1)):
        visible = [place for place in range(len(hidden)) if not hidden[place]]
        tokens = slow_patches(pixels[n])[visible] @ vit.patch_embed.weight.t() + vit.patch_embed.bias
        tokens = tokens + torch.stack([flat_formula(place, 12) for place in visible])
        encoded = slow_stage(vit.layers[0], tokens)
        expected = torch.zeros(len(hidden), 12, dtype=torch.float64)
        expected[visible] = encoded
        torch.testing.assert_close(found.maps[0][n].flatten(0, 2), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.summary[n], slow_norm(vit.norm, encoded).mean(0), rtol=1e-5, atol=1e-5)


def test_video_vit__a_mask_that_hides_nothing_is_no_mask(vit):
    pixels, _ = clips_and_masks((0, 0))
    plain, masked = vit(pixels), vit(pixels, torch.zeros(2, *GRID, dtype=torch.bool))
    torch.testing.assert_close(plain.maps[0], masked.maps[0])
    torch.testing.assert_close(plain.summary, masked.summary)


def test_video_vit__gradients_are_those_of_clips_alone(vit):
    pixels, mask = clips_and_masks((20, 5))
    vit(pixels, mask).summary.square().sum().backward()
    together = {name: parameter.grad.clone() for name, parameter in vit.named_parameters()}
    vit.zero_grad()
    for n in range(2):
        vit(pixels[n:n + 1], mask[n:n + 1]).summary.square().sum().backward()
    for name, parameter in vit.named_parameters():
        torch.testing.assert_close(together[name], parameter.grad, msg=lambda m, name=name: f'{name}: {m}')


def test_video_vit__fulfils_the_contract():
    torch.manual_seed(0)
    backbone = VideoViT(patch_size=(2, 8, 8), embed_dims=16, num_layers=2, num_heads=2, drop_path_rate=0.1)
    check_backbone(backbone, torch.rand(3, 3, 8, 32, 32), (4, 4, 4))


def test_video_vit__an_image_is_a_clip_that_stands_still(vit):
    image = torch.randn(2, 3, 1, 12, 16, dtype=torch.float64)
    torch.testing.assert_close(vit(image).summary, vit(image.repeat(1, 1, 2, 1, 1)).summary)


def test_video_vit__recomputed_activations_give_the_same_gradients(vit):
    pixels, mask = clips_and_masks((6, 6))
    grads = []
    for recompute in (False, True):
        vit.layers[0].checkpoint_activations = recompute
        vit.zero_grad()
        vit(pixels, mask).summary.square().sum().backward()
        grads.append([parameter.grad for parameter in vit.parameters()])
    torch.testing.assert_close(grads[0], grads[1])


def test_video_vit__compiled_is_the_same(vit):
    compiled = torch.compile(vit, backend='eager', dynamic=False)
    pixels, mask = clips_and_masks((20, 5))
    for arguments in ((pixels,), (pixels, mask)):
        expected, found = vit(*arguments), compiled(*arguments)
        torch.testing.assert_close(found.summary, expected.summary)
        torch.testing.assert_close(found.maps[0], expected.maps[0])
    torch.compiler.reset()


def test_video_vit__wrong_input_is_an_error(vit):
    pixels, mask = clips_and_masks((6, 6))
    for words, arguments in [
            ('nothing is visible in clip 1', (pixels, torch.stack([mask[0], torch.ones(GRID, dtype=torch.bool)]))),
            ('do not divide by patches', (pixels[..., :-1],)),
            (r'reads pixels \(N, 3, T, H, W\)', (pixels[:, 0],)),
            ('N = 2 clips', (pixels, mask[:1]))]:
        with pytest.raises(ValueError, match=words):
            vit(*arguments)
    for words, arguments in [
            ('heads do not divide', dict(num_heads=5)), ('positions must be one of', dict(positions='learned')),
            ('three positive integers', dict(patch_size=(2, 16)))]:
        with pytest.raises(ValueError, match=words):
            VideoViT(**dict(dict(embed_dims=12), **arguments))


def test_video_vit__its_layers_are_counted(vit):
    layers = number_layers(torch.nn.ModuleDict(dict(backbone=vit)))
    assert layers['backbone.patch_embed.weight'] == 0
    assert [layers[f'backbone.layers.0.blocks.{i}.norm1.bias'] for i in range(2)] == [1, 2]
    assert layers['backbone.norm.weight'] == 2


# ----------------------------------------------------------------------------------------------------------- positions


def test_sine_positions__flat_equals_the_published_formula():
    table = sine_positions('flat', (2, 3, 5), 10, torch.device('cpu'))
    expected = torch.stack([flat_formula(place, 10) for place in range(30)])
    torch.testing.assert_close(table, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize('dims', [12, 16])
def test_sine_positions__axes_equal_the_published_formula(dims):
    """A third for each axis, rounded up to an even number, then cut; 16 channels give 6, 6 and the first 4 of 6."""
    table = sine_positions('axes', (2, 3, 5), dims, torch.device('cpu')).view(2, 3, 5, dims)
    share = 2 * math.ceil(dims / 6)
    for place in [(0, 0, 0), (1, 2, 4), (1, 0, 3)]:
        expected = [f(index / 10000 ** (i / (share / 2))) for index in place for f in (math.sin, math.cos)
                    for i in range(share // 2)][:dims]
        torch.testing.assert_close(table[place], torch.tensor(expected), atol=1e-6, rtol=0)


# -------------------------------------------------------------------------------------------------------------- masker


@pytest.mark.parametrize(('ratio', 'grid', 'num_hidden'), [
    (0.9, (8, 14, 14), 176), (0.75, (8, 14, 14), 147), (0.9, (4, 2, 2), 3)])
def test_random_tube_masker__hides_the_same_cells_of_every_frame_and_exactly_so_many(ratio, grid, num_hidden):
    mask = RandomTubeMasker(ratio)(grid, 5, random.Random(0))
    assert (mask == mask[:, :1]).all()
    assert (mask[:, 0].flatten(1).sum(1) == num_hidden).all()


def test_random_tube_masker__all_cells_are_hidden_alike_and_independently():
    """1000 draws of 12 of 16 cells: shares of single cells and of pairs lie within 4 or so standard deviations of drawing
    without putting back."""
    draws = RandomTubeMasker(0.75)((1, 4, 4), 1000, random.Random(0)).flatten(1).double()
    pairs = draws.t() @ draws / 1000
    single, pair = 12 / 16, 12 * 11 / (16 * 15)
    assert (pairs.diag() - single).abs().max() < 4 * math.sqrt(single * (1 - single) / 1000)
    off = pairs[~torch.eye(16, dtype=torch.bool)]
    assert (off - pair).abs().max() < 4.5 * math.sqrt(pair * (1 - pair) / 1000)


def test_random_tube_masker__fulfils_the_contract():
    check_masker(RandomTubeMasker(0.9))
    check_masker(RandomTubeMasker(0.5, temporal_stride=2))
    with pytest.raises(ValueError, match='between 0 and 1'):
        RandomTubeMasker(1.0)


# ------------------------------------------------------------------------------------------------------------- targets


def test_pixel_targets__of_colours_apart_equal_a_slow_reference():
    pixels = torch.rand(2, 3, 4, 12, 16, generator=torch.Generator().manual_seed(0))
    tokenizer = PixelTargets((2, 4, 4), colours_apart=True)
    targets = tokenizer(pixels)
    for n in range(2):
        for place, patch in enumerate(slow_patches(pixels[n])):
            colours = [(values - values.mean()) / values.std() for values in patch.view(3, -1)]
            torch.testing.assert_close(targets[n].flatten(0, 2)[place], torch.cat(colours), rtol=1e-3, atol=1e-3)
    check_tokenizer(tokenizer)


# ------------------------------------------------------------------------------------------------- decoder and objective


def test_mask_token_decoder__equals_visible_then_mask_tokens_put_in_order():
    """The published order of the tokens, visible ones first and then all mask tokens, one clip at a time."""
    torch.manual_seed(0)
    decoder = scatter_weights(MaskTokenDecoder((12,), embed_dims=8, num_layers=2, num_heads=2, num_mask_tokens=2).double())
    _, mask = clips_and_masks((18, 7))
    x = torch.randn(2, *GRID, 12, dtype=torch.float64)
    found = decoder(x, mask, mask_token=1)
    for n, hidden in enumerate(mask.flatten(1)):
        visible, masked = (~hidden).nonzero().squeeze(1).tolist(), hidden.nonzero().squeeze(1).tolist()
        seen = x[n].flatten(0, 2)[visible] @ decoder.embed.weight.t()
        tokens = torch.cat([seen, decoder.mask_tokens[1].expand(len(masked), -1)])
        tokens = tokens + torch.stack([flat_formula(place, 8) for place in visible + masked])
        decoded = slow_norm(decoder.norm, slow_stage(decoder.stage, tokens))
        torch.testing.assert_close(found[n].flatten(0, 2)[visible + masked], decoded, rtol=1e-5, atol=1e-5)


def test_mask_token_decoder__does_not_look_at_hidden_positions():
    decoder = scatter_weights(MaskTokenDecoder((12,), embed_dims=8, num_layers=1, num_heads=2))
    _, mask = clips_and_masks((18, 7))
    x = torch.randn(2, *GRID, 12)
    assert torch.equal(decoder(x, mask), decoder(torch.where(mask.unsqueeze(-1), 1e3, x), mask))
    with pytest.raises(ValueError, match='on the token grid'):
        decoder(x[:, :, :2], mask)


def regression(vit, tokenizer):
    return PatchRegression(vit, tokenizer, decoder=dict(type='MaskTokenDecoder', embed_dims=8, num_layers=1, num_heads=2))


def test_patch_regression__equals_the_mean_over_masked_patches_of_a_loop(vit):
    tokenizer = PixelTargets((2, 4, 4), colours_apart=True)
    objective = scatter_weights(regression(vit, tokenizer).double())
    pixels, mask = clips_and_masks((18, 7))
    features, targets = vit(pixels, mask), tokenizer(pixels)
    found = objective(features, MaskedTokens(targets, mask, mask.flatten().nonzero().squeeze(1)))['loss']
    decoded = objective.decoder(slow_norm(vit.norm, features.maps[0].flatten(0, 3)).view(2, *GRID, 12), mask)
    errors = []
    for place in mask.nonzero().tolist():
        predicted = objective.head.weight @ decoded[tuple(place)] + objective.head.bias
        errors.append(((predicted - targets[tuple(place)]) ** 2).mean())
    torch.testing.assert_close(found, torch.stack(errors).mean(), rtol=1e-6, atol=0)


def test_patch_regression__fulfils_the_contract(vit):
    tokenizer = PixelTargets((2, 4, 4))
    objective = regression(vit.float(), tokenizer)
    pixels, mask = clips_and_masks((18, 7))
    targets = tokenizer(pixels.float())
    features = Features((torch.randn(2, *GRID, 12, requires_grad=True),), torch.randn(2, 12, requires_grad=True))
    check_objective(objective, features, MaskedTokens(targets, mask, mask.flatten().nonzero().squeeze(1)))


def test_patch_regression__refuses_ids_and_a_backbone_without_a_norm(vit):
    with pytest.raises(ValueError, match='continuous targets'):
        regression(vit, None)
    vit.norm = torch.nn.Identity()
    with pytest.raises(ValueError, match='final norm'):
        regression(vit, PixelTargets((2, 4, 4)))


# ------------------------------------------------------------------------------------------------------------- the whole


def small_model():
    return MODELS.build(Config.fromfile(HERE / 'config_small.py').model)


def test_config_small__learns():
    torch.manual_seed(0)
    model = small_model()
    stripes = (torch.arange(64) // 4 % 2 * 200).expand(3, 8, 64, 64)  # two of the clips have them, two their negative
    frames = torch.stack([stripes, 200 - stripes] * 2).to(torch.uint8) + torch.randint(50, (4, 3, 8, 64, 64), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(video=dict(inputs=[clip[None] for clip in frames])))['inputs']
    assert inputs['video'].frames.shape == (4, 3, 8, 64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for _ in range(15):
        losses = model(inputs, mode='loss')
        assert losses['video_mask_ratio'] == 0.75
        optimizer.zero_grad()
        losses['video_pixels_loss'].backward()
        optimizer.step()
        history.append(losses['video_pixels_loss'].item())
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    assert history[0] == pytest.approx(1.2, abs=0.5), 'normalised targets have variance 1'
    assert history[-1] < 0.6, 'the same for all clips would be 1'


def test_config_small__never_asks_the_device():
    """On the meta device tensors have no values: whatever needs one on the host fails."""
    with torch.device('meta'):
        model = small_model()
    frames = torch.empty(3, 3, 8, 64, 64, dtype=torch.uint8, device='meta')
    clips = Clips(frames=frames, pixels=frames.float())
    for masker in (model.maskers['video'], Random3DMasker(0.5)):  # as many hidden in each clip, and not
        model.maskers['video'] = masker
        mask = model.draw_mask('video', clips)
        targets = MaskedTokens(torch.empty(*mask.shape, 3 * 2 * 8 * 8, device='meta'), mask.to('meta'),
                               mask.flatten().nonzero().squeeze(1).to('meta'))
        features = model.encode('video', clips, {}, mask)['masked']
        loss = model.objectives['pixels'](features, targets)['loss']
        assert loss.is_meta
        loss.backward()


@pytest.mark.parametrize('name', ['config.py', 'config_finetune_k400.py'])
def test_configs__are_of_the_published_size_and_their_parts_exist(name):
    """VideoMAE's ViT-B, with the classifier's 0.3 M the 87 M of the paper's tables."""
    config = Config.fromfile(HERE / name)
    check_names(config)
    config.model.backbone.pop('init_cfg', None)
    with torch.device('meta'):
        model = MODELS.build(config.model)
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) / 1e6 == pytest.approx(86.2, abs=0.05)
    init_default_scope('mmaction')
    for loader in (config.train_dataloader.get('video', config.train_dataloader), config.get('val_dataloader'),
                   config.get('test_dataloader')):
        for transform in loader.dataset.pipeline if loader else ():
            assert build_transform(transform)
