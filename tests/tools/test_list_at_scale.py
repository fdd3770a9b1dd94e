"""Workers share a list: the short form of ``tools/dev/list_at_scale.py``."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from page_commands import load_tool  # noqa: E402

NUM_ENTRIES, DRAWS = 100_000, 2_000


@pytest.fixture(scope='module')
def measured(tmp_path_factory) -> dict[str, dict[str, float]]:
    tool = load_tool('tools/dev/list_at_scale.py')
    sources = tool.write_sources(tmp_path_factory.mktemp('lists'), NUM_ENTRIES, num_files=500)
    return {name: tool.measure(*source, num_workers=2, draws=DRAWS) for name, source in sources.items()}


def test_list__opens_fast_and_is_complete(measured):
    assert measured['list']['entries'] == NUM_ENTRIES and measured['folder']['entries'] == 500
    assert measured['list']['seconds'] < 5  # 0.2 on an idle machine


def test_list__costs_a_worker_nothing_where_a_python_list_is_copied(measured):
    base = measured['short list']['worker']
    assert measured['list']['worker'] - base < 1.5  # MB
    assert measured['Python list']['worker'] - base > 3  # a page for each entry looked at
