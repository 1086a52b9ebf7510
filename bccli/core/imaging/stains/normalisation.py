"""Stain normalisation: every image as if it had been stained like a target."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.formats.decoding import decode
from bccli.core.imaging.stains.fits import AnyFit, ColourFit, Fit, StainFit
from bccli.core.imaging.stains.macenko import REFERENCE, measure_macenko, normalise_macenko
from bccli.core.imaging.stains.reinhard import measure_reinhard, normalise_reinhard
from bccli.core.imaging.stains.vahadane import measure_vahadane, normalise_vahadane


@dataclass(frozen=True, slots=True)
class Method(Generic[AnyFit]):
    """A method of stain normalisation: it measures a stain, and takes an image from one to another.

    `measure` gives None for an image without enough stained tissue; `reference` is a target for when
    none can be learned.
    """

    kind: type[AnyFit]
    measure: Callable[[np.ndarray], AnyFit | None]
    normalise: Callable[[np.ndarray, AnyFit, AnyFit], np.ndarray]
    reference: AnyFit | None = None


STAINS: dict[str, Method[Any]] = {
    "macenko": Method(StainFit, measure_macenko, normalise_macenko, REFERENCE),
    "reinhard": Method(ColourFit, measure_reinhard, normalise_reinhard),
    "vahadane": Method(StainFit, measure_vahadane, normalise_vahadane, REFERENCE),
}


def normalise_stain(image: np.ndarray, method: str, target: Fit) -> tuple[np.ndarray, bool]:
    """A uint8 RGB image stained like `target`, and True; or the image itself, and False, where its own
    stain cannot be measured."""
    chosen = STAINS[method]
    source = chosen.measure(image)
    return (image, False) if source is None else (chosen.normalise(image, source, target), True)


def target_from_file(path: Path | str, method: str) -> Fit:
    """The stain of an image file. Raises DataError that names the file."""
    try:
        fit: Fit | None = STAINS[method].measure(decode(path))
    except DataError as error:
        raise DataError(f"{path}: {error}; the stain target must be an image that can be read") from None
    if fit is None:
        raise DataError(f"{path}: too little stained tissue for a stain target; choose another image")
    return fit
