#!/usr/bin/env bash
# Make the virtual environment, check the code with ruff and run the whole test suite: bash tools/run_tests.sh [pytest's words]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bash tools/make_venv.sh
python=${VENV:-$root/.venv}/bin/python
"$python" -m ruff check .
# two processes of one thread each: most tests are small; a file stays in one process, as its tests share what they make
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" -m pytest -n 2 --dist loadfile "$@"
