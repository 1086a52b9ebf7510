#!/usr/bin/env bash
# Hallaj Zavareh et al. 2021 (BCNet): grades of carcinoma on Databiox with a frozen VGG16, beside the networks that
# section 3.6 compares it with: MobileNet, Inception, plain CNNs of 15 to 30 layers, a bag of visual words; frozen and
# fine-tuned; with the paper's split by image and with patients apart.
#   examples/bcnet.sh DATABIOX [RESULTS] [--phantom]
# DATABIOX is the unpacked download, results go to RESULTS (default: bccli-bcnet). Wants a GPU and ImageNet's weights.
# Options for prepare, train and finetune go into PREPARE, TRAIN and TUNE, the networks into BACKBONES.
# Stop it half-way and run it again: it continues.
set -euo pipefail
source "$(dirname "$0")/papers/common.sh"
begin bcnet databiox "$@"
defaults PREPARE='--size 32x32' BACKBONES=cnn-15 TRAIN='--weights none --trainable none --seeds 1 --epochs 1' \
  TUNE='--from-layer cnn-15:32 --epochs 1'

for protocol in paper honest; do
  data=$out/$protocol/data
  say "$protocol: prepare"
  bccli prepare databiox "$raw" "$data" --recipe bcnet --protocol "$protocol" ${PREPARE:-}

  say "$protocol: BCNet and the networks beside it; those that nothing has taught learn from scratch"
  bccli train "$data" "$out/$protocol/frozen" --recipe bcnet --weights auto --trainable auto \
    $(each --backbone ${BACKBONES:-vgg16 mobilenet inception-v3 cnn-15 cnn-20 cnn-25 cnn-30}) ${TRAIN:-}

  say "$protocol: the bag of visual words"
  bccli train "$data" "$out/$protocol/words" --classifier bovw

  say "$protocol: the same networks fine-tuned"
  bccli finetune "$out/$protocol/frozen" "$out/$protocol/tuned" --recipe bcnet ${TUNE:-}
done

tables 'frozen/*=frozen/cnn-15-seed0' 'tuned/*=tuned/cnn-15-32-FT'
