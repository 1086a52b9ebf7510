"""The contents of the run of a fusion: answers for images and their patches, figures, the fusion, facts."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.fusion.bags import Bag
from bccli.core.fusion.fusion_data import FusionData
from bccli.core.fusion.learners import Learned
from bccli.core.fusion.methods import Fuser
from bccli.core.metrics.overfitting import accuracies
from bccli.core.runs.run_folder import PATCHES_FILE, PREDICTIONS_FILE, Run, complete_run
from bccli.core.training.network import RunContext
from bccli.core.training.run_contents import (
    draw_curves,
    draw_network,
    facts_of,
    write_answers,
    write_origins,
    write_results,
)

# So many images are answered at a time, and features of so many numbers.
_BATCH, _NUMBERS = 64, 1 << 24


def complete_fusion(data: FusionData, learned: Learned, run: Run, context: RunContext) -> Run:
    """Answer for images and patches, measure, draw, export, and complete the run."""
    patch = data.patch
    correct = _write_answers(data, learned.fuser, run)
    learned.stored.write(run.root)
    exported = patch.source.store(run.root)
    write_origins(data.job, run)
    facts = {
        **facts_of(data.job, run.root),
        "recipe": context.recipe or None,
        "size": list(data.size),
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
    classes, protocol = data.job.dataset.classes, data.job.dataset.info.protocol
    fused, patches = _answers(data, fuser)
    write_answers(run.root / PREDICTIONS_FILE, data.images, data.split_codes, fused, classes)
    correct = accuracies(fused.argmax(axis=1) == data.labels, data.images, data.split_codes, protocol)
    if data.patches is None:
        return correct
    codes = data.of_patches(data.split_codes)
    write_answers(run.root / PATCHES_FILE, data.patches, codes, patches, classes)
    right = patches.argmax(axis=1) == data.of_patches(data.labels)
    return {"patches": accuracies(right, data.patches, codes, protocol), **correct}


def _answers(data: FusionData, fuser: Fuser) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (images, classes) of all images, and (patches, classes) of each patch by itself."""
    fused: list[np.ndarray] = []
    patches = np.empty((len(data.patches or ()), len(data.job.dataset.classes)))
    for images, bags in _batches(data):
        fused.append(fuser(bags))
        for image, bag in zip(images, bags, strict=True) if data.patches else ():
            patches[data.inputs.grouping.of(image)] = bag.probabilities
    return np.concatenate(fused), patches


def _batches(data: FusionData) -> Iterator[tuple[list[int], list[Bag]]]:
    """Yield the numbers of some images and their bags, as many as fit into memory, until a signal comes."""
    waiting: list[int] = []
    numbers = 0
    for image in range(len(data.labels)):
        own = data.count(image) * data.inputs.values.shape[1]
        if waiting and (len(waiting) == _BATCH or numbers + own > _NUMBERS):
            yield waiting, [data.bag(one) for one in waiting]
            interruption.stop_if_requested()
            waiting, numbers = [], 0
        waiting.append(image)
        numbers += own
    yield waiting, [data.bag(one) for one in waiting]
