#!/usr/bin/env bash
# Abu Al-Haija and Adebanjo 2020: a ResNet-50 tells benign from malignant on BreakHis, trained on 100×, 200× and
# 400× and tested on 40× of the same patients; and the same with patients apart.
#   examples/resnet50-breakhis.sh BREAKHIS [RESULTS] [--phantom]
# BREAKHIS is the unpacked download, results go to RESULTS (default: bccli-resnet50-breakhis). Wants a GPU and
# ResNet-50's weights. Options for prepare and train, such as a smaller backbone, go into PREPARE and TRAIN.
# Stop it half-way and run it again: it continues.
set -euo pipefail
source "$(dirname "$0")/papers/common.sh"
begin resnet50-breakhis breakhis "$@"
defaults PREPARE='--size 48x32' TRAIN='--backbone cnn-15 --weights none --epochs 4 --steps-per-epoch 2'

for protocol in paper honest; do
  say "$protocol: prepare, train, evaluate"
  bccli prepare breakhis "$raw" "$out/$protocol/data" --recipe resnet50-breakhis --protocol "$protocol" ${PREPARE:-}
  bccli train "$out/$protocol/data" "$out/$protocol/run" --recipe resnet50-breakhis ${TRAIN:-}
  bccli evaluate "$out/$protocol/run" --format table
  bccli evaluate "$out/$protocol/run" --by magnification --format json >"$out/$protocol/run@by.json"
done

tables
