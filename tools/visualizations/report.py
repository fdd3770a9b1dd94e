"""Write one HTML page about a run: results, curves, health, pictures, what was skipped, messages, config, environment.

    python tools/visualizations/report.py WORK_DIR [--out report.html]

WORK_DIR is the folder of any training, of a token store, or of several of them, as the quickstart makes it. The page is a
single file that opens without a network.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ssvideo.utils.readable import readable_size  # noqa: E402
from ssvideo.visualization.run_page import write_page  # noqa: E402


def main(argv: list[str] | None = None) -> None:
    """Write, and say where the page is, or in one line why there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', help='folder of a run')
    parser.add_argument('--out', help='page to write; default: WORK_DIR/report.html')
    args = parser.parse_args(argv)
    try:
        page = write_page(args.work_dir, args.out)
    except ValueError as error:
        sys.exit(f'error: {error}')
    print(f'The page is {page} ({readable_size(page.stat().st_size)})')


if __name__ == '__main__':
    main()
