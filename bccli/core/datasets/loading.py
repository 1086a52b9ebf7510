"""From a Sample of a raw dataset to its pixels."""

import importlib
from pathlib import Path

import numpy as np

from bccli.core.catalog import DATASETS
from bccli.core.datasets import Reading
from bccli.core.errors import ImageError
from bccli.core.imaging.decoding import decode
from bccli.core.records import Sample

Raw = tuple[np.ndarray, np.ndarray | None]


def load_raw(sample: Sample, source: Path, reading: Reading) -> Raw:
    """The sample's image (uint8, height × width × 3) and mask (uint8 of 0 and 255, height × width, or None).

    Raises ImageError with the reason.
    """
    module, function = DATASETS[sample.dataset].loader.split(":")
    loader = getattr(importlib.import_module(f"bccli.core.datasets.{module}"), function)
    return loader(sample, source, reading)


def load_files(sample: Sample, source: Path, reading: Reading) -> Raw:
    """Read the image, and the mask where the sample names one, from files below `source`."""
    root = root_of(source)
    image = decode(root / sample.source)
    if not sample.mask:
        return image, None
    try:
        mask = decode(root / sample.mask)[:, :, 0]
    except ImageError as error:
        raise ImageError(f"its mask {sample.mask} {error}") from None
    if mask.shape != image.shape[:2]:
        raise ImageError(f"its mask {sample.mask} has another size ({mask.shape[1]}×{mask.shape[0]})")
    return image, np.where(mask > 127, np.uint8(255), np.uint8(0))


def root_of(source: Path) -> Path:
    """The folder that the samples' sources are relative to."""
    return source if source.is_dir() else source.parent


def file_size(sample: Sample, source: Path) -> int:
    """Bytes of the sample's file, -1 where there is none."""
    try:
        return (root_of(source) / sample.source).stat().st_size
    except OSError:
        return -1
