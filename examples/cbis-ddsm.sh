#!/usr/bin/env bash
# Falconí et al. 2020: benign or malignant masses of CBIS-DDSM with 20 frozen networks, and six of them fine-tuned from
# 14 layers; joined, augmented and then split as in the paper, and with patients apart.
#   examples/cbis-ddsm.sh CBIS-DDSM [RESULTS] [--phantom]
# CBIS-DDSM is the unpacked download with its lists, results go to RESULTS (default: bccli-cbis-ddsm). Wants a GPU and
# ImageNet's weights. Options for prepare, augment, train and finetune go into PREPARE, AUGMENT, TRAIN and TUNE, those
# for VGG16 from layer 8 on, which has a head of its own, into TUNE8.
# Stop it half-way and run it again: it continues.
set -euo pipefail
source "$(dirname "$0")/papers/common.sh"
begin cbis-ddsm cbis-ddsm "$@"
defaults PREPARE='--size 40x40 --center-crop 32x32' AUGMENT='--total 160' \
  TRAIN='--backbone cnn-15 --weights none --dense 16 --seeds 1 --epochs 2' FROM=cnn-15-seed0 \
  TUNE='--from-layer cnn-15:32 --epochs 1' GAMMA8=33 TUNE8='--dense 16 --epochs 1'

for protocol in paper honest; do
  into=$out/$protocol
  say "$protocol: prepare and augment"
  bccli prepare cbis-ddsm "$raw" "$into/masses" --recipe cbis-ddsm-tl --protocol "$protocol" ${PREPARE:-}
  bccli augment "$into/masses" "$into/data" --recipe cbis-ddsm-tl --protocol "$protocol" ${AUGMENT:-}

  say "$protocol: 20 frozen networks (tables 7 and 8)"
  bccli train "$into/data" "$into/frozen" --recipe cbis-ddsm-tl ${TRAIN:-}

  say "$protocol: fine-tuned from 13 layers, and VGG16 from layer 8 on with 4096 units (tables 9 and 10)"
  bccli finetune "$into/frozen" "$into/tuned" --recipe cbis-ddsm-ft ${TUNE:-}
  bccli finetune "$into/frozen/${FROM:-vgg16}" "$into/vgg16-8-FT" --recipe cbis-ddsm-ft \
    --from-layer "${GAMMA8:-8}" --dense 4096 ${TUNE8:-}
done

tables 'frozen/*=frozen/cnn-15-seed0' 'tuned/*=tuned/cnn-15-32-FT'
