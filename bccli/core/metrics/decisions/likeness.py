"""Whether images are like those that a run was trained on, by their features, brightness and stain.

Distances are those of Mahalanobis, of features on their first principal components with what these leave out
beside (Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples",
arXiv:1807.03888, without its classes; Kamoi and Kobayashi 2020, arXiv:2003.00402, on why no classes are
needed). How far is too far is learned of val's patients.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.metrics.limits import student

FEATURES, BRIGHTNESS, STAIN = "features", "brightness", "stain"
FEWEST = 5
"""Patients of val that it takes."""

_MOST_AXES, _EXPLAINED, _SURE = 64, 0.9, 0.99
_LEAST_GREY = 1.0
"""Grey levels below which a spread is that of rounding."""
_ROUNDING = 1e-6
"""The share of the spread that axes may leave out by rounding alone."""
_USUAL = 1.0
"""The distance that points of train have in the mean, which is never too far."""


@dataclass(frozen=True)
class _Normal:
    """A cloud of points (n, width): its middle (width,), axes (k, width), spreads along them (k,), and the
    mean square of what lies beside them."""

    middle: np.ndarray
    axes: np.ndarray
    spread: np.ndarray
    beside: np.ndarray

    def distances(self, points: np.ndarray) -> np.ndarray:
        """How far (n,) points are from the middle, 1 being usual."""
        moved = np.asarray(points, np.float64) - self.middle
        along = moved @ self.axes.T
        rest = np.maximum((moved**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        inside = ((along / self.spread) ** 2).mean(axis=1)
        result: np.ndarray = np.sqrt(inside + rest / self.beside)
        return result


def _fitted(points: np.ndarray, least: float) -> _Normal:
    points = np.asarray(points, np.float64)
    middle = points.mean(axis=0)
    _, lengths, axes = np.linalg.svd(points - middle, full_matrices=False)
    shares = np.cumsum(lengths**2) / max((lengths**2).sum(), 1e-30)
    wanted = int(np.searchsorted(shares, _EXPLAINED)) + 1 if points.shape[1] > 2 else points.shape[1]
    count = max(min(wanted, _MOST_AXES, len(points) // 5), 1)
    spread = np.maximum(lengths[:count] / math.sqrt(max(len(points) - 1, 1)), least)
    left, whole = (float((some**2).sum()) / len(points) for some in (lengths[count:], lengths))
    beside = max(left, least**2, _ROUNDING * whole)
    return _Normal(middle, axes[:count], spread, np.asarray(beside))


def traits_of(images: np.ndarray) -> dict[str, np.ndarray]:
    """The brightness and the stain (n, 2) of images uint8 (n, height, width, 3): mean and deviation of grey,
    and how much red and blue are above green."""
    wide = images.reshape(len(images), -1, 3).astype(np.float32)
    grey, colours = wide.mean(axis=2), wide.mean(axis=1)
    return {
        BRIGHTNESS: np.stack([grey.mean(axis=1), grey.std(axis=1)], axis=1),
        STAIN: colours[:, [0, 2]] - colours[:, [1]],
    }


Points = Mapping[str, np.ndarray]
"""By trait the points (n, width) of n images."""


@dataclass(frozen=True)
class Likeness:
    """What images of train are like, by trait, and from which distance on an image is unlike them."""

    clouds: Mapping[str, _Normal]
    limits: Mapping[str, float]

    def unlike(self, points: Points) -> list[str]:
        """Of each image the traits by which it is unlike train, joined; empty where there is none."""
        names = list(self.clouds)
        beyond = [self.clouds[name].distances(points[name]) > self.limits[name] for name in names]
        return ["|".join(np.array(names)[list(far)]) for far in zip(*beyond, strict=True)]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As stored in a file."""
        found = {}
        for name, cloud in self.clouds.items():
            for part in ("middle", "axes", "spread", "beside"):
                found[f"{name}/{part}"] = np.asarray(getattr(cloud, part), np.float32)
            found[f"{name}/limit"] = np.asarray(self.limits[name], np.float64)
        return found


def likeness_from_arrays(arrays: Mapping[str, np.ndarray]) -> Likeness:
    """Read what `Likeness.to_arrays` wrote. Raises KeyError where something is missing."""
    names = [name for name in (FEATURES, BRIGHTNESS, STAIN) if f"{name}/limit" in arrays]
    clouds = {
        name: _Normal(*(arrays[f"{name}/{part}"] for part in ("middle", "axes", "spread", "beside")))
        for name in names
    }
    return Likeness(clouds, {name: float(arrays[f"{name}/limit"]) for name in names})


def learn_likeness(train: Points, val: Points, patients: Sequence[str]) -> Likeness:
    """Learn of images of train, and of val with their patients (n,), of whom there are FEWEST at least."""
    least = {FEATURES: 1e-6, BRIGHTNESS: _LEAST_GREY, STAIN: _LEAST_GREY}
    clouds = {name: _fitted(points, least[name]) for name, points in train.items()}
    limits = {name: _limit(cloud.distances(val[name]), patients) for name, cloud in clouds.items()}
    return Likeness(clouds, limits)


def _limit(distances: np.ndarray, patients: Sequence[str]) -> float:
    """The distance that all images of 99 of 100 new patients stay below, their logarithms being normal.

    It is the usual one at least: where all of val are alike, such as grey films without any stain, its own
    limit would be next to 0, and whatever differs by rounding beyond it.
    """
    names, owners = np.unique(np.asarray(patients, str), return_inverse=True)
    farthest = np.full(len(names), -np.inf)
    np.maximum.at(farthest, owners, np.log(np.maximum(distances, 1e-9)))
    count = len(farthest)
    reach = student(_SURE, count - 1) * math.sqrt(1 + 1 / count)
    return max(float(np.exp(farthest.mean() + reach * farthest.std(ddof=1))), _USUAL)
