"""Fits describe an image's stain in a few numbers, which are stored with a dataset or a run."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any, TypeVar

import numpy as np

from bccli.core.errors import DataError
from bccli.core.imaging.stains.densities import Floats

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StainFit:
    """Two stains as unit vectors of optical density in R, G, B, and the most that there is of each."""

    haematoxylin: Numbers
    eosin: Numbers
    maxima: Numbers

    @classmethod
    def of(cls, haematoxylin: Floats, eosin: Floats, maxima: Floats) -> "StainFit":
        """From arrays; the vectors become unit vectors."""
        first, second = (_numbers(vector / np.linalg.norm(vector)) for vector in (haematoxylin, eosin))
        return cls(first, second, _numbers(maxima))

    @property
    def matrix(self) -> Floats:
        """The stain matrix (3 × 2), haematoxylin first."""
        return np.array([self.haematoxylin, self.eosin]).T


@dataclass(frozen=True, slots=True)
class ColourFit:
    """Mean and standard deviation of an image's l, α and β."""

    means: Numbers
    deviations: Numbers

    @classmethod
    def of(cls, means: Floats, deviations: Floats) -> "ColourFit":
        """From arrays."""
        return cls(_numbers(means), _numbers(deviations))


Fit = StainFit | ColourFit
AnyFit = TypeVar("AnyFit", StainFit, ColourFit)
_LENGTHS: dict[type[Fit], dict[str, int]] = {
    StainFit: {"haematoxylin": 3, "eosin": 3, "maxima": 2},
    ColourFit: {"means": 3, "deviations": 3},
}


LEAST_SHARE, LEAST_PIXELS = 0.05, 100
"""Tissue below which an image's stain is not measured: its share of the pixels, and pixels. With less, a
stain's 99th percentile over all pixels says little about the tissue: of IDC patches with 1 to 3 %, Macenko's
method made the pale stroma white."""

LEAST_ANGLE, LEAST_AMOUNT = 6.0, 0.1
"""Degrees between two stains, and amount of a stain, below which they cannot be distinguished. On BreakHis
images and IDC patches, Macenko's stains are 11° apart at least and Vahadane's 7°; on a mere shadow, 4°."""

STRONG = 99.0
"""Percentile of a stain's amounts, over all pixels, that counts as its maximum (Macenko et al., 2009)."""


def is_enough(tissue: int, pixels: int) -> bool:
    """Whether so many pixels of tissue among those looked at let a stain be measured."""
    return tissue >= max(LEAST_PIXELS, LEAST_SHARE * pixels)


def percentiles(values: Floats, percents: Sequence[float]) -> list[float]:
    """The percentiles of values (n,), as `numpy.percentile` has them, in half its time."""
    places = [percent / 100 * (len(values) - 1) for percent in percents]
    below = [int(place) for place in places]
    parted = np.partition(values, sorted({*below, *(min(low + 1, len(values) - 1) for low in below)}))
    return [_between(parted, place) for place in places]


def _between(parted: Floats, place: float) -> float:
    """What is at a place between two neighbours, reckoned from the nearer one."""
    low = int(place)
    high, share = min(low + 1, len(parted) - 1), place - low
    step = float(parted[high] - parted[low])
    return float(parted[high]) - step * (1 - share) if share >= 0.5 else float(parted[low]) + step * share


def fit_stains(
    first: Floats, second: Floats, concentrations_by: Callable[[Floats], Floats]
) -> StainFit | None:
    """Two unit vectors put in order and measured; None where they are too alike or one is too weak.

    `concentrations_by` takes a stain matrix (3 × 2) and returns the concentrations (2, pixels). Of the two,
    haematoxylin is the one that takes away more red light.
    """
    stains = (first, second) if first[0] > second[0] else (second, first)
    if np.degrees(np.arccos(np.clip(first @ second, -1, 1))) < LEAST_ANGLE:
        return None
    amounts = concentrations_by(np.stack(stains, axis=1))
    maxima = np.array([percentiles(each, (STRONG,))[0] for each in amounts])
    return StainFit.of(*stains, maxima) if maxima.min() >= LEAST_AMOUNT else None


def _numbers(array: Floats) -> Numbers:
    return tuple(float(value) for value in array)


def median_fit(fits: Sequence[AnyFit]) -> AnyFit:
    """The element-wise median of fits of one kind, whatever their order; vectors are unit vectors again.

    Raises DataError where there is none.
    """
    if not fits:
        raise DataError("no image has enough stained tissue to learn a stain target from; give a target file")
    columns = zip(*map(astuple, fits), strict=True)
    return type(fits[0]).of(*(np.median(np.array(column), axis=0) for column in columns))


def fit_to_json(fit: Fit) -> dict[str, list[float]]:
    """As stored in dataset.json and run.json."""
    return {name: list(values) for name, values in asdict(fit).items()}


def fit_from_json(kind: type[AnyFit], value: dict[str, Any]) -> AnyFit:
    """Read exactly what `fit_to_json` wrote. Raises DataError for anything else."""
    try:
        numbers = {name: tuple(float(number) for number in row) for name, row in value.items()}
    except (AttributeError, TypeError, ValueError):
        numbers = {}
    lengths = {name: len(row) for name, row in numbers.items()}
    if lengths != _LENGTHS[kind] or not np.isfinite([n for row in numbers.values() for n in row]).all():
        raise DataError(f"the stain target {value!r} is damaged or of another bccli")
    return kind(**numbers)
