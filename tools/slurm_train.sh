#!/usr/bin/env bash
# Train under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [tools/train.py's words]
# Submits a job that saves 2 minutes before its time limit and queues itself again, until the training is done; where Slurm
# itself queues it again (a node failed, another job took its place), it goes on by itself, too.
# Environment: GPUS (8) in all, GPUS_PER_NODE (8), CPUS_PER_TASK (5), SBATCH_ARGS ('--time=24:00:00 --qos=long'), PYTHON (python).
set -euo pipefail

if [ -z "${SLURM_JOB_ID:-}" ]; then  # on the login machine
    [ $# -ge 3 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG [words of tools/train.py]" >&2; exit 2; }
    partition=$1 name=$2
    shift 2
    gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
    per_node=$((per_node < gpus ? per_node : gpus))
    TOOLS=$(cd "$(dirname "$0")" && pwd)
    export TOOLS  # Slurm runs a copy of this script
    # shellcheck disable=SC2086
    exec sbatch --partition="$partition" --job-name="$name" --ntasks="$gpus" --ntasks-per-node="$per_node" \
        --gres=gpu:"$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --requeue --open-mode=append --signal=TERM@120 \
        ${SBATCH_ARGS:-} "$TOOLS/slurm_train.sh" "$@"
fi

# In the job. The signal before the time limit goes to the training and not to this shell; scancel's goes to both.
cancelled=''
trap 'cancelled=yes' TERM
srun --kill-on-bad-exit=0 --cpus-per-task="${SLURM_CPUS_PER_TASK:-5}" "${PYTHON:-python}" -u "$TOOLS/train.py" "$@" --launcher slurm &
training=$!
status=0
wait $training || status=$?
while kill -0 $training 2>/dev/null; do  # the trap ended the wait, and the training is still saving
    status=0
    wait $training || status=$?
done
if [ $status = 143 ] && [ -z "$cancelled" ]; then  # stopped by a signal, saved
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
