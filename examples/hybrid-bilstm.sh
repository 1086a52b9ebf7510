#!/usr/bin/env bash
# Yan et al. 2018: Inception-V3 on patches, a bidirectional LSTM over the patches of an image, and its rivals; on 400
# images and on all that there are, with the paper's split by image and with patients apart.
#   examples/hybrid-bilstm.sh BACH [RESULTS] [--phantom]
# BACH is the unpacked download (Bioimaging2015, its extension, or ICIAR2018), results go to RESULTS (default:
# bccli-hybrid-bilstm). The stage of the patches wants a GPU and ImageNet's weights; all else takes minutes. SAMPLE is
# how many images are drawn (400), SETS which of "sample all" are done. Options for prepare and both stages, such as a
# smaller backbone, go into PREPARE, PATCHES, IMAGES and BOOSTING:
#   PATCHES='--backbone mobilenet --epochs 5' examples/hybrid-bilstm.sh …
# PREPARE='--patients FILE' keeps patients apart where a list of them is at hand.
# Stop it half-way and run it again: it continues.
set -euo pipefail
source "$(dirname "$0")/papers/common.sh"
begin hybrid-bilstm bach "$@"
defaults SETS=sample SAMPLE=all PREPARE='--patch 32 --stride 32 --ratios 2/1/1' \
  PATCHES='--backbone cnn-15 --weights none --trainable none --epochs 1' IMAGES='--dense 4 --epochs 1 --views 1' \
  RULES=vote BOOSTING='--backbone cnn-15 --weights none --trainable none' CLASSIFIER=logistic

rules=${RULES:-vote mean svm blocks-2x2}
for protocol in paper honest; do
  into=$out/$protocol
  for images in ${SETS:-sample all}; do
    number=${SAMPLE:-400}
    if [ $images = all ]; then number=all; fi
    data=$into/$images-data patches=$into/$images-patches

    say "$protocol, $number images: prepare; Macenko's normalisation, 12 patches of each image"
    bccli prepare bach "$raw" "$data" --recipe hybrid-bilstm --protocol "$protocol" --sample "$number" ${PREPARE:-}

    say "$protocol, $number images: a backbone learns to tell patches; the LSTM fuses their features"
    bccli train "$data" "$patches" --recipe hybrid-bilstm:patches ${PATCHES:-}
    bccli train "$data" "$into/$images-bilstm" --recipe hybrid-bilstm:images --features-from "$patches" ${IMAGES:-}
  done

  say "$protocol: the rivals; features are computed once for all of them"
  data=$into/sample-data patches=$into/sample-patches
  bccli train "$data" "$into/attention" --recipe hybrid-bilstm:images --features-from "$patches" --head attention \
    --dense 128 ${IMAGES:-}
  for head in $rules; do
    bccli train "$data" "$into/$head" --recipe hybrid-bilstm:images --features-from "$patches" --head "$head"
  done
  bccli train "$data" "$into/boosting" --classifier "${CLASSIFIER:-boosting}" --cache "$into/frozen-features" \
    ${BOOSTING:---backbone vgg16 --weights imagenet --head blocks}

  say "$protocol: evaluate; patches and images side by side, then all ways, the best on val first"
  bccli evaluate "$patches" --level patch --format json >"$patches@patch.json"
  (cd "$into" && bccli evaluate sample-bilstm attention $rules --format table)
done

tables 'all-data=sample-data' 'all-bilstm=sample-bilstm' 'mean=vote' 'svm=vote' 'blocks-2x2=vote'
