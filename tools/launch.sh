#!/usr/bin/env bash
# The common part of dist_train.sh and dist_test.sh: launch.sh TOOL CONFIG NUM_PROCESSES [words of the tool]
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500), MAX_RESTARTS (0), PYTHON (python).
# After a process fails, torchrun starts all of them again, MAX_RESTARTS times; a training then goes on by itself.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: dist_train.sh CONFIG NUM_PROCESSES [words of tools/train.py]" >&2; exit 2; }
tool=$1 config=$2 processes=$3
shift 3
nodes=${NNODES:-1} rank=${NODE_RANK:-0} address=${MASTER_ADDR:-127.0.0.1}
if ! [[ $processes =~ ^[1-9][0-9]*$ ]] || ((processes % nodes)); then
    echo "NUM_PROCESSES is the total number of processes and must be a multiple of NNODES=$nodes; got '$processes'" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# c10d notices when another machine starts its processes again; the machine of rank 0 hosts it. The processes meet in a
# store of their own, a new one each time: that of the launchers keeps the addresses of processes that are dead.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
rendezvous=(--rdzv_backend=c10d --rdzv_endpoint="$address:${PORT:-29500}" --rdzv_id=ssvideo --rdzv_conf="is_host=$((rank == 0))")
((nodes > 1)) || rendezvous+=(--local_addr="$address")
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="$nodes" --nproc_per_node=$((processes / nodes)) \
    --max_restarts="${MAX_RESTARTS:-0}" "${rendezvous[@]}" "$here/$tool" "$config" "$@" --launcher pytorch
