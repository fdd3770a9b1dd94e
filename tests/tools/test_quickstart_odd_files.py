"""The whole path on files as users have them: other codecs, broken, none with labels."""
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from quickstart_runs import ROOT, run  # noqa: E402

SHARED = ROOT / '..' / 'shared' / 'videos'


@pytest.mark.skipif(not SHARED.exists(), reason='needs the odd and broken clips of ../shared/videos')
def test_quickstart__completes_on_odd_and_broken_files(tmp_path):
    folder = tmp_path / 'results'
    output = run(['bash', 'tools/quickstart.sh', str(SHARED), '--fast'], folder)
    assert 'Fewer than two class folders' in output
    report = json.loads((folder / 'report.json').read_text())
    assert report['results'] == {} and report['chance'] is None
    skipped = {Path(row['path']).name: row['reason'] for row in report['skipped']}
    assert {'audio_only.mp4', 'derived_text.mp4', 'derived_zero_bytes.mp4', 'derived_truncated_no_moov.mp4'} <= set(skipped)
    assert all(skipped.values()), 'each with its reason'
