"""Bags: the patches of one image, row by row, whatever order they come in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError
from bccli.core.runs.aggregation import image_key


@dataclass(frozen=True)
class Bag:
    """One image as its n patches, row by row.

    `features` is float32 (n, width), `probabilities` (n, classes) what the patch run makes of each, and
    `positions` (n, 2) the row and column of each in the image, in pixels.
    """

    features: np.ndarray
    probabilities: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Grouping:
    """Which patches form which image.

    `keys` name the images, `members` (images, most patches) has the positions of each image's patches in
    reading order, -1 behind the last, and `first` (images,) the position of one patch of each.
    """

    keys: tuple[str, ...]
    members: np.ndarray
    first: np.ndarray

    def of(self, image: int) -> np.ndarray:
        """The positions of one image's patches."""
        members: np.ndarray = self.members[image]
        return members[members >= 0]


def group(samples: Sequence[Sample], split_codes: np.ndarray) -> Grouping:
    """The images that prepared patches were cut from; those of the same augmented copy form one image.

    `split_codes` (samples,) are theirs. Images are in the order in which they first come. Raises DataError
    where the patches of one image are in several splits, have several labels, or two of them one position.
    """
    found: dict[str, list[int]] = {}
    for position, sample in enumerate(samples):
        key = image_key(sample.source, str(sample.variant), sample.path)
        found.setdefault(key, []).append(position)
    for key, positions in found.items():
        positions.sort(key=lambda position: position_of(samples[position]))
        _check(key, [samples[position] for position in positions], split_codes[positions])
    members = np.full((len(found), max(map(len, found.values()), default=0)), -1)
    for row, positions in zip(members, found.values(), strict=True):
        row[: len(positions)] = positions
    return Grouping(tuple(found), members, members[:, 0])


def position_of(sample: Sample) -> tuple[int, int]:
    """The row and column of a patch in its image, in pixels."""
    return sample.row or 0, sample.col or 0


def _check(key: str, patches: Sequence[Sample], split_codes: np.ndarray) -> None:
    if len(set(split_codes.tolist())) > 1:
        raise DataError(f"{key}: its patches are in several splits; prepare the dataset again")
    if len({patch.label for patch in patches}) > 1:
        raise DataError(f"{key}: its patches have several labels; prepare the dataset again")
    if len({position_of(patch) for patch in patches}) < len(patches):
        raise DataError(f"{key}: two of its patches lie at the same position; prepare the dataset again")
