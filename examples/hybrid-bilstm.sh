#!/usr/bin/env bash
# Yan et al. 2018: Inception-V3 on patches, a bidirectional LSTM over the patches of an image, and its rivals.
#   examples/hybrid-bilstm.sh BACH [FOLDER]      BACH is the unpacked download, results go to FOLDER
# The stage of the patches wants a GPU; all else takes minutes. Options for both stages, such as a smaller
# backbone, go into PATCHES and IMAGES: PATCHES='--backbone mobilenet --epochs 5' examples/hybrid-bilstm.sh …
# Stop it half-way and run it again: it continues.
set -euo pipefail
bach=${1:?say where the images of BACH are}
out=${2:-bccli-hybrid}

echo "== 1. prepare: Macenko's normalisation, 12 patches of each image" >&2
bccli prepare bach "$bach" "$out/data" --recipe hybrid-bilstm ${PREPARE:-}

echo "== 2. patches: a backbone learns to tell them" >&2
bccli train "$out/data" "$out/patches" --recipe hybrid-bilstm:patches ${PATCHES:-}

echo "== 3. images: six ways from the features of the patches to the image; computed once for the rules too" >&2
for head in bilstm attention; do
  bccli train "$out/data" "$out/$head" --recipe hybrid-bilstm:images --features-from "$out/patches" \
    --head "$head" ${IMAGES:-}
done
for head in vote mean svm blocks-2x2; do
  bccli train "$out/data" "$out/$head" --recipe hybrid-bilstm:images --features-from "$out/patches" --head "$head"
done

echo "== 4. evaluate: patches and images side by side, then all ways, the best on val first" >&2
bccli evaluate "$out/bilstm" --format table --output "$out/figures"
bccli evaluate "$out"/{bilstm,attention,vote,mean,svm,blocks-2x2} --format table
