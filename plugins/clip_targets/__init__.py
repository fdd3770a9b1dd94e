"""Features of a frozen image model, such as CLIP's, as targets."""
from .feature_regression import FeatureRegression
from .feature_targets import FeatureTargets

__all__ = ['FeatureRegression', 'FeatureTargets']
