#!/usr/bin/env bash
# Submit a study as a chain of jobs: prepare, augment, train, fine-tune, predict.
#   SOURCE='breakhis /data/BreaKHis_v1' RESULTS=study TRAIN='--backbone cbis-20 --seeds 3' submit-all.sh
#   submit-all.sh --dry-run            prints the sbatch lines, and submits nothing
# Prints a line "FILE JOB" for each job. The same once more goes on where jobs have failed.
# Variables, and what they are where you set none (a small study of synthetic images):
: "${SOURCE=phantom histology}" # DATASET SOURCE of bccli prepare
: "${RESULTS=bccli-slurm}" # the folder for everything
: "${PREPARE=--count 480 --patients 40 --size 96x96}" # options of bccli prepare
: "${AUGMENT=}" # options of bccli augment; none: no copies
: "${TRAIN=--backbone cnn-15 --seeds 2 --epochs 12}" # options of bccli train
: "${FOLDS=}" # cross-validation with so many folds; none: train, val and test
: "${FINETUNE=}" # options of bccli finetune, such as --blocks 2; none: no fine-tuning
: "${INPUTS=}" # images to label at the end; none: no labels
: "${TASKS=4}" # tasks of each array; with 1, and for a single network, collect trains without an array
: "${TRAINING_JOBS=}" # options of sbatch for training: --gres=gpu:1 --time=1-0
# Slurm's own variables hold for every job: SBATCH_ACCOUNT, SBATCH_PARTITION, SBATCH_QOS and so on.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

case "$*" in
  '') dry= ;;
  --dry-run) dry=1 ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

# submit DEPENDENCY OPTIONS FILE ARGUMENT…: sets job to the number of the new job, in a dry run to the FILE's name.
submit() {
  local file=$3 options array=("--array=1-$TASKS" "--output=$RESULTS/logs/%x-%A_%a.log")
  if [ "$file" = collect ]; then array=("--output=$RESULTS/logs/%x-%j.log"); fi
  read -ra options <<< "--kill-on-invalid-dep=yes ${1:+--dependency=$1} $2"
  local line=(sbatch --parsable "${options[@]}" "${array[@]}" "$here/$file.sbatch" "${@:4}")
  if [ "$dry" ]; then
    printf '%q ' "${line[@]}"; echo
    job=$file
  else
    job=$("${line[@]}")
    job=${job%%;*} # behind it, the name of a cluster
    echo "$file $job"
  fi
}

# train FILE COMMAND DATA RUN OPTION…: an array and, whatever becomes of its tasks, what finishes their work.
train() {
  if [ "$TASKS" -gt 1 ]; then
    submit "$after" "$TRAINING_JOBS" "$1" "${@:3}"
    after=$after,afterany:$job
  fi
  submit "$after" "$TRAINING_JOBS" collect "${@:2}"
  after=afterok:$job
}

read -ra source <<< "$SOURCE"
read -ra prepare <<< "$PREPARE${FOLDS:+ --folds $FOLDS}"
read -ra augment <<< "$AUGMENT"
read -ra train <<< "$TRAIN"
read -ra finetune <<< "$FINETUNE"

data=$RESULTS/data run=$RESULTS/trained
[ "$dry" ] || mkdir -p "$RESULTS/logs"
submit '' '' prepare "${source[@]}" "$data" "${prepare[@]}"
after=afterok:$job
if [ "$AUGMENT" ]; then
  submit "$after" '' augment "$data" "$RESULTS/augmented" "${augment[@]}"
  after=afterok:$job data=$RESULTS/augmented
fi
if [ "$FOLDS" ]; then
  train folds train "$data" "$run" "${train[@]}" --fold all
else
  train sweep train "$data" "$run" "${train[@]}"
fi
if [ "$FINETUNE" ]; then
  train finetune finetune "$run" "$RESULTS/tuned" "${finetune[@]}"
  run=$RESULTS/tuned
fi
if [ "$INPUTS" ]; then submit "$after" '' predict "$run" "$INPUTS" --output "$RESULTS/labels.csv"; fi
