"""What of an image is tissue: the shares of it and of nuclei on a slide, and where the breast is on a film.

The breast is the largest bright thing on a strongly smaller film. Letters and labels are bright as well, and
smaller; the white edge of a digitised film is left out before.
"""

from dataclasses import dataclass

import numpy as np

from bccli.core.imaging.film_edges import film_edge
from bccli.core.imaging.formats.colours import stretched, to_rgb
from bccli.core.imaging.opencv import load_cv2
from bccli.core.imaging.stains.deconvolution import RUIFROK
from bccli.core.imaging.stains.densities import densities_of, is_tissue, sample_pixels

NUCLEUS = 0.4
"""Amount of haematoxylin, by Ruifrok & Johnston's matrix, from which on a pixel counts as nucleus. Set by
eye on BreakHis images; slides stained before they are normalised differ by a factor of three."""
LONGEST_SIDE = 256
"""Pixels of the longer side of the small film: an outline, and not what is in it, is looked for."""
_OPENED = 0.04
"""What is thinner than this share of the shorter side does not join a label to the breast."""
_AROUND = 0.02
"""By this share of the shorter side the outline is widened: fat below the skin is hardly brighter."""
_SHARE_OF_OTSU = 0.5
"""The threshold lies so far from the film's dark to Otsu's, which may part dense tissue from fat."""
_LEAST = 0.02
"""An outline with less than this share of the film is none."""

_DIRECT = ("uint8", "uint16", "int16", "float32")
"""What OpenCV makes smaller as it is; all else is brought to 8 bits before."""


def tissue_share(image: np.ndarray) -> float:
    """The share of a uint8 RGB image's pixels, 0…1, that is not clear glass."""
    return float(is_tissue(densities_of(sample_pixels(image))).mean())


def nuclear_density(image: np.ndarray) -> float:
    """The share of a uint8 RGB image's pixels, 0…1, that is dark with haematoxylin.

    Golatkar et al., 2018, "Classification of breast cancer histology using deep learning", ICIAR, keep the
    patches in which nuclei are dense (BCNet paper, related work).
    """
    haematoxylin = densities_of(sample_pixels(image)) @ np.linalg.inv(RUIFROK)[0]
    return float((haematoxylin >= NUCLEUS).mean())


@dataclass(frozen=True)
class Outline:
    """The breast on a film of `shape` (height, width): `inside` bool (rows, columns) of a smaller one."""

    shape: tuple[int, int]
    inside: np.ndarray

    def share(self, row: int, column: int, side: int) -> float:
        """Which share of a tile of `side` pixels, whose top-left corner is there, is breast, 0…1."""
        down, across = (small / whole for small, whole in zip(self.inside.shape, self.shape, strict=True))
        rows = _slice(row * down, (row + side) * down)
        columns = _slice(column * across, (column + side) * across)
        return float(self.inside[rows, columns].mean())


def _slice(start: float, end: float) -> slice:
    """The pixels that a stretch touches."""
    return slice(int(start), max(int(np.ceil(end - 1e-9)), int(start) + 1))


def breast_outline(film: np.ndarray) -> Outline:
    """The outline on a film as `decode_deep` gives it, of any depth. Where nothing stands out, or all of it
    is bright, all of it counts as breast.

    The threshold is Otsu's (1979, DOI 10.1109/TSMC.1979.4310076), brought nearer to the dark.
    """
    small = _smaller(film)
    edge = film_edge(small)
    if edge is not None:
        small = np.where(edge, small.min(), small)
    inside = _largest(_bright(small if small.dtype == np.uint8 else stretched(small)))
    shape = film.shape[0], film.shape[1]
    return Outline(shape, np.ones(small.shape, bool) if inside is None else _widened(inside))


def _smaller(film: np.ndarray) -> np.ndarray:
    """A film in grey, LONGEST_SIDE pixels high or wide at most; of colours the brightest."""
    height, width = film.shape[:2]
    factor = min(LONGEST_SIDE / max(height, width), 1)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    pixels = film if film.dtype.name in _DIRECT else to_rgb(film)
    small: np.ndarray = load_cv2().resize(pixels, size, interpolation=load_cv2().INTER_AREA)
    return small if small.ndim == 2 else small.max(axis=2)


def _bright(small: np.ndarray) -> np.ndarray:
    """What is brighter than the dark of a film."""
    cv2 = load_cv2()
    smooth = cv2.GaussianBlur(small, (5, 5), 0)
    otsu, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    below = smooth[smooth <= otsu]
    dark = float(np.median(below)) if below.size else otsu
    bright: np.ndarray = smooth > dark + _SHARE_OF_OTSU * (otsu - dark)
    return bright


def _largest(bright: np.ndarray) -> np.ndarray | None:
    """The largest connected piece of what is bright, with what it encloses; None where there is none."""
    cv2 = load_cv2()
    opened = cv2.morphologyEx(bright.astype(np.uint8), cv2.MORPH_OPEN, _disc(bright.shape, _OPENED))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    if count == 1 or opened.all():
        return None
    number = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if stats[number, cv2.CC_STAT_AREA] < _LEAST * bright.size:
        return None
    piece = (labels == number).astype(np.uint8)
    lines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(piece, lines, -1, 1, cv2.FILLED)
    return piece.view(bool)


def _widened(inside: np.ndarray) -> np.ndarray:
    widened: np.ndarray = load_cv2().dilate(inside.view(np.uint8), _disc(inside.shape, _AROUND))
    return widened.view(bool)


def _disc(shape: tuple[int, ...], share: float) -> np.ndarray:
    side = 2 * max(round(share * min(shape) / 2), 1) + 1
    disc: np.ndarray = load_cv2().getStructuringElement(load_cv2().MORPH_ELLIPSE, (side, side))
    return disc
