"""Every component of a model, registered in ``ssvideo.registry.MODELS``."""
from ..utils import mmengine_safetensors  # noqa: F401  (load_from and init_cfg take safetensors from here on)
from . import backbones, decoders, maskers, objectives, tokenizers  # noqa: F401
from .classifier import ClipClassifier
from .preprocessor import ClipPreprocessor
from .pretrainer import Pretrainer

__all__ = ['ClipClassifier', 'ClipPreprocessor', 'Pretrainer']
