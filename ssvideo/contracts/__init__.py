"""What each kind of component must do, as checks that raise ``AssertionError`` in the words of the contract.

A plugin's test calls the check of its kind::

    from ssvideo.contracts import check_masker
    check_masker(MyMasker(mask_ratio=0.3))

These run the checks that take a moment. The kit runs all, one test for each, with ``torch.compile`` and two processes::

    pytest --pyargs ssvideo.contracts --component mypackage.MyMasker
"""
from .backbone import check_backbone
from .masker import check_masker
from .model import check_model
from .objective import check_objective
from .tokenizer import check_tokenizer

__all__ = ['check_backbone', 'check_masker', 'check_model', 'check_objective', 'check_tokenizer']
