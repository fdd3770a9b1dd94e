"""The composition: streams, targets, weights, randomness, checkpoints."""
import pytest
import torch
from torch import nn

import ssvideo.models  # noqa: F401
from ssvideo.models.tokenizers import Tokenizer
from ssvideo.registry import MODELS
from ssvideo.structures import PAD

SWIN = dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4),
            window_size=(2, 4, 4), drop_path_rate=0.0)
TRANSFORMER = dict(type='DividedTransformer', grid=(4, 4, 4), vocab_size=16, embed_dims=24, num_layers=1, num_heads=4,
                   dropout=0.0)
MEAN_STD = dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3)


@MODELS.register_module()
class CountingTokenizer(Tokenizer):
    """Ids from the mean brightness of an 8 x 8 patch; counts the frames it is shown."""
    vocab_size = 16
    stride = (1, 8, 8)
    independent_frames = True

    def __init__(self, independent: bool = True):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(16.0))
        self.independent_frames = independent
        self.num_frames = 0
        self.sizes = []

    def forward(self, pixels):
        self.num_frames += pixels.shape[0] * pixels.shape[2]
        self.sizes.append(tuple(pixels.shape[-2:]))
        patches = pixels.mean(1).unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).mean((3, 5))
        return (patches * self.scale).long().clamp(0, 15)


def bevt(**changes):
    config = dict(
        type='Pretrainer', data_preprocessor=MEAN_STD, backbone=SWIN, tokenizer=dict(type='CountingTokenizer'),
        maskers=dict(video=dict(type='TubeMasker', min_block=2, temporal_stride=2), image=dict(type='TubeMasker', min_block=2)),
        objectives=dict(mvm=dict(type='MVM', decoder=dict(type='SwinDecoder'))))
    torch.manual_seed(0)
    return MODELS.build(config | changes)


def vimpac(**changes):
    config = dict(type='Pretrainer', backbone=TRANSFORMER, maskers=dict(video=dict(type='BlockMasker', num_blocks=2)),
                  objectives=dict(mlm=dict(type='MLM'), nce=dict(type='InfoNCE', hidden_dims=16, out_dims=8)))
    torch.manual_seed(0)
    return MODELS.build(config | changes)


def pixels_batch(model):
    torch.manual_seed(1)
    clips = [torch.randint(256, (1, 3, 4, 64, 64), dtype=torch.uint8) for _ in range(3)]
    batch = dict(video=dict(inputs=clips[:2]), image=dict(inputs=[clip[:, :, :1] for clip in clips]))
    return model.data_preprocessor(batch)['inputs']


def tokens_batch(model, padded=False):
    torch.manual_seed(1)
    tokens = [torch.randint(16, (2, 4, 4, 4)) for _ in range(3)]
    if padded:
        tokens[0][:, 2:] = PAD
    return model.data_preprocessor(dict(video=dict(tokens=tokens)))['inputs']


def test_pretrainer__joint_step_reaches_every_parameter():
    model = bevt()
    losses = model(pixels_batch(model), mode='loss')
    assert set(losses) == {f'{stream}_{term}' for stream in ('video', 'image')
                           for term in ('mvm_loss', 'mvm_accuracy', 'mvm_target_perplexity', 'mvm_predicted_perplexity',
                                        'mask_ratio')}
    model.parse_losses(losses)[0].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not model.tokenizers.training and not any(p.requires_grad for p in model.tokenizers.parameters())


def test_pretrainer__tokens_of_needed_frames_equal_tokens_of_all():
    some, everything = bevt(), bevt(tokenizer=dict(type='CountingTokenizer', independent=False))
    batch = pixels_batch(some)
    mask = torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    mask[0, 2:, 1:3] = True
    few = some.tokenize('video', batch['video'], mask)['tokenizer']
    full = everything.tokenize('video', batch['video'], mask)['tokenizer']
    assert some.tokenizers['tokenizer'].num_frames == 2 and everything.tokenizers['tokenizer'].num_frames == 8
    assert some.tokenizers['tokenizer'].sizes == [(32, 32)], 'the view is the token grid times the stride'
    assert torch.equal(few.tokens[0, 2:], full.tokens[0, 2:])
    assert (few.tokens[1] == PAD).all()
    assert torch.equal(few.positions, mask.flatten().nonzero().squeeze(1))
    assert torch.equal(some.tokenize('video', batch['video'], mask, everywhere=True)['tokenizer'].tokens, full.tokens)


def test_pretrainer__stream_and_loss_weights_scale_losses():
    plain = bevt()
    batch = pixels_batch(plain)
    weighted = bevt(stream_weights=dict(image=0.25), objectives=dict(mvm=dict(
        type='MVM', loss_weight=2.0, decoder=dict(type='SwinDecoder'))))
    for model in (plain, weighted):
        model.train()
    one, other = plain(batch, mode='loss'), weighted(batch, mode='loss')
    assert other['video_mvm_loss'].item() == pytest.approx(2 * one['video_mvm_loss'].item())
    assert other['image_mvm_loss'].item() == pytest.approx(0.5 * one['image_mvm_loss'].item())


