"""What the published codes do on the host: masks cell by cell, frames one by one."""
from __future__ import annotations

import math
import random

import cv2
import numpy as np
import torch
from torch import Tensor

from ssvideo.models.maskers import BlockMasker, TubeMasker
from ssvideo.models.preprocessor import ClipPreprocessor
from ssvideo.models.pretrainer import Pretrainer
from ssvideo.models.tokenizers import DalleTokenizer
from ssvideo.models.tokenizers.base import Tokenizer
from ssvideo.structures import Clips


class PlainBlockMasker(BlockMasker):
    """Visits every cell of every cuboid.

    Source: VIMPAC, arXiv:2106.11250, Sec. 3.1, App. B.1, F.3.
    """

    def sample(self, grid: tuple[int, int, int], rng: random.Random) -> Tensor:
        """See :meth:`Masker.sample`."""
        mask = torch.zeros(grid, dtype=torch.int8 if self.noisy else torch.bool)
        for _ in range(self.num_blocks):
            ranges = []
            for size, longest in zip(grid, (grid[0] * 2 // 3, grid[1] // 2, grid[2] // 2)):
                length = 1 + int(rng.random() * max(1, longest))
                start = int(rng.random() * (size - length + 1))
                ranges.append(range(start, start + length))
            draw = rng.random() if self.noisy else 0.0
            kind = 1 if draw < 0.8 else 2 if draw < 0.9 else 3
            for t in ranges[0]:
                for i in ranges[1]:
                    for j in ranges[2]:
                        mask[t, i, j] = kind
        return mask


class PlainTubeMasker(TubeMasker):
    """BEiT's blocks, counted and hidden cell by cell, on the frames of a tube.

    Source: BEiT, arXiv:2106.08254, Algorithm 1; BEVT, arXiv:2112.01529, Sec. 3.
    """

    def sample(self, grid: tuple[int, int, int], rng: random.Random) -> Tensor:
        """See :meth:`Masker.sample`."""
        frames = self.blocks.draw_tube(grid[0], self.wrap, rng)
        one = self._blocks(grid[1], grid[2], rng)
        mask = np.zeros(grid, dtype=bool)
        for frame in frames:
            mask[frame] = one
        return torch.from_numpy(mask)

    def _blocks(self, height: int, width: int, rng: random.Random) -> np.ndarray:
        mask = np.zeros((height, width), dtype=bool)
        remaining = int(self.blocks.mask_ratio * height * width)
        smallest = min(self.blocks.min_block, max(1, remaining // 2))
        while remaining > 0:
            gained = 0
            for _ in range(10):
                gained = self._try_block(mask, smallest, remaining, rng)
                if gained:
                    break
            if not gained:
                break
            remaining -= gained
        return mask

    def _try_block(self, mask: np.ndarray, smallest: int, remaining: int, rng: random.Random) -> int:
        """Hide one block if it fits; how many cells it newly hides."""
        height, width = mask.shape
        area, widest = rng.uniform(smallest, remaining), -math.log(self.blocks.aspect)
        ratio = math.exp(rng.uniform(-widest, widest))
        rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if not (0 < rows < max(height, 2) and 0 < columns < max(width, 2)):
            return 0
        top, left = int(rng.random() * (height - rows + 1)), int(rng.random() * (width - columns + 1))
        new = [(i, j) for i in range(top, top + rows) for j in range(left, left + columns) if not mask[i, j]]
        if not 0 < len(new) <= remaining:
            return 0
        for i, j in new:
            mask[i, j] = True
        return len(new)


class PlainClipPreprocessor(ClipPreprocessor):
    """Normalises frame by frame on the host."""

    def _normalise(self, frames: Tensor | None) -> Tensor | None:
        if frames is None or not self.normalises:
            return None
        mean, std = self.mean[0, :, 0].cpu(), self.std[0, :, 0].cpu()
        clips = [torch.stack([(frame - mean) / std for frame in clip.unbind(1)], dim=1) for clip in frames.cpu()]
        return torch.stack(clips).to(frames.device)


class PlainDalleTokenizer(DalleTokenizer):
    """Encodes all frames at once in float32, channels first.

    Source: DALL-E, arXiv:2102.12092, App. A.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs | dict(precision='float32'))

    def forward(self, pixels: Tensor) -> Tensor:
        """See :meth:`Tokenizer.forward`."""
        self.to(memory_format=torch.contiguous_format)
        pictures = pixels.transpose(1, 2).flatten(0, 1).contiguous()
        return self.encoder(0.8 * pictures + 0.1).argmax(1).unflatten(0, (len(pixels), -1))


class PlainPretrainer(Pretrainer):
    """Tokenizes every frame, of a view that OpenCV makes on the host."""

    def _targets(self, tokenizer: Tokenizer, clips: Clips, hidden: Tensor, everywhere: bool) -> Tensor:
        sides = [cells * stride for cells, stride in zip(hidden.shape[2:], tokenizer.stride[1:])]
        if tokenizer.view_filter != 'lanczos4':
            raise ValueError(f"the plain step resizes by 'lanczos4' alone, got view_filter={tokenizer.view_filter!r}")
        views = [torch.stack([_view(frame, sides) for frame in clip.unbind(1)], dim=1) for clip in clips.frames.cpu()]
        with torch.no_grad():
            return tokenizer(torch.stack(views).to(clips.frames.device))


def _view(frame: Tensor, sides: list[int]) -> Tensor:
    """A uint8 frame ``(3, H, W)`` at another size, in [0, 1]."""
    picture = frame.permute(1, 2, 0).contiguous().numpy()
    if list(picture.shape[:2]) != sides:
        picture = cv2.resize(picture, sides[::-1], interpolation=cv2.INTER_LANCZOS4)
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255
