"""What each kind of component must do, as checks that raise ``AssertionError`` in the words of the contract.

A plugin's test calls the check of its kind::

    from ssvideo.contracts import check_masker
    check_masker(MyMasker(mask_ratio=0.3))
"""
from .backbone import check_backbone
from .masker import check_masker
from .objective import check_objective
from .tokenizer import check_tokenizer

__all__ = ['check_backbone', 'check_masker', 'check_objective', 'check_tokenizer']