def test_pretrainer__an_objective_may_serve_one_stream():
    model = bevt(objectives=dict(
        mvm=dict(type='MVM', streams=['video'], decoder=dict(type='SwinDecoder', branches=('video',))),
        mim=dict(type='MVM', streams=['image'], decoder=dict(type='SwinDecoder', branches=('image',)))))
    losses = model(pixels_batch(model), mode='loss')
    assert {'video_mvm_loss', 'image_mim_loss'} <= set(losses) and 'video_mim_loss' not in losses


def test_pretrainer__pad_is_never_predicted():
    model = vimpac()
    clips = tokens_batch(model, padded=True)['video']
    assert clips.pad.device.type == 'cpu' and clips.pad.sum() == 2 * 2 * 16
    mask = model.draw_mask('video', clips)
    assert not (mask & clips.pad).any()
    masked = model.tokenize('video', clips, mask)[model.default_target]
    assert (masked.tokens.flatten()[masked.positions] != PAD).all()


def test_pretrainer__clean_inputs_are_encoded_without_a_mask():
    model = vimpac(objectives=dict(mlm=dict(type='MLM'), nce=dict(type='InfoNCE', hidden_dims=16, out_dims=8, inputs='clean')))
    clips = tokens_batch(model)['video']
    mask = model.draw_mask('video', clips)
    targets = model.tokenize('video', clips, mask)
    model.eval()
    features = model.encode('video', clips, targets, mask)
    assert torch.equal(features['clean'].summary, model.backbone(clips.tokens).summary)
    assert torch.equal(features['masked'].summary, model.backbone(clips.tokens, mask).summary)


def test_pretrainer__views_are_view_major():
    model = vimpac()
    tokens = [torch.full((2, 4, 4, 4), i) for i in range(3)]
    tokens[0][1] = 9
    clips = model.data_preprocessor(dict(video=dict(tokens=tokens)))['inputs']['video']
    assert clips.tokens[:, 0, 0, 0].tolist() == [0, 1, 2, 9, 1, 2] and clips.num_views == 2


def test_pretrainer__several_tokenizers_each_teach_their_objective():
    two = dict(one=dict(type='CountingTokenizer'), two=dict(type='CountingTokenizer', independent=False))
    head = dict(type='MVM', decoder=dict(type='SwinDecoder'))
    model = bevt(tokenizer=two, objectives=dict(a=dict(**head, target='one'), b=dict(**head, target='two')))
    losses = model(pixels_batch(model), mode='loss')
    assert {'video_a_loss', 'video_b_loss'} <= set(losses)
    assert all(tokenizer.num_frames for tokenizer in model.tokenizers.values())


def test_pretrainer__masks_depend_on_iteration_and_stream_alone(monkeypatch):
    from mmengine.logging import MessageHub
    hub = MessageHub.get_instance('test_masks')
    monkeypatch.setattr(MessageHub, 'get_current_instance', classmethod(lambda cls: hub))
    model = vimpac()
    clips = tokens_batch(model)['video']

    def draw(iteration, seed=3):
        hub.update_info('iter', iteration)
        hub.update_info('seed', seed)
        return model.draw_mask('video', clips)

    first = draw(5)
    assert torch.equal(first, draw(5))
    assert not torch.equal(first, draw(6)) and not torch.equal(first, draw(5, seed=4))


def test_pretrainer__checkpoints_leave_the_tokenizer_out_and_load_strictly():
    model, other = bevt(), bevt()
    state = model.state_dict()
    assert not any(key.startswith('tokenizers.') for key in state)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
    assert other.tokenizers['tokenizer'].scale == 17, 'the tokenizer keeps its own weights'


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(stream_weights=dict(vidoe=1.0)), 'vidoe'),
    (dict(objectives=dict(mvm=dict(type='MVM', streams=['audio'], decoder=dict(type='SwinDecoder')))), 'audio'),
    (dict(objectives=dict(mvm=dict(type='MVM', target='hog', decoder=dict(type='SwinDecoder')))), 'hog'),
    (dict(objectives=dict(mvm=dict(type='MVM', streams=['video'], decoder=dict(type='SwinDecoder')))), "'image'")])
def test_pretrainer__names_that_do_not_exist_fail_when_it_is_built(changes, message):
    with pytest.raises(ValueError, match=message):
        bevt(**changes)


def test_pretrainer__a_stream_without_a_masker_is_an_error():
    model = vimpac()
    with pytest.raises(ValueError, match=r'maskers=dict\(image'):
        model({'image': tokens_batch(model)['video']}, mode='loss')


def test_pretrainer__a_clip_that_does_not_divide_is_an_error():
    model = bevt()
    clips = model.data_preprocessor(dict(video=dict(inputs=[torch.zeros(1, 3, 4, 60, 64, dtype=torch.uint8)])))['inputs']
    with pytest.raises(ValueError, match='4 x 60 x 64'):
        model(clips, mode='loss')
