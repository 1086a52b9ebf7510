#!/usr/bin/env bash
# Abu Lubad 2022 (thesis) on Mini-DDSM: normal, benign or cancer in one step, against normal or tumour and then benign
# or cancer; as the thesis did it, and with patients apart; and a second stage that sees the tumour alone.
#   examples/mini-ddsm.sh MINI-DDSM [RESULTS] [--phantom]
# MINI-DDSM is the unpacked download, results go to RESULTS (default: bccli-mini-ddsm). Wants a GPU and
# EfficientNet-B0's weights. Options for prepare go into PREPARE (films) and TUMOURS, for all trainings, such as a
# smaller backbone, into TRAIN, and those for the second stages into TUNE:
#   TRAIN='--backbone mobilenet-0.25' TUNE='--from-layer conv_pw_13' examples/mini-ddsm.sh …
# Stop it half-way and run it again: it continues.
set -euo pipefail
source "$(dirname "$0")/papers/common.sh"
begin mini-ddsm mini-ddsm "$@"
defaults PREPARE='--size 32x32 --ratios 2/1/1' TUMOURS='--size 32x32 --ratios 2/1/1' TRAIN='--backbone cnn-15 --weights none --trainable none --epochs 1' \
  TUNE='--from-layer 32' TUNE_FLAT='--epochs 1' TUNE_TREE='--tune-epochs 1'

for protocol in paper honest; do
  into=$out/$protocol
  say "$protocol: prepare whole films; for the tree, the thesis thinned the normals less"
  bccli prepare mini-ddsm "$raw" "$into/films" --recipe mini-ddsm-single --protocol "$protocol" ${PREPARE:-}
  bccli prepare mini-ddsm "$raw" "$into/films-tree" --recipe mini-ddsm-hierarchy --protocol "$protocol" ${PREPARE:-}

  say "$protocol: one step, and two"
  bccli train "$into/films" "$into/flat-frozen" --recipe mini-ddsm-single ${TRAIN:-}
  bccli finetune "$into/flat-frozen" "$into/flat" --recipe mini-ddsm-single ${TUNE:-} ${TUNE_FLAT:-}
  bccli hierarchy "$into/films-tree" "$into/tree" --recipe mini-ddsm-hierarchy ${TRAIN:-} ${TUNE:-} ${TUNE_TREE:-}
  bccli evaluate "$into/tree" "$into/flat" --format table
done

say "patients apart: the second step on the tumours alone, with the same patients in test"
tested=$(awk -F, '$3 == "test" && $2 != "normal" {print $5}' "$into/films/manifest.csv" | sort -u | paste -sd, -)
bccli prepare mini-ddsm "$raw" "$into/tumours" --task malignancy --roi crop --margin 50 --size 252x252 \
  --test-patients "$tested" ${TUMOURS:-}
bccli train "$into/tumours" "$into/second" --recipe mini-ddsm-single ${TRAIN:-}
bccli hierarchy "$into/films-tree" "$into/composed" --tree 'normal, tumor(benign, cancer)' \
  --compose root="$into/tree/root" --compose tumor="$into/second@$into/tumours" --backbone efficientnet-b0 ${TRAIN:-}
bccli evaluate "$into/composed" "$into/tree" --format table

say "predict: where no contour is given, the second step looks where a detector has found a tumour"
awk -F, -v raw="$raw" '$3 == "test" {print raw "/" $7}' "$into/films/manifest.csv" |
  bccli predict "$into/composed" - --format csv --output "$into/predictions.csv"

tables
