"""Input normalisation by the training set: each channel's mean and deviation over all of train's pixels."""

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bccli.core.data.image_batches import Images
from bccli.core.errors import DataError
from bccli.core.files import write_json
from bccli.core.reading.texts import read_json
from bccli.core.runs.run_folder import Run

_AT_A_TIME = 256


@dataclass(frozen=True)
class Norm:
    """Per channel (red, green, blue) the mean and the standard deviation, in grey levels of 0–255."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def norm_of(run: Run) -> Norm | None:
    """What a run takes out of its input besides what its backbone wants; None where that is nothing."""
    norm = run.info.norm
    return Norm(tuple(norm["mean"]), tuple(norm["deviation"])) if norm else None


def learn_norm(images: Images, positions: np.ndarray, cache: Path) -> Norm:
    """The norm of the images at these positions, computed once per set of images and stored.

    Sums are of whole numbers, so that neither order nor threads change a digit. A channel of one value
    has the deviation 1. Raises DataError naming an image that cannot be read.
    """
    hashes = "".join(images.samples[position].sha256 for position in positions)
    content = hashlib.sha256(hashes.encode()).hexdigest()
    path = cache / "norms" / f"{content[:16]}.json"
    with suppress(DataError, TypeError, KeyError):
        found = read_json(path)
        return Norm(tuple(found["mean"]), tuple(found["deviation"]))
    norm = _measure(images, positions)
    with suppress(PermissionError):  # a cache that is read-only
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(norm))
    return norm


def _measure(images: Images, positions: np.ndarray) -> Norm:
    count, sums, squares = 0, [0, 0, 0], [0, 0, 0]
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(positions), _AT_A_TIME):
            some = positions[start : start + _AT_A_TIME].tolist()
            for pixels, ones, twos in pool.map(lambda position: _sums(images.decoded(position)), some):
                count += pixels
                sums = [a + b for a, b in zip(sums, ones, strict=True)]
                squares = [a + b for a, b in zip(squares, twos, strict=True)]
    mean = tuple(total / count for total in sums)
    variances = [
        (square * count - total * total) / count**2 for square, total in zip(squares, sums, strict=True)
    ]
    return Norm(mean, tuple(math.sqrt(variance) or 1.0 for variance in variances))


def _sums(image: np.ndarray) -> tuple[int, list[int], list[int]]:
    """Pixels, and per channel their sum and that of their squares."""
    pixels = image.reshape(-1, 3)
    levels = np.arange(256)
    counts = np.stack([np.bincount(pixels[:, channel], minlength=256) for channel in range(3)])
    return len(pixels), (counts @ levels).tolist(), (counts @ levels**2).tolist()
