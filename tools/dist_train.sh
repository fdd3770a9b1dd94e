#!/usr/bin/env bash
# Train on several processes: tools/dist_train.sh CONFIG NUM_PROCESSES [tools/train.py's words]
# NUM_PROCESSES is the total over all machines; it is divided over NNODES (run the same line on each, with its NODE_RANK).
# Without a GPU the processes talk over gloo.
set -euo pipefail
exec "$(dirname "$0")/launch.sh" train.py "$@"
