#!/usr/bin/env bash
# The common part of dist_train.sh and dist_test.sh: launch.sh TOOL CONFIG NUM_PROCESSES [words of the tool]
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500), PYTHON (python).
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: dist_train.sh CONFIG NUM_PROCESSES [words of tools/train.py]" >&2; exit 2; }
tool=$1 config=$2 processes=$3
shift 3
nodes=${NNODES:-1}
if ! [[ $processes =~ ^[1-9][0-9]*$ ]] || ((processes % nodes)); then
    echo "NUM_PROCESSES is the total number of processes and must be a multiple of NNODES=$nodes; got '$processes'" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="$nodes" --node_rank="${NODE_RANK:-0}" \
    --nproc_per_node=$((processes / nodes)) --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" "$here/$tool" "$config" "$@" --launcher pytorch
