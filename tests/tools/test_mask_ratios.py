import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis_tools' / 'mask_ratios.py'


def table(*words) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *map(str, words)], capture_output=True, text=True)


def test_mask_ratios__table_9_of_vimpac():
    done = table('BlockMasker', '--grid', 5, 16, 16, '--grid', 10, 16, 16, '--vary', 'num_blocks', 5, 7, '--draws', 3000)
    assert done.returncode == 0, done.stderr
    shown = {int(row[0]): tuple(map(float, row[1:]))
             for row in re.findall(r'│ (\d) +│ +([\d.]+) ± [\d.]+ │ +([\d.]+) ± [\d.]+ │', done.stdout)}
    assert shown == {5: pytest.approx((14.5, 12.8), abs=0.6), 7: pytest.approx((19.4, 17.1), abs=0.6)}


@pytest.mark.parametrize(('words', 'message'), [
    (('BlockMaskr', '--grid', 5, 16, 16), 'did you mean ssvideo.BlockMasker'),
    (('MVM', '--grid', 5, 16, 16), 'backbone'),
    (('BlockMasker', '--grid', 5, 16, 16, '--vary', 'num_blocks'), 'needs values')])
def test_mask_ratios__a_wrong_word_is_explained(words, message):
    done = table(*words)
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
