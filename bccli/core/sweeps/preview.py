"""What a sweep would make, a row per member and fold: `--dry-run`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

from bccli.core.catalog import find_backbone
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import open_images
from bccli.core.data.manifest import SPLITS
from bccli.core.data.split_codes import split_codes_of
from bccli.core.errors import BccliError
from bccli.core.models.heads import units
from bccli.core.progress import SILENT, Watcher
from bccli.core.sweeps.cross_validation import check_folds
from bccli.core.training.assembly import count_learning
from bccli.core.training.design import (
    CARD,
    DENSE,
    JOINED,
    NO_BACKBONE,
    VECTORS,
    Design,
    check_image_size,
    check_images,
    resolve,
    usable_codes,
)
from bccli.core.training.heads.surroundings import with_surroundings
from bccli.core.weights.pretrained import cached_file, file_of

_UNKNOWN = {"layer": None, "trainable_parameters": None}


def preview_members(
    designs: Mapping[str, Design], dataset: Dataset, *, folds: bool, watcher: Watcher = SILENT
) -> list[dict[str, Any]]:
    """A row per member and fold: its network, the weights it starts from, how many parameters learn and from
    which layer on, its images and patients, and what would stop it. Writes nothing."""
    for design in designs.values() if folds else ():
        check_folds(design, dataset)
    numbers = range(dataset.folds) if folds else [None]
    count = cache(partial(_learning, dataset))
    rows = []
    with watcher.track(len(designs), "members") as advance:
        for name, design in designs.items():
            facts = _of_design(design, count)
            problem = facts.pop("problem")
            for number in numbers:
                fold = design.fold if number is None else number
                images = _of_images(design, dataset, fold)
                found = images.pop("problem")
                rows.append({"name": name, "fold": fold, **facts, **images, "problem": problem or found})
            advance(1)
    return rows


def _of_design(design: Design, count: Callable[[Design], dict[str, Any]]) -> dict[str, Any]:
    """What is known of a member whatever its fold; `count` says what learns, as it does for any seed."""
    tuning = design.tuning
    known: dict[str, Any] = {
        "backbone": design.backbone,
        **({"from_layer": tuning.from_layer} if tuning else {"classifier": design.classifier}),
        "seed": design.schedule.seed,
        "head": "kept" if tuning and not tuning.fresh_head else f"fresh {design.head.kind}",
        **_weights(design),
        **_UNKNOWN,
        "problem": None,
    }
    try:
        return {**known, **count(replace(design, schedule=replace(design.schedule, seed=0)))}
    except BccliError as error:
        return {**known, "problem": str(error)}


def _weights(design: Design) -> dict[str, str | None]:
    """What the backbone starts from, and the file, whether it is there or not."""
    if design.vectors:
        return {"weights": VECTORS, "weights_file": str(design.vectors.path)}
    if design.card and not design.fusing:
        return {"weights": CARD, "weights_file": str(design.card.path)}
    if design.joined and not design.fusing:
        return {"weights": JOINED, "weights_file": None}
    if design.tuning or design.fusing or design.backbone == NO_BACKBONE.name:
        return {"weights": None, "weights_file": str(design.tuning.base) if design.tuning else None}
    backbone = find_backbone(design.backbone)
    choice = design.weights or ("imagenet" if backbone.weights else "none")
    if choice == "imagenet" and backbone.weights:
        return {"weights": choice, "weights_file": str(cached_file(backbone))}
    named = choice not in ("imagenet", "none")
    return {"weights": "file" if named else choice, "weights_file": str(file_of(choice)) if named else None}


def _learning(dataset: Dataset, design: Design) -> dict[str, Any]:
    """The first layer that learns and the parameters of what learns; unknown where no network does.

    Raises what a member of this design would fail with before it is trained.
    """
    design, backbone, _ = resolve(design)
    design = replace(design, head=with_surroundings(design.head, dataset))
    units(design.head.output, len(dataset.classes))
    if design.vectors:
        return _UNKNOWN
    size = open_images(dataset.root, dataset.samples).size
    check_image_size(design, backbone, size, dataset.root)
    if design.fusing or design.from_files or design.classifier != DENSE:
        return _UNKNOWN
    layer, learning = count_learning(design, backbone, size, len(dataset.classes))
    return {"layer": layer, "trainable_parameters": learning}


def _of_images(design: Design, dataset: Dataset, fold: int | None) -> dict[str, Any]:
    """The images of each split, the patients of all, and what is wrong with them."""
    counts: dict[str, Any] = dict.fromkeys((*SPLITS, "patients", "problem"))
    try:
        codes = usable_codes(design, split_codes_of(dataset, fold))
        counts |= {split: int((codes == code).sum()) for code, split in enumerate(SPLITS)}
        used = [sample for sample, code in zip(dataset.samples, codes.tolist(), strict=True) if code >= 0]
        counts["patients"] = len({sample.patient for sample in used if sample.patient}) or None
        check_images(design, dataset, codes)
    except BccliError as error:
        counts["problem"] = str(error)
    return counts
