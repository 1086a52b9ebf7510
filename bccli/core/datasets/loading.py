"""From a Sample of a raw dataset to its pixels."""

import importlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bccli.core.catalog import DATASETS
from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading
from bccli.core.errors import ImageError
from bccli.core.imaging.fitting import NEAREST, stretch
from bccli.core.imaging.formats.decoding import decode_deep, stretched

_MOST_LABELS = 15
_SAME_ASPECT = 0.01
"""By so much, as a share, a mask's aspect may differ from that of the image that it is scaled to."""
_LEAST, _MOST = 1.02, 2.0
"""By what masks are scaled up or down: those of CBIS-DDSM by 1.149. One that lacks a few rows was cut, and a
crop is rarely half as large as its film."""


class Raw(NamedTuple):
    """A raw image, as `decode_deep` gives it, and its mask, uint8 of 0 and 255 (height, width), or None.

    `remark` is a row of `verification.REMARKS` that the mask deserves, "" for none.
    """

    image: np.ndarray
    mask: np.ndarray | None = None
    remark: str = ""


def load_raw(sample: Sample, source: Path, reading: Reading) -> Raw:
    """The sample's image and mask. Raises ImageError with the reason."""
    module, function = DATASETS[sample.dataset].loader.split(":")
    loader = getattr(importlib.import_module(f"bccli.core.datasets.{module}"), function)
    return loader(sample, source, reading)


def load_files(sample: Sample, source: Path, reading: Reading) -> Raw:
    """Read the image, and where the sample names masks what is in any of them, from files below `source`."""
    root = root_of(source)
    image = decode_deep(root / sample.source)
    contours = DATASETS[sample.dataset].contours
    found = [load_mask(root / name, name, image.shape[:2], contours=contours) for name in sample.masks]
    if not found:
        return Raw(image)
    masks, scaled = zip(*found, strict=True)
    return Raw(image, np.maximum.reduce(masks), "mask_scaled" if any(scaled) else "")


def load_mask(
    path: Path, name: str, shape: tuple[int, int], *, contours: bool = False
) -> tuple[np.ndarray, bool]:
    """The mask of an image of this shape, uint8 of 0 and 255, and whether it was scaled to that.

    Of `contours` it is what they enclose. Raises ImageError, which calls it by its `name`.
    """
    try:
        levels = grey_of(decode_deep(path))
    except ImageError as error:
        raise ImageError(f"its mask {name} {error}") from None
    check_shape(name, levels, shape)
    mask = black_and_white(levels)
    if contours:
        from bccli.core.imaging.contours import fill

        check_marks(name, mask)
        mask = fill(mask)
    return scaled_to(shape, mask), mask.shape != shape


def black_and_white(levels: np.ndarray) -> np.ndarray:
    """Levels uint8 as a mask: 255 where they are bright, else 0.

    Where none is, half of the brightest counts as bright; labels such as 0, 1 and 2 all do but 0.
    """
    most = int(levels.max(initial=0))
    threshold = 127 if most > 127 else most // 2 if most > _MOST_LABELS else 0
    mask: np.ndarray = (levels > threshold).view(np.uint8)
    mask *= 255
    return mask


def check_marks(name: str, mask: np.ndarray) -> None:
    """Raise ImageError for a mask that marks nothing, or everything."""
    if not mask.any():
        raise ImageError(f"its mask {name} is empty")
    if mask.all():
        raise ImageError(f"its mask {name} is white all over")


def check_shape(name: str, levels: np.ndarray, shape: tuple[int, int]) -> None:
    """Raise ImageError for a mask that is neither of its image's `shape` (height, width) nor scales to it.

    What has many values is a picture, and called a crop.
    """
    if levels.shape != shape and not is_scalable(levels, shape):
        kind = "mask" if is_two_valued(levels) else "crop"
        found, wanted = (f"{side[1]}×{side[0]}" for side in (levels.shape, shape))
        raise ImageError(f"its {kind} {name} has another size ({found}, not {wanted})")


def is_scalable(levels: np.ndarray, shape: tuple[int, int]) -> bool:
    """Whether levels (height, width) are a smaller or larger mask of an image of this shape."""
    down, across = (whole / own for whole, own in zip(shape, levels.shape, strict=True))
    return (
        abs(down / across - 1) <= _SAME_ASPECT
        and (_are_plausible(down, across) or _are_plausible(1 / down, 1 / across))
        and is_two_valued(levels)
    )


def _are_plausible(*factors: float) -> bool:
    return all(_LEAST <= factor <= _MOST for factor in factors)


def scaled_to(shape: tuple[int, int], mask: np.ndarray) -> np.ndarray:
    """A mask at the size of an image (height, width), each of whose pixels is the nearest of the mask."""
    return stretch(mask, (shape[1], shape[0]), interpolation=NEAREST)


def is_two_valued(levels: np.ndarray) -> bool:
    """Whether nearly all pixels are black or white; JPEG blurs the edges. Every third is looked at."""
    some = levels[::3, ::3]
    return bool(np.count_nonzero((some > 64) & (some < 192)) <= 0.01 * some.size)


def grey_of(pixels: np.ndarray) -> np.ndarray:
    """What `decode_deep` gives as uint8 (height, width): the brightest colour, or grey of any depth."""
    if pixels.ndim == 3:
        return pixels.max(axis=2)
    return pixels if pixels.dtype == np.uint8 else stretched(pixels)


def root_of(source: Path) -> Path:
    """The folder that the samples' sources are relative to."""
    return source if source.is_dir() else source.parent


def file_size(sample: Sample, source: Path) -> int:
    """Bytes of the sample's file, -1 where there is none."""
    try:
        return (root_of(source) / sample.source).stat().st_size
    except OSError:
        return -1
