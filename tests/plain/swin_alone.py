"""Video Swin without a method around it: ours, or mmaction2's as it is, forward and backward."""
from __future__ import annotations

from collections.abc import Mapping

from mmengine.model import BaseModel
from torch import Tensor, nn

from ssvideo.models.backbones.video_swin import VideoSwin
from ssvideo.registry import MODELS
from ssvideo.structures import Clips


class SwinAlone(BaseModel):
    """Encodes the clips of one stream; the mean square of their summaries is the loss.

    Args:
        backbone: config of our ``VideoSwin``, the image stem left out.
        data_preprocessor: config of a ``ClipPreprocessor`` that normalises.
        theirs: run mmaction2's model of the same sizes and weights in its place.

    Raises:
        ValueError: for another backbone.
    """

    def __init__(self, backbone: Mapping, data_preprocessor: Mapping, theirs: bool) -> None:
        super().__init__(MODELS.build(dict(data_preprocessor)))
        self.backbone: nn.Module = MODELS.build(dict(backbone, image_stem=False))
        if not isinstance(self.backbone, VideoSwin):
            raise ValueError(f'mmaction2 has the counterpart of VideoSwin alone, got {type(self.backbone).__name__}')
        self.backbone.mask_embedding.requires_grad_(False)  # nothing is hidden
        self.theirs = theirs
        if theirs:
            self.backbone = mmaction_swin(self.backbone)

    def forward(self, inputs: Mapping[str, Clips], data_samples: list | None = None, mode: str = 'loss') -> dict[str, Tensor]:
        """mmengine's entry."""
        (clips,) = inputs.values()
        encoded = self.backbone(clips.pixels)
        summary = encoded.mean((2, 3, 4)) if self.theirs else encoded.summary
        return dict(loss=summary.square().mean())


def mmaction_swin(ours: VideoSwin) -> nn.Module:
    """mmaction2's ``SwinTransformer3D`` of the sizes of ours, with its weights."""
    from mmaction.models import SwinTransformer3D  # importable once ssvideo is
    blocks = [stage.blocks for stage in ours.layers]
    arch = dict(embed_dims=ours.channels[0], depths=[len(stage) for stage in blocks],
                num_heads=[stage[0].attn.num_heads for stage in blocks])
    theirs = SwinTransformer3D(
        arch, pretrained2d=False, patch_size=ours.patch_size, window_size=ours.window_size,
        mlp_ratio=blocks[0][0].mlp.fc1.out_features / ours.channels[0], drop_path_rate=blocks[-1][-1].drop_path,
        out_indices=(len(blocks) - 1,))
    weights = {name: value for name, value in ours.state_dict().items() if name != 'mask_embedding'}
    indices = {name: value for name, value in theirs.state_dict().items() if name.endswith('relative_position_index')}
    theirs.load_state_dict(weights | indices, strict=True)
    return theirs
