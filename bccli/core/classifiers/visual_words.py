"""A bag of visual words: dense local descriptors, a vocabulary of them, and how often an image has each word.

Csurka et al. 2004, "Visual categorization with bags of keypoints". Descriptors are SIFT (Lowe 2004) on a
grid, normalised as RootSIFT (Arandjelović and Zisserman 2012, "Three things everyone should know to improve
object retrieval"); words are the centres of k-means. Of the square root of how often words occur, so that
frequent ones do not drown the others, a row of `fitting.CLASSIFIERS` makes probabilities.
"""

import hashlib
import json
import math
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccli.core import interruption
from bccli.core.cores import available_cores
from bccli.core.data.image_batches import ImageSource
from bccli.core.errors import DataError
from bccli.core.files import replacing
from bccli.core.imaging.opencv import load_cv2
from bccli.core.reading.archives import read_arrays

WORDS = 500
"""How many words there are, where there are enough descriptors to learn them from."""

# So many descriptors at least for a word, on average.
_FOR_EACH = 20

WINDOWS = (16, 24)
"""Sides of the squares that are described, in pixels."""

# A grid has about so many points for each window, but none closer than so many pixels.
_POINTS, _CLOSEST = 1000, 4

# OpenCV describes a window of six times the size of a key point: 4×4 cells of 1.5 times the size each.
_WINDOW_OF_SIZE = 6

# So many images, evenly over train, and descriptors of them are enough for a vocabulary.
_IMAGES, _DESCRIPTORS = 1000, 200_000

_BATCH = 32

# So many descriptors are compared with all words at a time.
_AT_ONCE = 8192
_DEPTH = 128


def describe(pixels: np.ndarray) -> np.ndarray:
    """RootSIFT (n, 128) of the grey of an image (height, width, 3), float32, on a grid.

    Windows without any contrast have descriptors of zeros.
    """
    cv2 = load_cv2()

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    points = [
        cv2.KeyPoint(float(x), float(y), window / _WINDOW_OF_SIZE, 0)
        for window in WINDOWS
        for y in _grid(grey.shape[0], window, grey.size)
        for x in _grid(grey.shape[1], window, grey.size)
    ]
    _, found = cv2.SIFT_create().compute(grey, points)
    sums = found.sum(axis=1, keepdims=True)
    return np.sqrt(found / np.where(sums > 0, sums, 1)).astype(np.float32)


def _grid(length: int, window: int, area: int) -> np.ndarray:
    """The middles of windows along a side of so many pixels; a side shorter than a window has one."""
    step = max(_CLOSEST, round(math.sqrt(area / _POINTS)))
    room = max(length - window, 0)
    return min(window, length) / 2 + (room % step) // 2 + np.arange(0, room + 1, step)


@dataclass(frozen=True)
class Vocabulary:
    """The words: centres (words, 128) among descriptors, float32."""

    centres: np.ndarray

    @property
    def width(self) -> int:
        """How many words there are."""
        return len(self.centres)

    @property
    def batch_size(self) -> int:
        """So many images are described at a time."""
        return _BATCH

    @property
    def hash(self) -> str:
        """The hash of the vocabulary: 64 hexadecimal digits."""
        facts = json.dumps([WINDOWS, _POINTS, _CLOSEST]).encode()
        return hashlib.sha256(facts + self.centres.tobytes()).hexdigest()

    def of_images(self, images: np.ndarray) -> np.ndarray:
        """The square roots of the shares (n, words) of the words in n images (n, height, width, 3)."""
        with ThreadPoolExecutor(available_cores()) as pool:
            found = list(pool.map(describe, images))
        counts = [np.bincount(each, minlength=self.width) for each in self._nearest(found)]
        return np.stack([np.sqrt(each / each.sum()) for each in counts]).astype(np.float32)

    def _nearest(self, found: list[np.ndarray]) -> list[np.ndarray]:
        """The nearest word of each descriptor (n, 128) of each image.

        Of many at a time: threads of their own make nothing of a few.
        """
        descriptors = np.concatenate(found)
        squares, nearest = (self.centres**2).sum(axis=1), np.empty(len(descriptors), np.int64)
        for start in range(0, len(descriptors), _AT_ONCE):
            chunk = slice(start, start + _AT_ONCE)
            nearest[chunk] = (squares - 2 * descriptors[chunk] @ self.centres.T).argmin(axis=1)
        return np.split(nearest, np.cumsum([len(each) for each in found])[:-1])

    def vectors(self, images: ImageSource, order: np.ndarray) -> Generator[np.ndarray, None, None]:
        """Yield the same (batch, words) of the images at these positions."""
        for batch in images.arrays(order, _BATCH):
            yield self.of_images(batch)


def learn_vocabulary(images: ImageSource, order: np.ndarray, seed: int) -> Vocabulary:
    """The words in the images at these positions. Raises Stopped after a signal."""
    from sklearn.cluster import MiniBatchKMeans

    some = order[np.unique(np.linspace(0, len(order) - 1, _IMAGES).astype(int))]
    each = -(-_DESCRIPTORS // len(some))
    rng = np.random.default_rng(seed)
    drawn = []
    with ThreadPoolExecutor(available_cores()) as pool:
        for batch in images.arrays(some, _BATCH):
            for found in pool.map(describe, batch):
                drawn.append(found[rng.permutation(len(found))[:each]])
            interruption.stop_if_requested()
    descriptors = np.concatenate(drawn)
    words = min(WORDS, max(len(descriptors) // _FOR_EACH, 2), len(np.unique(descriptors, axis=0)))
    means = MiniBatchKMeans(
        words, random_state=seed, batch_size=4096, init_size=3 * words, n_init=1, compute_labels=False
    )
    return Vocabulary(means.fit(descriptors).cluster_centers_.astype(np.float32))


def save_vocabulary(path: Path, vocabulary: Vocabulary) -> None:
    """Write the words as one .npz file."""
    with replacing(path) as stream:
        np.savez(stream, centres=vocabulary.centres)


def load_vocabulary(path: Path) -> Vocabulary:
    """Read what `save_vocabulary` wrote. Raises DataError where it is damaged."""
    centres = read_arrays(path).get("centres", np.zeros(0))
    if centres.dtype != np.float32 or centres.ndim != 2 or centres.shape[1] != _DEPTH:
        raise DataError(f"{path}: holds no visual words; copy the whole folder again")
    return Vocabulary(centres)
