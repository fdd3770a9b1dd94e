#!/usr/bin/env bash
# Make the virtual environment that the other scripts use, or bring it up to date: .venv in the repository, or $VENV.
# Needs Python 3.11, 3.12 or 3.13 ($PYTHON names another than python3). Does nothing when the requirements are unchanged.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
venv=${VENV:-$root/.venv}

find_python() {
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
            echo "$candidate"
            return
        fi
    done
    echo 'ssvideo needs Python 3.11, 3.12 or 3.13, and none was found; name one with PYTHON=...' >&2
    exit 1
}

if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python)
    echo "Making a virtual environment with $("$python" --version) in $venv"
    "$python" -m venv "$venv"
fi

wanted=$(cat "$root"/requirements/{runtime,tests}.txt "$root/setup.py" | cksum)
if [ "$(cat "$venv/.ssvideo-installed" 2>/dev/null)" != "$wanted $root" ]; then
    echo "Installing into $venv (several minutes the first time)"
    # the full mmcv and mmcv-lite are one module under two names: where mmcv is there, it stays
    lite='^$'
    if "$venv/bin/python" -c 'from importlib.metadata import version; version("mmcv")' 2>/dev/null; then lite='^mmcv-lite'; fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r <(grep -v "$lite" "$root/requirements/runtime.txt") \
        -r "$root/requirements/tests.txt"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable "$root"
    echo "$wanted $root" > "$venv/.ssvideo-installed"
fi
