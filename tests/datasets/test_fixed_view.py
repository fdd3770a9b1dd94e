from __future__ import annotations

import numpy as np
import pytest
from mmaction.datasets.transforms import CenterCrop, Flip, RandomCrop, Resize

from ssvideo.datasets.broken import BrokenFileError
from ssvideo.datasets.transforms.fixed_view import FixedView, describe_view, fixed_views


def results(height: int = 50, width: int = 91) -> dict:
    frames = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    return dict(imgs=list(frames), filename='v.mp4', img_shape=(height, width), modality='RGB')


@pytest.mark.parametrize('shape', [(50, 91), (91, 50), (200, 300), (33, 33)])
@pytest.mark.parametrize('scale', [1.0, 1.25])
def test_fixed_view__is_resize_crop_and_flip(shape, scale):
    made = FixedView(32, scale, 'center', flip=True).transform(results(*shape))
    expected = results(*shape)
    for transform in (Resize((-1, round(32 * scale))), CenterCrop(32), Flip(1.0)):
        expected = transform(expected)
    np.testing.assert_array_equal(np.stack(made['imgs']), np.stack(expected['imgs']))
    assert made['img_shape'] == (32, 32) and made['flip']
    np.testing.assert_allclose(made['crop_quadruple'], expected['crop_quadruple'], atol=1e-6)


def test_fixed_view__corner_crops_touch_the_corners():
    whole = Resize((-1, 40))(results())['imgs'][0]
    for crop, expected in (('top_left', whole[:32, :32]), ('bottom_right', whole[-32:, -32:])):
        np.testing.assert_array_equal(FixedView(32, 1.25, crop).transform(results())['imgs'][0], expected)


def test_fixed_views__are_vimpacs_twelve():
    views = fixed_views(256, (1.0, 1.25), ('top_left', 'center', 'bottom_right'), (False, True))
    assert len({view.name for view in views}) == 12
    assert {view.short_side for view in views} == {256, 320}
    assert views[0].name == '256_top_left' and views[-1].name == '320_bottom_right_flip'


@pytest.mark.parametrize('wrong', [dict(size=0), dict(size=8, scale=0.5), dict(size=8, crop='left')])
def test_fixed_view__refuses_what_it_cannot_show(wrong):
    with pytest.raises(ValueError, match='FixedView: expected'):
        FixedView(**wrong)
    with pytest.raises(BrokenFileError, match='v.mp4: .*times as long as wide'):
        FixedView(32).transform(results(2, 300))


def test_describe_view__says_what_a_pipeline_shows():
    assert describe_view([Resize((-1, 160)), CenterCrop(128)]) == dict(short_side=160, crop='center', flip=False)
    assert describe_view([Resize((64, 64), keep_ratio=False), Flip(1)]) == dict(short_side=None, crop=None, flip=True)
    assert describe_view([FixedView(8, 2, 'top_left')]) == dict(short_side=16, crop='top_left', flip=False)
    for transform in (Flip(0.5), RandomCrop(8)):
        with pytest.raises(ValueError, match='is random'):
            describe_view([transform])
