"""From a Sample of a raw dataset to its pixels."""

import importlib
from pathlib import Path

import numpy as np

from bccli.core.catalog import DATASETS
from bccli.core.datasets import Reading
from bccli.core.errors import ImageError
from bccli.core.imaging.decoding import decode_deep, stretched
from bccli.core.records import Sample

_MOST_LABELS = 15
Raw = tuple[np.ndarray, np.ndarray | None]


def load_raw(sample: Sample, source: Path, reading: Reading) -> Raw:
    """The sample's image, as `decode_deep` gives it, and mask (uint8 of 0 and 255, height × width, or None).

    Raises ImageError with the reason.
    """
    module, function = DATASETS[sample.dataset].loader.split(":")
    loader = getattr(importlib.import_module(f"bccli.core.datasets.{module}"), function)
    return loader(sample, source, reading)


def load_files(sample: Sample, source: Path, reading: Reading) -> Raw:
    """Read the image, and where the sample names masks what is in any of them, from files below `source`."""
    root = root_of(source)
    image = decode_deep(root / sample.source)
    contours = DATASETS[sample.dataset].contours
    masks = [load_mask(root / name, name, image.shape[:2], contours=contours) for name in sample.masks]
    return image, np.maximum.reduce(masks) if masks else None


def load_mask(path: Path, name: str, shape: tuple[int, int], *, contours: bool = False) -> np.ndarray:
    """The mask of an image of this shape, uint8 of 0 and 255; of `contours` what they enclose.

    Raises ImageError, which calls it by its `name`.
    """
    try:
        levels = grey_of(decode_deep(path))
    except ImageError as error:
        raise ImageError(f"its mask {name} {error}") from None
    check_shape(name, levels, shape)
    mask = black_and_white(levels)
    if not contours:
        return mask
    from bccli.core.imaging.contours import fill

    check_marks(name, mask)
    return fill(mask)


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
    """Raise ImageError for a mask of another size than its image's `shape` (height, width)."""
    if levels.shape != shape:
        found, wanted = (f"{side[1]}×{side[0]}" for side in (levels.shape, shape))
        raise ImageError(f"its mask {name} has another size ({found}, not {wanted})")


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
