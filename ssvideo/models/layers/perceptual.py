"""How different two pictures look to a trained network."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .timm_network import build_timm_network


class PerceptualNetwork(nn.Module):
    """Squared distance between the features that a frozen timm network has of two pictures, at several depths.

    The features of a position are scaled to norm 1, so that every depth counts alike. The network reads pictures
    normalised with the mean and deviation that timm lists for its name; the tag matters: ``vit_base_patch16_224`` is
    shown other colours than ``vit_base_patch16_224.mae``. It stays in eval mode, takes no gradient, and does not go
    into checkpoints, as it has a file of its own.

    Args:
        name: of the network in timm, a ViT, a ResNet or any other that has ``forward_intermediates``.
        layers: depths to compare at: blocks of a ViT, from 0; of a ResNet the stem (0) and the stages (1 to 4).
        weights: file of its weights, ``.safetensors`` or a state dict saved by torch. All must be there, and nothing
            else, except for a classification head.
        prefix: of the network's weights in a file that holds more, such as ``'backbone.'`` in a checkpoint of this
            project.
        random_weights: allows ``weights=None``: the network then has weights drawn from a fixed seed, the same in every
            run and process. Good for trying things out; published figures need trained weights.
        arguments: further arguments of ``timm.create_model``, such as ``dict(dynamic_img_size=True)`` for a ViT that is
            to read pictures of other sizes than its own.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a name that timm does not have, a file that does not hold the weights of this network, or no
            file without ``random_weights``.

    Source: PeCo, arXiv:2111.12710 (perceptual similarity by a self-supervised ViT-B).
    """

    def __init__(self, name: str, layers: Sequence[int], weights: str | Path | None = None, prefix: str = '',
                 random_weights: bool = False, arguments: dict | None = None) -> None:
        super().__init__()
        self.network = build_timm_network('PerceptualNetwork', name, weights, prefix, random_weights, arguments)
        self.layers = self.network.prune_intermediate_layers(list(layers), prune_norm=True, prune_head=True)
        for statistic in ('mean', 'std'):
            values = torch.tensor(self.network.pretrained_cfg[statistic]).view(1, 3, 1, 1)
            self.register_buffer(statistic, values, persistent=False)
        self.register_state_dict_post_hook(_drop_weights)
        self.register_load_state_dict_pre_hook(_keep_own_weights)
        self.to(memory_format=torch.channels_last).requires_grad_(False).eval()

    def forward(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """The distance, differentiable by ``pictures``.

        Args:
            pictures: ``(M, 3, H, W)``, about [0, 1].
            targets: the same; takes no gradient.

        Returns:
            Scalar in [0, 4], mean over pictures, positions and depths.
        """
        with torch.no_grad():
            wanted = self.features(targets)
        distances = [(ours - theirs).square().sum(1).mean() for ours, theirs in zip(self.features(pictures), wanted)]
        return torch.stack(distances).mean()

    def features(self, pictures: Tensor) -> list[Tensor]:
        """``(M, 3, H, W)`` in [0, 1] -> ``(M, C_i, h_i, w_i)`` float32 of norm 1 over the channels, for each of ``layers``."""
        maps = self.network.forward_intermediates((pictures - self.mean) / self.std, indices=self.layers,
                                                  intermediates_only=True)
        return [F.normalize(found.float(), dim=1, eps=1e-3) for found in maps]  # eps bounds the gradient where all is 0

    def train(self, mode: bool = True) -> PerceptualNetwork:
        """Stays in eval mode, whatever the model around it does."""
        return super().train(False)


def _drop_weights(module: PerceptualNetwork, state_dict: dict, prefix: str, metadata) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        del state_dict[key]


def _keep_own_weights(module: PerceptualNetwork, state_dict: dict, prefix: str, *args) -> None:
    for key, value in module.network.state_dict().items():
        state_dict.setdefault(f'{prefix}network.{key}', value)
