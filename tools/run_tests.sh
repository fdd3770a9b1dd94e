#!/usr/bin/env bash
# Make the virtual environment, check the code with ruff and run the whole test suite: bash tools/run_tests.sh [pytest's words]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bash tools/make_venv.sh
python=${VENV:-$root/.venv}/bin/python
"$python" -m ruff check .
exec "$python" -m pytest "$@"
