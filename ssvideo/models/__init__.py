"""Every component of a model, registered in ``ssvideo.registry.MODELS``."""
from ..utils import mmengine_checkpoints, mmengine_safetensors  # noqa: F401  (what mmengine loads is read as data; safetensors too)
from . import backbones, decoders, maskers, objectives, tokenizers  # noqa: F401
from .classifier import ClipClassifier
from .device_augment import DeviceAugment
from .preprocessor import ClipPreprocessor
from .pretrainer import Pretrainer

__all__ = ['ClipClassifier', 'ClipPreprocessor', 'DeviceAugment', 'Pretrainer']
