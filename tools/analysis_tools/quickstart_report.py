"""Write the report of a quickstart: accuracies beside chance and scratch, curves, masks, reconstructions.

    python tools/analysis_tools/quickstart_report.py work_dirs/quickstart
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ssvideo.evaluation.quickstart_report import write_report  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', help='folder of the quickstart, whose sub-folders are its runs')
    parser.add_argument('--out', help='page to write, report.json lies beside it; default: WORK_DIR/report.md')
    args = parser.parse_args()
    report = write_report(args.work_dir, args.out)
    print(f'The report is in {report}')


if __name__ == '__main__':
    main()
