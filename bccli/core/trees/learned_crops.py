"""A detector for the regions that nodes classify: chosen, trained with the tree, and measured by masks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.node_subset import LESION, lesions_of
from bccli.core.data.split_codes import TRAIN, counts_of, split_codes_of
from bccli.core.errors import UsageError
from bccli.core.evaluation.tree_figures import columns_of_regions
from bccli.core.imaging.equalising import Box
from bccli.core.metrics.material import Floats
from bccli.core.models.heads import DETECTOR as HEAT
from bccli.core.models.heads import Head
from bccli.core.prediction.detectors.predictor import DetectorPredictor
from bccli.core.prediction.flips import as_is
from bccli.core.prediction.maps.class_activation import overlap
from bccli.core.prediction.predictor import load_predictor
from bccli.core.prediction.run_predictor import ImagePatches
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import Run
from bccli.core.training.design import Design
from bccli.core.training.detectors.lesion_cells import detectable
from bccli.core.training.network import RunContext, train
from bccli.core.training.settings import Schedule
from bccli.core.trees.plan import CAM, DETECTOR, LEARNED, Plan
from bccli.core.trees.train_node import copy_run
from bccli.core.trees.train_region_finder import Films, Locators, shared_spec, true_boxes
from bccli.core.trees.tree_data import TreeData

FEWEST = 10
"""So many images of train need a mask for a detector to be worth it (our choice): with fewer, an epoch shows
it a handful of cells, and the maps, which learn from the labels of all images, know more."""

_STEP = 8


def with_detector(plan: Plan, dataset: Dataset, choice: str, fold: int | None, watcher: Watcher) -> Plan:
    """The plan with what finds regions, of auto, learned or cam; which it is, and why, is said.

    Raises UsageError for a detector that nobody needs, or that cannot be.
    """
    if plan.reused_detector or choice == LEARNED:
        if why := _needless(plan, choice):
            raise UsageError(why)
        if why := "" if plan.reused_detector else _impossible(plan, dataset):
            raise UsageError(f"--detector {LEARNED}: {why}; leave it out, or say --detector {CAM}")
        return replace(plan, detector=LEARNED)
    if choice == CAM or not plan.cropped:
        return plan
    marked, nodes = _marked(dataset, fold), ", ".join(plan.cropped)
    few = f"{marked} images of train have a mask, and a detector learns from {FEWEST} or more"
    why = _impossible(plan, dataset) or (few if marked < FEWEST else "")
    if why:
        watcher.note(f"{nodes}: without masks, regions will be found by class-activation maps, as {why}")
        return plan
    watcher.note(
        f"{nodes}: without masks, regions will be found by a detector, which learns from the {marked} images "
        f"of train with a mask; --detector {CAM} takes class-activation maps"
    )
    return replace(plan, detector=LEARNED)


def _needless(plan: Plan, choice: str) -> str:
    """Why a detector that is asked for has no use; nothing where it has one."""
    asked = f"--compose {DETECTOR}" if plan.reused_detector else f"--detector {LEARNED}"
    if not plan.cropped:
        return (
            f"{asked}: no node sees regions; compose one of a run on images that were prepared with --roi, "
            "--compose NODE=RUN@DATA, or leave it out"
        )
    return f"{asked}: does not go with --detector {CAM}; leave one of them out" if choice == CAM else ""


def _impossible(plan: Plan, dataset: Dataset) -> str:
    """Why no detector can be trained with a tree; nothing where one can."""
    design = plan.node_settings.design
    if design.from_files:
        return f"{design.backbone} is a card, whose network gives no maps to learn on"
    if dataset.preparation.region or dataset.preparation.patches:
        return f"{dataset.root} has regions or patches, and a detector looks at whole images"
    return ""


def _marked(dataset: Dataset, fold: int | None) -> int:
    """How many images of train have a mask, copies left out."""
    codes = split_codes_of(dataset, fold).tolist()
    pairs = zip(dataset.samples, codes, strict=True)
    return sum(bool(sample.mask) and code == TRAIN and sample.variant == 0 for sample, code in pairs)


def detector_design(plan: Plan) -> Design:
    """How a tree's detector is trained: as `train --head detector` does, on the tree's backbone."""
    design = plan.node_settings.design
    return Design(
        backbone=design.backbone,
        weights=design.weights,
        head=Head(kind=HEAT),
        schedule=Schedule(seed=design.schedule.seed),
        fold=design.fold,
        allow_leakage=design.allow_leakage,
        input_norm=design.input_norm,
    )


def make_detector(plan: Plan, tree_data: TreeData, root: Path, context: RunContext) -> Run:
    """Make, continue or recognise the detector in `root`, the tree's.

    It learns from all images of the tree, not only from those under the nodes that it serves. Raises what
    `train` raises.
    """
    folder, nodes = root / DETECTOR, ", ".join(plan.cropped)
    if plan.reused_detector:
        context.watcher.note(f"{DETECTOR} (for {nodes}): from {plan.reused_detector.run.root}")
        return copy_run(plan.reused_detector.run, folder)
    context.watcher.note(f"{DETECTOR} (for {nodes}): {LESION} or not, cell by cell")
    dataset = detectable(tree_data.dataset, context.watcher)
    return train(detector_design(plan), dataset, folder, context, cache=tree_data.cache)


def preview_detector(plan: Plan, dataset: Dataset, fold: int | None) -> list[dict[str, object]]:
    """The rows of a dry run for the detector that is trained; none where none is."""
    if not plan.trains_detector:
        return []
    found = lesions_of(dataset)
    return [{"node": DETECTOR, **row} for row in counts_of(found, split_codes_of(found, fold))]


def locate_by(
    detector: Run,
    wanted: Sequence[str],
    leaves: Mapping[str, Sequence[str]],
    nodes: Mapping[str, Run],
    films: Films,
    context: RunContext,
) -> Locators:
    """Let a detector find the regions that the `wanted` nodes classify, whose labels are `leaves`, and
    measure it on val and test. Where it cannot, the reason is logged."""
    found = Locators()
    named = []
    for name in wanted:
        if why := shared_spec(name, wanted, nodes):
            context.watcher.note(f"{name}: predict will need --mask-dir, as {why}")
        else:
            named.append(name)
    boxes = {name: true_boxes(films.images, leaves[name]) for name in named}
    held_out = {index for of_node in boxes.values() for index in of_node if not films.trained[index]}
    seen = _surest_boxes(detector, films, np.array(sorted(held_out), np.int64), context)
    for name in named:
        found.facts[name] = {DETECTOR: DETECTOR}
        found.columns |= _measured(name, boxes[name], seen, len(films.images.samples))
    return found


def _surest_boxes(
    detector: Run, films: Films, indices: np.ndarray, context: RunContext
) -> dict[int, Box | None]:
    """The surest box that `predict` would find in each prepared image of these indices, None without any."""
    (predictor,) = load_predictor(
        [detector.root],
        device=context.device,
        tempered=False,
        verbose=context.verbose,
        watcher=context.watcher,
    ).members
    assert isinstance(predictor, DetectorPredictor)
    found: list[Box | None] = []
    for batch in films.images.batches(indices, _STEP):
        entries = [ImagePatches(image[None], (None,)) for image in np.asarray(batch)]
        for heat in predictor.maps(entries, (as_is,), _STEP):
            boxes = predictor.grid.boxes(heat)
            found.append(boxes[0].box if boxes else None)
    return dict(zip(indices.tolist(), found, strict=True))


def _measured(
    name: str, boxes: Mapping[int, Box], seen: Mapping[int, Box | None], count: int
) -> dict[str, Floats]:
    """The columns that say how well a node's regions are found: whether the middle of the box lies in the
    true one, and the overlap of both; NaN (images,) where that is not known.

    Where nothing is found, both are 0, though the node would see the whole image.
    """
    hits, overlaps = np.full(count, np.nan), np.full(count, np.nan)
    for index in boxes.keys() & seen.keys():
        true, found = boxes[index], seen[index]
        hits[index] = found is not None and _has_middle(true, found)
        overlaps[index] = 0.0 if found is None else overlap(found, true)
    return dict(zip(columns_of_regions(name), (hits, overlaps), strict=True))


def _has_middle(true: Box, found: Box) -> bool:
    column, row = (found.left + found.right) / 2, (found.top + found.bottom) / 2
    return true.left <= column < true.right and true.top <= row < true.bottom
