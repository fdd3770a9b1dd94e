#!/usr/bin/env bash
# Tokenize videos in several processes: tools/dist_extract_tokens.sh CONFIG NUM_PROCESSES --out DIR [tools/extract_tokens.py's words]
# NUM_PROCESSES is the total over all machines, which share DIR; it is divided over NNODES (run the same line on each, with
# its NODE_RANK). Start it again after any interruption, with any number of processes.
set -euo pipefail
exec "$(dirname "$0")/launch.sh" extract_tokens.py "$@"
