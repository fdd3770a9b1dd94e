"""Test settings of the whole repository."""
import os
import sys

import pytest

os.environ.setdefault('OMP_NUM_THREADS', '2')


@pytest.fixture(autouse=True)
def no_training_goes_on():
    """A test that breaks a training off leaves mmengine's hub saying that it goes on; no later test shall read that."""
    yield
    if 'mmengine.logging' in sys.modules:
        for hub in sys.modules['mmengine.logging'].MessageHub._instance_dict.values():
            hub.runtime_info.pop('loop_stage', None)
