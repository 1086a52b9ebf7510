"""Raw images, prepared exactly as the training images of a predictor's runs were."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.errors import ImageError
from bccli.core.imaging.blankness import blankness_of
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.formats.decoding import decode_deep
from bccli.core.imaging.formats.turns import one_large_at_a_time
from bccli.core.imaging.preparation import Preparation, prepare_image
from bccli.core.prediction.predictor import Predictor
from bccli.core.prediction.region_finder import Locator, box_columns, filled
from bccli.core.prediction.run_predictor import ImagePatches, InputSpec

if TYPE_CHECKING:
    from bccli.core.prediction.explanations import ShownImage


@dataclass(frozen=True)
class PreparedFile:
    """An image as each of the predictor's `specs` wants it, or the error why it could not be prepared.

    `columns` say where its regions were found, `remark` what is odd about it. What is to be explained is
    `shown`, and `shape` (height, width) is that of the raw image.
    """

    path: str
    patches: tuple[ImagePatches, ...] = ()
    error: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""
    shown: "ShownImage | None" = None
    shape: tuple[int, int] = (0, 0)


def prepare_file(predictor: Predictor, path: str) -> PreparedFile:
    """Read an image and prepare it; large ones take turns, so that they do not fill the memory."""
    with one_large_at_a_time():
        try:
            raw = decode_deep(path)
            found, columns = _by_spec(predictor, raw, _mask_of(predictor, path, raw.shape[:2]))
            shown = predictor.explaining.show(raw, path) if predictor.explaining else None
        except ImageError as error:
            return PreparedFile(path, error=str(error))
        patches = tuple(found[spec] for spec in predictor.specs)
        return PreparedFile(
            path, patches, columns=columns, remark=blankness_of(raw), shown=shown, shape=raw.shape[:2]
        )


def _mask_of(predictor: Predictor, path: str, shape: tuple[int, int]) -> np.ndarray | None:
    """The mask of an image of this shape (height, width), None where none is needed."""
    masks = predictor.masks
    if masks is None or not predictor.needs_masks:
        return None
    return masks.load(path, shape) if masks.holds(path) or not predictor.finds_regions else None


def _by_spec(
    predictor: Predictor, raw: np.ndarray, mask: np.ndarray | None
) -> tuple[dict[InputSpec, ImagePatches], dict[str, str]]:
    """An image as each spec wants it, and the columns of the regions that locators find.

    Regions come last: they may have to be found in what another spec shows.
    """
    found: dict[InputSpec, ImagePatches] = {}
    columns: dict[str, str] = {}
    for spec in sorted(predictor.specs, key=lambda spec: spec[0].region is not None):
        locator = predictor.locators.get(spec)
        marked = _located(locator, found, raw.shape[:2]) if locator and mask is None else mask
        found[spec] = _patches(raw, spec, marked, predictor)
        if locator:
            source = locator.source if mask is None else "mask"
            columns |= _region_columns(locator.node, found[spec].box, source)
    return found, columns


def _located(locator: Locator, found: Mapping[InputSpec, ImagePatches], shape: tuple[int, int]) -> np.ndarray:
    """The mask (height, width) of the region that a locator finds."""
    return filled(locator(found[locator.spec], shape), shape)


def _region_columns(node: str, box: Box | None, source: str) -> dict[str, str]:
    return dict(zip(box_columns(node), (",".join(map(str, box or ())), source), strict=True))


def _patches(raw: np.ndarray, spec: InputSpec, mask: np.ndarray | None, predictor: Predictor) -> ImagePatches:
    """An image by a spec. Raises ImageError where it has no patches, or those of another size."""
    preparation, size = spec
    prepared = prepare_image(raw, Preparation() if predictor.prepared else preparation, mask)
    patches = list(prepared.patches)
    if not patches:
        raise ImageError("has no patch with enough tissue")
    height, width = patches[0].image.shape[:2]
    if (width, height) != size:
        raise ImageError(f"is {width}×{height}, and the run knows only {size[0]}×{size[1]}")
    positions = tuple(
        None if patch.row is None or patch.col is None else (patch.row, patch.col) for patch in patches
    )
    return ImagePatches(np.stack([patch.image for patch in patches]), positions, patches[0].box)
