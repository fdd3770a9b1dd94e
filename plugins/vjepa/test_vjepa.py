"""V-JEPA equals a slow reference; its teacher moves by the published rule, and alone; its masks follow the published draw."""
import math
import random
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope

from plugins.videomae.slow_vit import slow_norm, slow_stage
from plugins.vjepa import VJEPA, MultiBlockMasker, TeacherHook
from ssvideo.apis import load_pretrained
from ssvideo.contracts import check_masker
from ssvideo.datasets.video_list import build_transform
from ssvideo.engine.launch import check_names
from ssvideo.models.frozen_encoder import FrozenEncoder
from ssvideo.registry import MODELS
from ssvideo.structures import Clips
from ssvideo.utils.model_file import ModelFile

HERE = Path(__file__).parent
GRID = (2, 4, 4)
CONFIG = dict(
    type='VJEPA', data_preprocessor=dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3),
    backbone=dict(type='VideoViT', patch_size=(2, 4, 4), embed_dims=12, num_layers=1, num_heads=2, positions='axes'),
    maskers=dict(short=dict(type='MultiBlockMasker', num_blocks=4, scale=0.15),
                 long=dict(type='MultiBlockMasker', num_blocks=2, scale=0.5)),
    predictor=dict(type='MaskTokenDecoder', embed_dims=8, num_layers=1, num_heads=2, positions='axes', embed_bias=True))


