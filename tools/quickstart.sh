#!/usr/bin/env bash
# From nothing to a report: bash tools/quickstart.sh [VIDEO_DIR] [--fast]
#
# Makes the virtual environment, writes a small labelled set of motion videos (or takes VIDEO_DIR; class-named
# sub-folders become labels), trains a tokenizer, writes a token store, pre-trains VIMPAC and BEVT, fine-tunes from each and
# from scratch with the same budget, and writes report.md and report.json into work_dirs/quickstart (or $QUICKSTART).
# Each step below is an ordinary command that you can repeat and scale up by itself.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

videos='' fast=''
for word in "$@"; do
    case $word in
        --fast) fast=yes ;;
        -*) echo "usage: bash tools/quickstart.sh [VIDEO_DIR] [--fast]; got '$word'" >&2; exit 2 ;;
        *) videos=$(cd "$word" && pwd) || { echo "VIDEO_DIR '$word' is no folder" >&2; exit 2; } ;;
    esac
done

cd "$root"
bash tools/make_venv.sh
python=${VENV:-$root/.venv}/bin/python
export QUICKSTART=${QUICKSTART:-work_dirs/quickstart} PYTHONWARNINGS=ignore PYTHONUNBUFFERED=1
export MPLBACKEND=Agg OMP_WAIT_POLICY=passive
started=$SECONDS
if [ -e "$QUICKSTART" ]; then
    mv "$QUICKSTART" "$QUICKSTART.$(date +%Y%m%d_%H%M%S)"
    echo "An earlier quickstart was moved aside, to $(ls -d "$QUICKSTART".* | tail -n 1)"
fi
mkdir -p "$QUICKSTART"

# --fast: the same path with less of everything, to see that it works
if [ -n "$fast" ]; then
    export QUICKSTART_SCALE=0.01 QUICKSTART_DRAWS=32
    seeds='0' clips='--train 64 --val 32' labelled=64
else
    seeds='0 1 2' clips='--train 800 --val 400' labelled=400
fi

step() {  # TITLE COMMAND...: run it, and note title, seconds and command for the report
    local title=$1 begin=$SECONDS
    shift
    printf '\n== %s (%d s)\n+ %s\n' "$title" $((begin - started)) "$*"
    "$@"
    printf '%s\t%d\tQUICKSTART=%q %s\n' "$title" $((SECONDS - begin)) "$QUICKSTART" "$*" >> "$QUICKSTART/steps.tsv"
}
recipe=configs/quickstart
train() { step "$1" "$python" tools/train.py "$recipe/$2.py" --work-dir "$QUICKSTART/$2" "${@:3}"; }

if [ -z "$videos" ]; then
    videos=$QUICKSTART/data
    # shellcheck disable=SC2086
    step 'Writing motion videos' "$python" tools/data/make_motion_dataset.py "$videos" $clips \
        --frames 24 --fps 16 --speed 4 4 --scenes 3
fi
step 'Making lists' "$python" tools/data/make_lists.py "$videos" "$QUICKSTART" --labelled $labelled

train 'Training a tokenizer' tokenizer
step 'Writing the token store' "$python" tools/extract_tokens.py $recipe/tokens.py --out "$QUICKSTART/tokens"
train 'Pre-training VIMPAC on tokens' vimpac
train 'Pre-training BEVT, image stage' bevt_image
train 'Pre-training BEVT, joint stage' bevt_joint

if [ -f "$QUICKSTART/classes.txt" ]; then
    export QUICKSTART_CLASSES
    QUICKSTART_CLASSES=$(grep -c . "$QUICKSTART/classes.txt")
    step 'Writing the token store for testing' "$python" tools/extract_tokens.py $recipe/tokens.py \
        --out "$QUICKSTART/tokens_val" --cfg-options dataset.source="$QUICKSTART/val.txt"
    for model in vimpac bevt; do
        # shellcheck disable=SC2086
        train "Fine-tuning $model" finetune_$model --seeds $seeds
        # shellcheck disable=SC2086
        train "Training $model from scratch" scratch_$model --seeds $seeds
    done
else
    echo 'Fewer than two class folders: no labels, so the report has the pre-training part only.'
fi
step 'Writing the report' "$python" tools/analysis_tools/quickstart_report.py "$QUICKSTART"
echo "Quickstart finished in $((SECONDS - started)) s after installing: $QUICKSTART/report.md"
