#!/usr/bin/env bash
# The main job in a few minutes, with nothing to download: synthetic histology images become a
# prepared dataset, a trained network, honest figures and labelled predictions.
#   examples/quickstart.sh [FOLDER]      results go to FOLDER (default: bccli-quickstart)
# Stop it half-way and run it again: it continues. Run it once more: it finds that all is done.
set -euo pipefail
out=${1:-bccli-quickstart}

echo "== 1. prepare: 480 images of 40 patients; no patient is in two splits" >&2
bccli prepare phantom histology "$out/data" --recipe quickstart

echo "== 2. train: a plain CNN of 15 layers, from scratch" >&2
bccli train "$out/data" "$out/run" --recipe quickstart

echo "== 3. evaluate: the patients that were held out" >&2
bccli evaluate "$out/run" --split test --format table

echo "== 4. predict: labels for images that come along later" >&2
bccli -q prepare phantom histology "$out/later" --count 8 --patients 4 --seed 1 --ratios 1/0/1 >/dev/null
bccli predict "$out/run" "$out/later/images" --format table

echo "Done. Figures: $out/run/metrics.json. Plots: $out/run/plots. A look at the images: $out/data/preview.png" >&2
