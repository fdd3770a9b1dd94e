"""Fine-tuning and testing."""
import pytest
import torch
from mmaction.evaluation import AccMetric
from mmaction.structures import ActionDataSample

import ssvideo.models  # noqa: F401
from ssvideo.datasets.missing import missing_sample
from ssvideo.registry import MODELS
from ssvideo.structures import PAD

SWIN = dict(type='VideoSwin', patch_size=(2, 4, 4), embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4),
            window_size=(2, 4, 4))


def build(**changes):
    torch.manual_seed(0)
    config = dict(type='ClipClassifier', backbone=SWIN, num_classes=5,
                  data_preprocessor=dict(type='ClipPreprocessor', mean=[127.5] * 3, std=[64.0] * 3))
    return MODELS.build(config | changes)


def batch(num_views=1):
    torch.manual_seed(1)
    return dict(inputs=[torch.randint(256, (num_views, 3, 4, 32, 32), dtype=torch.uint8) for _ in range(3)],
                data_samples=[ActionDataSample().set_gt_label(i) for i in range(3)])


def test_classifier__predicts_the_mean_probability_of_the_views():
    model = build().eval()
    data = model.data_preprocessor(batch(num_views=2))
    with torch.no_grad():
        samples = model(**data, mode='predict')
        logits = model(data['inputs'])
    expected = (logits[:3].softmax(1) + logits[3:].softmax(1)) / 2
    assert torch.allclose(torch.stack([sample.pred_score for sample in samples]), expected)
    assert [sample.pred_label.item() for sample in samples] == expected.argmax(1).tolist()


def test_classifier__speaks_to_the_metric_of_mmaction2():
    model = build().eval()
    metric = AccMetric()
    with torch.no_grad():
        samples = model.val_step(batch())
    metric.process(None, [sample.to_dict() for sample in samples])
    labels = torch.stack([sample.pred_label for sample in samples]).flatten()
    assert metric.compute_metrics(metric.results)['top1'] == pytest.approx((labels == torch.arange(3)).float().mean().item())


def test_classifier__gradients_reach_every_trainable_parameter():
    model = build()
    losses = model(**model.data_preprocessor(batch()), mode='loss')
    model.parse_losses(losses)[0].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not model.backbone.mask_embedding.requires_grad, 'what only pre-training uses is frozen'


def test_classifier__extract_feat_takes_the_tensor_of_mmaction2s_tools():
    model = build().eval()
    pixels = torch.rand(1, 2, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.extract_feat(pixels), model.extract_feat(pixels[0]))
        assert model.extract_feat(pixels).shape == (2, 64)


def test_classifier__zero_init_starts_at_chance():
    model = build(zero_init=True)
    losses = model(**model.data_preprocessor(batch()), mode='loss')
    assert losses['loss_cls'].item() == pytest.approx(torch.tensor(5.0).log().item())


@pytest.mark.parametrize('changes', [dict(pool='cls'), dict(average_clips='mean')])
def test_classifier__unknown_words_fail(changes):
    with pytest.raises(ValueError, match='must be one of'):
        build(**changes)


def test_backbone__loads_whole_or_not_at_all(tmp_path):
    source = build()
    path = tmp_path / 'model.pth'
    torch.save(dict(state_dict=source.state_dict()), path)

    def load(prefix, **changes):
        model = build(backbone=dict(SWIN | changes, init_cfg=dict(type='Pretrained', checkpoint=str(path), **prefix)))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        model.init_weights()
        return model

    loaded = load(dict(prefix='backbone.'))
    assert torch.equal(loaded.backbone.patch_embed.proj.weight, source.backbone.patch_embed.proj.weight)
    with pytest.raises(ValueError, match="prefix='backbone.'"):
        load(dict())
    with pytest.raises(ValueError, match='missing'):
        load(dict(prefix='backbone.'), depths=(1, 1, 2, 1))


@pytest.mark.parametrize('backbone', ['pixels', 'tokens'])
def test_classifier__gives_no_score_to_a_video_that_is_missing_and_the_same_to_others(backbone):
    if backbone == 'pixels':
        model, data = build().eval(), batch()
        data['inputs'][1] = torch.zeros_like(data['inputs'][1])
    else:
        model = build(backbone=dict(type='DividedTransformer', grid=(2, 3, 3), vocab_size=16, embed_dims=24, num_layers=2,
                                    num_heads=6), data_preprocessor=None).eval()
        data = dict(tokens=[torch.randint(16, (2, 2, 3, 3)), torch.full((2, 2, 3, 3), PAD), torch.randint(16, (2, 2, 3, 3))],
                    data_samples=[ActionDataSample().set_gt_label(i) for i in range(3)])
    data['data_samples'][1] = missing_sample('a.mp4', 'cut off', 1)
    others = {key: [value[0], value[2]] for key, value in data.items()}
    with torch.no_grad():
        samples, expected = model.val_step(data), model.val_step(others)
    assert samples[1].pred_score.isnan().all()
    assert samples[1].pred_label.tolist() == [-1]
    for found, alone in zip((samples[0], samples[2]), expected):
        torch.testing.assert_close(found.pred_score, alone.pred_score)
