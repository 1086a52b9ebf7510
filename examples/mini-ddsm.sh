#!/usr/bin/env bash
# Mini-DDSM as in the thesis: normal, benign or cancer in one step, against normal or tumour and then benign or
# cancer; and a second stage that sees the tumour alone.
#   examples/mini-ddsm.sh MINI-DDSM [FOLDER]      MINI-DDSM is the unpacked download, results go to FOLDER
# Wants a GPU and EfficientNet-B0's weights. Options for all trainings, such as a smaller backbone, go into
# TRAIN, and those for the second stages into TUNE:
#   TRAIN='--backbone mobilenet-0.25' TUNE='--from-layer conv_pw_13' examples/mini-ddsm.sh …
# Stop it half-way and run it again: it continues.
set -euo pipefail
raw=${1:?say where the films of Mini-DDSM are}
out=${2:-bccli-mini-ddsm}

echo "== 1. prepare: whole films, and the tumours alone with the same patients in test" >&2
bccli prepare mini-ddsm "$raw" "$out/films" --recipe mini-ddsm-hierarchy ${PREPARE:-}
tested=$(awk -F, '$3 == "test" && $2 != "normal" {print $5}' "$out/films/manifest.csv" | sort -u | paste -sd, -)
bccli prepare mini-ddsm "$raw" "$out/tumours" --task malignancy --roi crop --margin 50 --size 252x252 \
  --test-patients "$tested"

echo "== 2. one step, and two" >&2
bccli train "$out/films" "$out/flat-frozen" --recipe mini-ddsm-single ${TRAIN:-}
bccli finetune "$out/flat-frozen" "$out/flat" --recipe mini-ddsm-single ${TUNE:-}
bccli hierarchy "$out/films" "$out/tree" --recipe mini-ddsm-hierarchy ${TRAIN:-} ${TUNE:-}
bccli evaluate "$out/tree" "$out/flat" --format table --output "$out/figures"

echo "== 3. the second step on the tumours alone" >&2
bccli train "$out/tumours" "$out/second" --recipe mini-ddsm-single ${TRAIN:-}
bccli hierarchy "$out/films" "$out/composed" --tree 'normal, tumor(benign, cancer)' \
  --compose root="$out/tree/root" --compose tumor="$out/second@$out/tumours"
bccli evaluate "$out/composed" "$out/tree" --format table

echo "== 4. predict: where no contour is given, the second step looks where the first one saw a tumour" >&2
awk -F, -v raw="$raw" '$3 == "test" {print raw "/" $7}' "$out/films/manifest.csv" |
  bccli predict "$out/composed" - --format csv --output "$out/predictions.csv"
echo "Done. Figures: $out/figures. Labels, and where it looked: $out/predictions.csv" >&2
