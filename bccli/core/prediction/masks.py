"""Masks beside images that are to be labelled, found by the images' names."""

import os
import re
from pathlib import Path

import numpy as np

from bccli.core.datasets.layout.image_files import image_files, stem_of
from bccli.core.datasets.loading import load_mask
from bccli.core.errors import ImageError

_ENDING = re.compile(r"[ _.-]?mask(?:[ _-]?\d+)?$", re.IGNORECASE)


class Masks:
    """The masks below a folder: `a.png`, `a_mask.png`, `a_mask_1.png` and `a_Mask2.jpg` belong to `a.dcm`.

    Where they are `contours`, they are thin lines and mark what these enclose.
    """

    def __init__(self, root: Path, *, contours: bool = False) -> None:
        """List the folder. Raises DataError where there is none."""
        self._root, self._contours = root, contours
        self._scaled: set[str] = set()
        self._by_stem: dict[str, list[str]] = {}
        for name in image_files(root):
            stem = _stem(name)
            for key in {stem, _ENDING.sub("", stem)}:
                self._by_stem.setdefault(key, []).append(name)

    def holds(self, image: str) -> bool:
        """Whether there is a mask of an image, however good."""
        return bool(self._named_like(image))

    @property
    def scaled(self) -> tuple[str, ...]:
        """The masks of another size than their images that were scaled to it so far, by name."""
        return tuple(sorted(self._scaled))

    def load(self, image: str, shape: tuple[int, int]) -> np.ndarray:
        """The mask, or the union of all masks, of an image of this shape (height, width), uint8 of 0 and 255.

        Raises ImageError where there is none, in several folders, or none that can be used.
        """
        found = []
        for name in self._find(image):
            mask, scaled = load_mask(self._root / name, name, shape, contours=self._contours)
            found.append(mask)
            if scaled:
                self._scaled.add(name)
        union: np.ndarray = np.maximum.reduce(found)
        return union

    def _find(self, image: str) -> list[str]:
        """The masks of an image; of those in several folders the ones in the folder most like its own."""
        names = self._named_like(image)
        if not names:
            raise ImageError(f"has no mask in {self._root}, which needs one called {stem_of(image)}")
        likeness = {name: _shared_folders(name, image) for name in names}
        nearest = [name for name in names if likeness[name] == max(likeness.values())]
        if len(folders := sorted({os.path.dirname(name) for name in nearest})) > 1:
            raise ImageError(f"has masks in several folders of {self._root} ({folders[0]}, {folders[1]})")
        return nearest

    def _named_like(self, image: str) -> list[str]:
        """The files that are called like an image, this itself left out."""
        itself = os.path.realpath(image)
        names = self._by_stem.get(_stem(image), [])
        return [name for name in names if os.path.realpath(self._root / name) != itself]


def _stem(name: str) -> str:
    return stem_of(name).lower()


def _shared_folders(one: str, other: str) -> int:
    """How many of the nearest folders are called the same."""
    pairs = zip(reversed(one.split("/")[:-1]), reversed(other.split("/")[:-1]), strict=False)
    shared = 0
    for left, right in pairs:
        if left != right:
            break
        shared += 1
    return shared