@pytest.fixture
def model():
    """In float64; student and teacher differ, and all weights are far from where they start."""
    torch.manual_seed(0)
    model = MODELS.build(CONFIG).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def random_clips(num=3):
    frames = torch.randint(256, (num, 3, 4, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Clips(frames=frames, pixels=(frames.double() - 127.5) / 64)


def slow_patches(pixels):
    """Patches of one clip, by slicing, in the order of the grid."""
    return torch.stack([pixels[:, 2 * i:2 * i + 2, 4 * j:4 * j + 4, 4 * k:4 * k + 4].flatten()
                        for i in range(2) for j in range(4) for k in range(4)])


def slow_positions(dims):
    share = 2 * math.ceil(dims / 6)
    return torch.tensor([[f(index / 10000 ** (i / (share / 2))) for index in (t, h, w) for f in (math.sin, math.cos)
                          for i in range(share // 2)][:dims] for t in range(2) for h in range(4) for w in range(4)])


def slow_encode(backbone, pixels, places):
    """What a backbone makes of some patches of one clip, alone, normalised: ``(K, C)``."""
    tokens = slow_patches(pixels) @ backbone.patch_embed.weight.t() + backbone.patch_embed.bias + slow_positions(12)
    return slow_norm(backbone.norm, slow_stage(backbone.layers[0], tokens[places]))


def slow_predict(model, pixels, hidden, masker):
    """The prediction for one clip: context tokens, then mask tokens, each with its position."""
    visible, masked = (~hidden).nonzero().squeeze(1), hidden.nonzero().squeeze(1)
    predictor = model.predictor
    context = slow_encode(model.student, pixels, visible) @ predictor.embed.weight.t() + predictor.embed.bias
    tokens = torch.cat([context, predictor.mask_tokens[masker].expand(len(masked), -1)])
    tokens = tokens + slow_positions(8)[torch.cat([visible, masked])]
    decoded = slow_norm(predictor.norm, slow_stage(predictor.stage, tokens))[len(visible):]
    return decoded @ model.head.weight.t() + model.head.bias


# --------------------------------------------------------------------------------------------------------------- model


def test_loss__equals_a_loop_over_masks_clips_and_positions(model):
    clips = random_clips()
    model.eval()  # masks then follow the number of the call
    losses = model.loss(dict(video=clips))
    model._num_losses = 0
    everything = torch.arange(32)
    for masker, name in enumerate(('short', 'long')):
        mask = model.draw_mask('video', name, clips).flatten(1)
        errors = []
        for pixels, hidden in zip(clips.pixels, mask):
            latent = slow_encode(model.backbone, pixels, everything)
            targets = torch.stack([(row - row.mean()) / (row.var(correction=0) + 1e-5).sqrt() for row in latent])
            errors += list((slow_predict(model, pixels, hidden, masker) - targets[hidden]).abs().mean(1))
        expected = torch.stack(errors).mean() / 2  # two ways of masking
        torch.testing.assert_close(losses[f'video_{name}_loss'], expected, rtol=1e-5, atol=0)
        assert losses[f'video_{name}_mask_ratio'] == mask.float().mean()


def test_loss__error_is_compared_with_that_of_a_constant(model):
    """Predictions that are the mean of the targets have a relative error of 1."""
    clips = random_clips()
    mask = model.draw_mask('video', 'short', clips)
    positions = mask.flatten().nonzero().squeeze(1)
    targets = model.targets(clips)
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = targets.flatten(0, 3)[positions].mean(0)
    terms = model.masked_terms(clips, mask, targets, 0)
    torch.testing.assert_close(terms['relative_error'], torch.ones((), dtype=torch.float64))
    assert not any(value.requires_grad for name, value in terms.items() if name != 'loss')


def test_predictor__sees_the_context_and_nothing_of_the_targets(model):
    clips = random_clips(2)
    clips.pixels.requires_grad_()
    mask = model.draw_mask('video', 'long', clips)
    model.predict(clips, mask, mask.flatten().nonzero().squeeze(1), 1).square().sum().backward()
    hidden = mask.repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(4, 3).unsqueeze(1).expand_as(clips.pixels)
    assert (clips.pixels.grad[hidden] == 0).all()
    assert (clips.pixels.grad[~hidden] != 0).all()


def test_teacher__gets_no_gradient_and_everything_else_does(model):
    model.train()
    assert not model.backbone.training and model.student.training
    losses = model(dict(video=random_clips()), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith('backbone.'), name
        assert parameter.requires_grad != name.startswith('backbone.'), name
    assert not any('loss' in name for name, value in losses.items() if not value.requires_grad)


def test_teacher__starts_as_the_student():
    model = MODELS.build(CONFIG)
    for name, value in model.student.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value)
        assert model.backbone.state_dict()[name].data_ptr() != value.data_ptr()


def test_teacher__is_the_closed_form_of_an_average(model):
    """After n updates: prod(m) teacher_0 + sum_i (1 - m_i) prod(m after i) student_i."""
    hook, num = TeacherHook(momentum=(0.6, 1.0), stretch=1.25), 5
    expected = math.prod(hook.momentum_at(i, num) for i in range(num)) * model.backbone.patch_embed.weight.detach()
    for i in range(num):
        torch.nn.init.normal_(model.student.patch_embed.weight)
        after = math.prod(hook.momentum_at(j, num) for j in range(i + 1, num))
        expected = expected + (1 - hook.momentum_at(i, num)) * after * model.student.patch_embed.weight.detach()
        model.update_teacher(hook.momentum_at(i, num))
    torch.testing.assert_close(model.backbone.patch_embed.weight, expected)


def test_teacher__momentum_rises_linearly_as_published():
    """V-JEPA: 0.998 + i (1 - 0.998) / (1.25 x steps)."""
    hook = TeacherHook(stretch=1.25)
    for i in (0, 1, 45_000, 89_999):
        assert hook.momentum_at(i, 90_000) == pytest.approx(0.998 + i * 0.002 / 112_500, abs=1e-12)
    for words, arguments in [('two numbers', dict(momentum=(0.9, 1.1))), ('stretch', dict(stretch=0.5))]:
        with pytest.raises(ValueError, match=words):
            TeacherHook(**arguments)


def test_vjepa__a_model_file_gives_the_teacher_to_who_evaluates(tmp_path):
    torch.manual_seed(0)
    model = MODELS.build(CONFIG)
    torch.nn.init.normal_(model.backbone.patch_embed.weight)  # unlike the student
    ModelFile(CONFIG, model.state_dict()).save(tmp_path / 'vjepa.safetensors')
    loaded = load_pretrained(tmp_path / 'vjepa.safetensors')
    assert isinstance(loaded, VJEPA)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    frames = random_clips().frames
    encoder = FrozenEncoder.of(loaded)
    pixels = encoder.clips(dict(inputs=list(frames[:, None]))).pixels
    assert torch.equal(encoder.encode_frames(frames).summary, model.backbone(pixels).summary)
    assert not torch.allclose(model.student(pixels).summary, model.backbone(pixels).summary)


def test_vjepa__wrong_use_is_an_error(model):
    for words, changes in [
            ('reads tokens', dict(backbone=dict(type='DividedTransformer', grid=GRID, embed_dims=12, num_layers=1, num_heads=2))),
            ('at least one masker', dict(maskers={}))]:
        with pytest.raises(ValueError, match=words):
            MODELS.build(CONFIG | changes)
    with pytest.raises(ValueError, match='the batch has none'):
        model.loss(dict(video=Clips(frames=random_clips().frames)))
    with pytest.raises(ValueError, match='mode must be'):
        model(dict(video=random_clips()), mode='predict')


# --------------------------------------------------------------------------------------------------------------- masks


def test_masks__are_a_function_of_seed_iteration_stream_and_masker(model, monkeypatch):
    hub = MessageHub.get_instance('test_vjepa_masks')
    monkeypatch.setattr(MessageHub, 'get_current_instance', classmethod(lambda cls: hub))
    model.maskers['long'] = model.maskers['short']  # so that only the name differs
    clips = random_clips(8)

    def draw(iteration, seed=3, stream='video', masker='short'):
        hub.update_info('iter', iteration)
        hub.update_info('seed', seed)
        return model.draw_mask(stream, masker, clips)

    first = draw(5)
    assert torch.equal(first, draw(5))
    for other in (draw(6), draw(5, seed=4), draw(5, stream='image'), draw(5, masker='long')):
        assert not torch.equal(first, other)


def test_multi_block_masker__one_block_is_a_rectangle_of_the_published_size():
    """Sides are round(sqrt(area x aspect)) and round(sqrt(area / aspect)) of an aspect in 0.75 to 1.5, through all frames."""
    area = int(14 * 14 * 0.15)
    aspects = (0.75 + i / 1000 for i in range(751))
    sizes = {(round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))) for aspect in aspects}
    found = set()
    for mask in MultiBlockMasker(num_blocks=1, scale=0.15)((8, 14, 14), 200, random.Random(0)):
        assert (mask == mask[:1]).all()
        rows, columns = mask[0].any(1).nonzero(), mask[0].any(0).nonzero()
        size = tuple(int(side.max() - side.min()) + 1 for side in (rows, columns))
        assert mask[0].sum() == math.prod(size)
        found.add(size)
    assert found == sizes


@pytest.mark.parametrize(('num_blocks', 'scale', 'side'), [(8, 0.15, 5), (2, 0.7, 12)])
def test_multi_block_masker__cells_are_hidden_as_often_as_independent_uniform_places_say(num_blocks, scale, side):
    """A cell lies in n of k equally likely places of a block, and is visible with probability (1 - n / k) ** num_blocks."""
    draws = MultiBlockMasker(num_blocks, scale, aspect=(1.0, 1.0))((1, 14, 14), 1500, random.Random(0))[:, 0].double()
    starts = 14 - side + 1
    covering = torch.tensor([sum(start <= cell < start + side for start in range(starts)) for cell in range(14)]) / starts
    covering = covering.double()
    expected = 1 - (1 - covering[:, None] * covering) ** num_blocks
    deviation = (expected * (1 - expected) / 1500).sqrt()
    assert ((draws.mean(0) - expected).abs() <= 4.5 * deviation + 1e-9).all()


def test_multi_block_masker__never_hides_everything():
    """Blocks that always cover all leave one random cell, others are drawn again."""
    for scale, fewest in ((1.0, 1), (0.7, 1)):
        masks = MultiBlockMasker(4, scale)((2, 4, 4), 50, random.Random(0))
        assert ((~masks[:, 0]).flatten(1).sum(1) >= fewest).all()


def test_multi_block_masker__fulfils_the_contract():
    check_masker(MultiBlockMasker(8, 0.15))
    check_masker(MultiBlockMasker(2, 0.7, temporal_stride=2))
    for words, arguments in [('num_blocks', (0, 0.5)), ('scale', (1, 1.5)), ('aspect', (1, 0.5, (2.0, 1.0)))]:
        with pytest.raises(ValueError, match=words):
            MultiBlockMasker(*arguments)


# ------------------------------------------------------------------------------------------------------------- configs


def test_config_small__learns_and_never_asks_the_device():
    config = Config.fromfile(HERE / 'config_small.py').model
    torch.manual_seed(0)
    model = MODELS.build(config)
    frames = torch.randint(256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    frames = frames.repeat_interleave(8, 4).repeat_interleave(8, 3).repeat_interleave(2, 2)
    clips = model.data_preprocessor(dict(video=dict(inputs=[clip[None] for clip in frames])))['inputs']
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=2e-3)
    history = []
    for _ in range(10):
        losses = model(clips, mode='loss')
        total = losses['video_short_loss'] + losses['video_long_loss']
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        model.update_teacher(0.99)
        history.append(total.item())
    assert history[-1] < 0.8 * history[0]
    assert 0.5 < losses['video_target_std'] < 1.05
    with torch.device('meta'):  # tensors without values: whatever needs one on the host fails
        model = MODELS.build(config)
    frames = frames.to('meta')
    losses = model.loss(dict(video=Clips(frames=frames, pixels=frames.float())))
    losses['video_long_loss'].backward()
    assert losses['video_short_relative_error'].is_meta


def test_config__is_of_the_published_size_and_its_parts_exist():
    """ViT-L; the target encoder's 305 M parameters and the predictor's 22 M."""
    config = Config.fromfile(HERE / 'config.py')
    check_names(config)
    init_default_scope('mmaction')
    assert all(build_transform(transform) for transform in config.train_dataloader.video.dataset.pipeline)
    with torch.device('meta'):
        model = MODELS.build(config.model)
    sizes = {name: sum(parameter.numel() for parameter in getattr(model, name).parameters()) / 1e6
             for name in ('backbone', 'student', 'predictor')}
    assert sizes['backbone'] == sizes['student'] == pytest.approx(303.9, abs=1.5)
    assert sizes['predictor'] == pytest.approx(21.7, abs=0.5)


def test_config__schedules_follow_the_published_formulas():
    """Rate and weight decay are cosines of a run 1.25 times as long, of which 300 epochs (here of 3 steps) are done."""
    init_default_scope('mmaction')
    config = Config.fromfile(HERE / 'config.py')
    wrapper = build_optim_wrapper(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2)), config.optim_wrapper)
    schedules = []
    for schedule in config.param_scheduler:
        arguments = {key: value for key, value in schedule.items() if key not in ('type', 'convert_to_iter_based')}
        schedules.append(PARAM_SCHEDULERS.get(schedule.type).build_iter_from_epoch(
            optimizer=wrapper, epoch_length=3, **arguments))
    total, warm_up = 1.25 * 900, 120
    for step in range(900):
        weight, norm = wrapper.optimizer.param_groups[0], wrapper.optimizer.param_groups[-1]
        rate = 1e-6 + (6.25e-4 - 1e-6) * (1 + math.cos(math.pi * (step - warm_up) / (total - warm_up))) / 2
        if step < warm_up:
            rate = 2e-4 + (6.25e-4 - 2e-4) * step / (warm_up - 1)
        assert weight['lr'] == norm['lr'] == pytest.approx(rate, rel=1e-6), step
        assert weight['weight_decay'] == pytest.approx(0.4 - 0.36 * (1 + math.cos(math.pi * step / total)) / 2, rel=1e-6), step
        assert norm['weight_decay'] == 0
        wrapper.step()
        for schedule in schedules:
            schedule.step()
