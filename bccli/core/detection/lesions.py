"""The lesions of a film, from its masks: each connected piece of a mask is one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bccli.core.detection.boxes import area, centre, holds_centre, shifted
from bccli.core.errors import ImageError
from bccli.core.imaging.equalising import Box
from bccli.core.imaging.opencv import load_cv2

SPECK = 0.01
"""A piece with less than this share of the pixels of its mask's largest piece is dirt, not a lesion."""
EVERYWHERE = 0.95
"""From this share of the film's pixels on, a mask says nothing about where a lesion is."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """A lesion: the box around it, in pixels of the film, and how many pixels it has.

    `mask` has its pixels within the box, bool (height, width); None where the box alone is known.
    """

    box: Box
    area: int
    mask: np.ndarray | None = None

    def holds_centre(self, box: Box) -> bool:
        """Whether the middle of a box lies in the lesion: on its mask, or else in its box."""
        if not holds_centre(self.box, box):
            return False
        if self.mask is None:
            return True
        x, y = centre(box)
        return bool(self.mask[int(y) - self.box.top, int(x) - self.box.left])


def boxed_lesion(box: Box) -> Lesion:
    """A lesion of which the box alone is known."""
    return Lesion(box, area(box))


def find_lesions(masks: Sequence[np.ndarray], shape: tuple[int, int] | None = None) -> list[Lesion]:
    """The lesions that one film's masks mark, each bool or numbers (height, width), 0 outside.

    Pixels that touch by an edge or a corner are of one piece. Pieces of less than SPECK of a mask's largest
    one are left out. A piece that two masks have pixel by pixel is one lesion; pieces that merely overlap
    are two, as findings do. Lesions come from top to bottom, as they begin.

    Raises ImageError for a mask that is not of the film's `shape`, that is empty, or that marks EVERYWHERE
    of the film or more: from it nothing about places can be learned or measured.
    """
    found: dict[tuple[Box, bytes], Lesion] = {}
    for mask in masks:
        for lesion, pixels in _pieces(_checked(mask, shape)):
            found.setdefault((lesion.box, pixels.tobytes()), lesion)
    return sorted(found.values(), key=lambda lesion: (lesion.box.top, lesion.box.left, lesion.box))


def placed_lesions(part: np.ndarray, box: Box, shape: tuple[int, int]) -> list[Lesion]:
    """The lesions of a film of this `shape` (height, width) by the part of its mask at a box, beyond which
    it marks nothing. Raises ImageError as `find_lesions`."""
    marked = part != 0
    _check_share(float(np.count_nonzero(marked)) / (shape[0] * shape[1]))
    found = [replace(lesion, box=shifted(lesion.box, box.left, box.top)) for lesion, _ in _pieces(marked)]
    return sorted(found, key=lambda lesion: (lesion.box.top, lesion.box.left, lesion.box))


def _checked(mask: np.ndarray, shape: tuple[int, int] | None) -> np.ndarray:
    """A mask as bool (height, width). Raises ImageError where it marks no place."""
    if mask.ndim != 2 or (shape is not None and mask.shape != tuple(shape)):
        wanted = "height and width" if shape is None else "×".join(map(str, shape[::-1]))
        raise ImageError(f"has a mask of shape {mask.shape}, not of {wanted}; scale it to its film")
    marked = mask != 0
    _check_share(float(marked.mean()) if marked.size else 0.0)
    return marked


def _check_share(share: float) -> None:
    """Raise ImageError for a mask that marks nothing, or nearly everything."""
    if not share:
        raise ImageError("has an empty mask, which marks no lesion; leave it out where the film is normal")
    if share >= EVERYWHERE:
        raise ImageError(
            f"has a mask that marks {share:.0%} of the film, and thereby no place in it; "
            "leave it out, or invert it if 0 is the lesion"
        )


def _pieces(marked: np.ndarray) -> Iterator[tuple[Lesion, np.ndarray]]:
    """Each piece of a mask, and its pixels within its box."""
    _, labels, stats, _ = load_cv2().connectedComponentsWithStats(marked.astype(np.uint8), connectivity=8)
    least = SPECK * stats[1:, -1].max()
    for number, (left, top, width, height, pixels) in enumerate(stats.tolist()):
        if number and pixels >= least:
            box = Box(left, top, left + width, top + height)
            own = box.of(labels) == number
            yield Lesion(box, pixels, own), own
