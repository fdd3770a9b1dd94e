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
    seeds='0 1 2' clips='--train 1600 --val 400' labelled=400
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

if [ -f "$QUICKSTART/classes.txt" ]; then
    export QUICKSTART_CLASSES
    QUICKSTART_CLASSES=$(grep -c . "$QUICKSTART/classes.txt")
else
    echo 'Fewer than two class folders: no labels, so the report has the pre-training part only.'
fi

store() { step "Writing the token store $1" "$python" tools/extract_tokens.py $recipe/tokens.py --out "$QUICKSTART/$1" "${@:2}"; }
fine_tune() {  # MODEL: from its pre-training (finetune) or from scratch, always with the same budget
    # shellcheck disable=SC2086
    [ -z "${QUICKSTART_CLASSES:-}" ] || train "Fine-tuning: $1" "$1" --seeds $seeds
}
vimpac() {  # and the twin of BEVT, which needs no pre-training, so that both halves take about as long
    store tokens
    [ -z "${QUICKSTART_CLASSES:-}" ] || store tokens_val --cfg-options dataset.source="$QUICKSTART/val.txt"
    train 'Pre-training VIMPAC on tokens' vimpac
    fine_tune finetune_vimpac
    fine_tune scratch_vimpac
    fine_tune scratch_bevt
}
bevt() {
    train 'Pre-training BEVT, image stage' bevt_image
    train 'Pre-training BEVT, joint stage' bevt_joint
    fine_tune finetune_bevt
}

# The models are small: two trainings at once, each with half of the cores, finish long before two in a row.
cores=$(nproc 2>/dev/null || sysctl -n hw.ncpu)
export OMP_NUM_THREADS=$((cores > 3 ? cores / 2 : 1))
echo "VIMPAC trains beside BEVT; its progress is in $QUICKSTART/vimpac.log"
set -m  # a process group of its own, so that it can be stopped whole
vimpac > "$QUICKSTART/vimpac.log" 2>&1 &
beside=$!
set +m
trap 'kill -- -$beside 2>/dev/null || true' EXIT
bevt
printf '\n== BEVT is done; what VIMPAC still does:\n'
tail -n 3 -f "$QUICKSTART/vimpac.log" &
watching=$!
wait $beside || { kill $watching; echo "VIMPAC failed, see $QUICKSTART/vimpac.log" >&2; exit 1; }
kill $watching
trap - EXIT
step 'Writing the report' "$python" tools/analysis_tools/quickstart_report.py "$QUICKSTART"
step 'Writing the HTML page' "$python" tools/visualizations/report.py "$QUICKSTART" --out "$QUICKSTART/report.html"
echo "Quickstart finished in $((SECONDS - started)) s after installing: $QUICKSTART/report.md"
