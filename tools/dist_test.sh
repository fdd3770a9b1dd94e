#!/usr/bin/env bash
# Test on several processes: tools/dist_test.sh CONFIG CHECKPOINT NUM_PROCESSES [tools/test.py's words]
# NUM_PROCESSES is the total over all machines, as for dist_train.sh.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT NUM_PROCESSES [words of tools/test.py]" >&2; exit 2; }
config=$1 checkpoint=$2 processes=$3
shift 3
exec "$(dirname "$0")/launch.sh" test.py "$config" "$processes" "$checkpoint" "$@"
