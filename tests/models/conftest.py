import pytest
import torch


@pytest.fixture
def one_thread():
    """Threads of tiny convolutions mostly wait for each other, which on a busy machine takes a hundred times as long."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
