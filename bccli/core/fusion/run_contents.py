"""The contents of the run of a fusion: answers for images and their patches, figures, the fusion, facts."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.data.manifest import Sample
from bccli.core.fusion.bags import Bag
from bccli.core.fusion.fusion_data import FusionData
from bccli.core.fusion.learners import Learned
from bccli.core.fusion.methods import Fuser
from bccli.core.metrics.overfitting import accuracies
from bccli.core.runs.run_folder import PATCHES_FILE, PREDICTIONS_FILE, Run, complete_run
from bccli.core.training.frozen.sources import write_card
from bccli.core.training.network import RunContext
from bccli.core.training.run_contents import (
    draw_curves,
    draw_network,
    facts_of,
    write_answers,
    write_origins,
    write_results,
)

# So many images are answered at a time.
_BATCH = 64


def complete_fusion(data: FusionData, learned: Learned, run: Run, context: RunContext) -> Run:
    """Answer for images and patches, measure, draw, export, and complete the run."""
    patch = data.patch
    correct = _write_answers(data, learned.fuser, run)
    learned.stored.write(run.root)
    exported = patch.source.store(run.root)
    if data.job.design.card:
        write_card(data.job.design.card, run.root)
    write_origins(data.job, run)
    facts = {
        **facts_of(data.job, run.root),
        "recipe": context.recipe or None,
        "size": list(data.images.size),
        "images": len(data.labels),
        "parameters": None if (own := patch.source.parameters) is None else own + learned.parameters,
        **patch.source.facts,
        **exported,
        **correct,
        **learned.facts,
    }
    write_results(run.with_facts(**facts))
    if learned.progress:
        draw_curves(run.root, learned.progress)
    draw_network(run.root, [*patch.layers, *learned.layers])
    return complete_run(run, facts)


def _write_answers(data: FusionData, fuser: Fuser, run: Run) -> dict[str, Any]:
    """predictions.csv of images and patches.csv of patches; returns how many of both are correct."""
    classes, samples = data.job.dataset.classes, data.images.samples
    protocol = data.job.dataset.info.protocol
    fused, patches = _answers(data, fuser)
    images, codes = _rows(data), data.of_patches(data.split_codes)
    write_answers(run.root / PREDICTIONS_FILE, images, data.split_codes, fused, classes)
    write_answers(run.root / PATCHES_FILE, samples, codes, patches, classes)
    correct = patches.argmax(axis=1) == data.of_patches(data.labels)
    return {
        "patches": accuracies(correct, samples, codes, protocol),
        **accuracies(fused.argmax(axis=1) == data.labels, images, data.split_codes, protocol),
    }


def _rows(data: FusionData) -> list[Sample]:
    """The images as rows of a table."""
    grouping, samples = data.inputs.grouping, data.images.samples
    return [
        replace(samples[index], path=key, row=None, col=None)
        for key, index in zip(grouping.keys, grouping.first.tolist(), strict=True)
    ]


def _answers(data: FusionData, fuser: Fuser) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (images, classes) of all images, and (patches, classes) of each patch by itself."""
    fused: list[np.ndarray] = []
    patches = np.empty((len(data.images.samples), len(data.job.dataset.classes)))
    for images, bags in _batches(data):
        fused.append(fuser(bags))
        for image, bag in zip(images, bags, strict=True):
            patches[data.inputs.grouping.of(image)] = bag.probabilities
    return np.concatenate(fused), patches


def _batches(data: FusionData) -> Iterator[tuple[range, list[Bag]]]:
    """Yield the numbers of some images and their bags, until a signal comes."""
    for start in range(0, len(data.labels), _BATCH):
        images = range(start, min(start + _BATCH, len(data.labels)))
        yield images, [data.bag(image) for image in images]
        interruption.stop_if_requested()
