"""Masks from the token grid to the patch grid."""
import pytest
import torch

from ssvideo.models.layers.resize_mask import resize_mask


@pytest.mark.parametrize('grid', [(4, 56, 56), (8, 14, 14), (2, 7, 7), (3, 10, 21), (1, 14, 28)])
def test_resize_mask__takes_the_token_under_each_corner(grid):
    mask = torch.rand(2, 8, 14, 14) < 0.5
    resized = resize_mask(mask, grid)
    assert resized.shape == (2, *grid)
    t, h, w = (torch.arange(size) * have // size for size, have in zip(grid, (8, 14, 14)))
    assert torch.equal(resized, mask[:, t][:, :, h][:, :, :, w])
