"""What a sweep would make, a row per member and fold: `--dry-run`."""

from collections.abc import Iterator, Mapping
from typing import Any

from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import open_images
from bccli.core.data.manifest import SPLITS
from bccli.core.data.split_codes import split_codes_of
from bccli.core.errors import BccliError
from bccli.core.models.backbones import check_size
from bccli.core.models.heads import units
from bccli.core.sweeps.cross_validation import check_folds
from bccli.core.training.assembly import learning_part
from bccli.core.training.design import DENSE, Design, check_images, resolve

_UNKNOWN = {"layer": None, "learning": None}


def preview_members(
    designs: Mapping[str, Design], dataset: Dataset, *, folds: bool
) -> Iterator[dict[str, Any]]:
    """Yield a row per member and fold: its network, how many parameters learn and from which layer on, its
    images and patients, and what would stop it. Writes nothing."""
    for design in designs.values() if folds else ():
        check_folds(design, dataset)
    numbers = range(dataset.folds) if folds else [None]
    for name, design in designs.items():
        facts = _of_design(design, dataset)
        problem = facts.pop("problem")
        for number in numbers:
            fold = design.fold if number is None else number
            images = _of_images(design, dataset, fold)
            found = images.pop("problem")
            yield {"name": name, "fold": fold, **facts, **images, "problem": problem or found}


def _of_design(design: Design, dataset: Dataset) -> dict[str, Any]:
    """What is known of a member whatever its fold."""
    tuning = design.tuning
    known: dict[str, Any] = {
        "backbone": design.backbone,
        **({"from_layer": tuning.from_layer} if tuning else {"classifier": design.classifier}),
        "seed": design.schedule.seed,
        "head": "kept" if tuning and not tuning.fresh_head else f"fresh {design.head.kind}",
        **_UNKNOWN,
        "problem": None,
    }
    try:
        return {**known, **_learning(design, dataset)}
    except BccliError as error:
        return {**known, "problem": str(error)}


def _learning(design: Design, dataset: Dataset) -> dict[str, Any]:
    """The first layer that learns and the parameters of what learns; unknown where no network does.

    Raises what a member of this design would fail with before it is trained.
    """
    design, backbone, _ = resolve(design)
    units(design.head.output, len(dataset.classes))
    size = open_images(dataset.root, dataset.samples).size
    check_size(backbone, size)
    if design.fusing or design.classifier != DENSE:
        return _UNKNOWN
    layer, learning = learning_part(design, backbone, size, len(dataset.classes))
    return {"layer": layer, "learning": learning}


def _of_images(design: Design, dataset: Dataset, fold: int | None) -> dict[str, Any]:
    """The images of each split, the patients of all, and what is wrong with them."""
    counts: dict[str, Any] = dict.fromkeys((*SPLITS, "patients", "problem"))
    try:
        codes = split_codes_of(dataset, fold)
        counts |= {split: int((codes == code).sum()) for code, split in enumerate(SPLITS)}
        used = [sample for sample, code in zip(dataset.samples, codes.tolist(), strict=True) if code >= 0]
        counts["patients"] = len({sample.patient for sample in used if sample.patient}) or None
        check_images(design, dataset, codes)
    except BccliError as error:
        counts["problem"] = str(error)
    return counts
