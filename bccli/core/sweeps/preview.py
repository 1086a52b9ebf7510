"""What a sweep would train: a row per member, before anything is trained or written."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bccli.core.catalog import Backbone, find_backbone
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import open_images
from bccli.core.data.manifest import SPLITS
from bccli.core.data.split_codes import split_codes_of
from bccli.core.errors import BccliError, UsageError
from bccli.core.models.backbones import build_backbone, check_size
from bccli.core.models.extractors import build_features
from bccli.core.models.heads import HEADS, build_head, units
from bccli.core.models.weights import Weights, cached_file
from bccli.core.progress import SILENT, Watcher
from bccli.core.sweeps.grid import name_of
from bccli.core.training.design import DENSE, Design, resolve

READY, FAILED = "ready", "failed"


def preview_members(
    designs: Sequence[Design], dataset: Dataset, fold: int | None, *, seeded: bool, watcher: Watcher = SILENT
) -> list[dict[str, Any]]:
    """A row per member: what it starts from and whether that is there, what of it learns, and its images.

    A member that would fail has its reason. Networks are built to count what learns, once for all members
    that differ in seeds only. Raises UsageError for what is wrong with all.
    """
    codes = split_codes_of(dataset, fold)
    used = [sample for sample, code in zip(dataset.samples, codes.tolist(), strict=True) if code >= 0]
    size = open_images(dataset.root, used).size
    images = {split: int((codes == code).sum()) for code, split in enumerate(SPLITS)}
    counted: dict[Any, int | None] = {}
    rows = []
    with watcher.track(len(designs), "members") as advance:
        for design in designs:
            row = {"name": name_of(design, seeded=seeded), **_start_of(design)}
            try:
                row |= _checked(design, dataset, size, counted)
            except UsageError:
                raise
            except BccliError as error:
                row |= {"status": FAILED, "reason": str(error)}
            rows.append(_COLUMNS | row | images)
            advance(1)
    return rows


_COLUMNS: dict[str, Any] = dict.fromkeys(
    ("name", "backbone", "classifier", "seed", "weights", "weights_file", "trainable", "trainable_parameters",
     *SPLITS, "status", "reason")
)  # fmt: skip


def _start_of(design: Design) -> dict[str, Any]:
    """What a member starts from, whether it is there or not."""
    backbone = find_backbone(design.backbone) if design.backbone != "none" else None
    choice = design.weights or ("imagenet" if backbone and backbone.weights else "none")
    file = str(cached_file(backbone)) if choice == "imagenet" and backbone and backbone.weights else choice
    return {
        "backbone": design.backbone,
        "classifier": design.classifier,
        "seed": design.schedule.seed,
        "weights": choice if choice in ("imagenet", "none") else "file",
        "weights_file": "" if file == "none" else file,
        "reason": "",
    }


def _checked(
    design: Design, dataset: Dataset, size: tuple[int, int], counted: dict[Any, int | None]
) -> dict[str, Any]:
    """What is known of a member that can be trained. Raises what would be wrong with it."""
    resolved, backbone, weights = resolve(design)
    check_size(backbone, size)
    units(resolved.head.output, len(dataset.classes))
    key = resolved.backbone, resolved.trainable, resolved.head, resolved.classifier
    if key not in counted:
        counted[key] = _trainable_parameters(resolved, backbone, size, len(dataset.classes))
    return {
        "weights_file": str(weights.file or ""),
        "trainable": resolved.trainable,
        "trainable_parameters": counted[key],
        "status": READY,
    }


def _trainable_parameters(
    design: Design, backbone: Backbone, size: tuple[int, int], classes: int
) -> int | None:
    """How many numbers of head and backbone learn; None where a classifier is fitted or patches are fused."""
    if design.classifier != DENSE or design.fusing:
        return None
    import keras

    keras.backend.clear_session()
    network = build_backbone(backbone, size, Weights("none"))
    extractor = build_features(backbone, network, HEADS[design.head.kind].features)
    head = build_head(design.head, extractor.output_shape[-1], classes)
    learning = [head, *([] if design.trainable == "none" else [network])]
    return sum(int(np.prod(variable.shape)) for model in learning for variable in model.trainable_variables)
