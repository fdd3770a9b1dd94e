#!/usr/bin/env bash
# One row of a table of VIMPAC's paper, by the protocol of its Sec. 5: tools/vimpac_ablation.sh NAME [KEY=VALUE ...]
# Pre-trains configs/vimpac_small.py with these options, fine-tunes it and tests it, all on clips of 5 frames of 128 px; tests with
# 2 temporal crops. Options of model.backbone hold for the fine-tuning, too. Started again, it goes on where it was.
# Results are in work_dirs/vimpac_ablations/NAME (the pre-training) and its sub-folders (data sets).
# Environment: GPUS (8); FINETUNE (ucf101; one or more of ucf101 hmdb51 diving48 ssv2 k400); VIMPAC_FRAMES, VIMPAC_SIZE and
# VIMPAC_CROPS (5, 128, 2); VIMPAC_LAYOUT (T,H|W).
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: $0 NAME [KEY=VALUE ...]; the keys are those of configs/vimpac_small.py" >&2; exit 2; }
tools=$(dirname "$0")
configs=$tools/../configs
folder=work_dirs/vimpac_ablations/$1
shift
export VIMPAC_FRAMES=${VIMPAC_FRAMES:-5} VIMPAC_SIZE=${VIMPAC_SIZE:-128} VIMPAC_CROPS=${VIMPAC_CROPS:-2}

"$tools/dist_train.sh" "$configs/vimpac_small.py" "${GPUS:-8}" --work-dir "$folder" --resume ${@:+--cfg-options "$@"}

backbone=("model.backbone.init_cfg.checkpoint=$folder/epoch_10.pth")
for option in "$@"; do
    [[ $option != model.backbone.* ]] || backbone+=("$option")
done
for set in ${FINETUNE:-ucf101}; do
    "$tools/dist_train.sh" "$configs/finetune/vimpac_small_$set.py" "${GPUS:-8}" --work-dir "$folder/$set" --resume \
        --cfg-options "${backbone[@]}"
done
