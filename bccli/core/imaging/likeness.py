"""Whether two images show one picture, shifted, cropped, resized or compressed.

Each image is kept as a small grey. Its hash is that of its middle; its probes are the hashes of the windows
that would be the middle of a copy that was shifted by up to 3 % or cropped by up to 5 %. A copy's hash is
near one of them, and then the two windows are registered and compared by structural similarity.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bccli.core.imaging.hashes import grey_image, low_frequencies

SIDE = 48
"""Pixels of a small grey: enough to move a window of 32 by fractions of a pixel."""
CLOSE_BITS = 4
ALIKE = 0.95
"""Structural similarity from which on two registered greys are one picture. Of phantoms, BreakHis and
Mini-DDSM, copies that were shifted, cropped, resized and saved as JPEG (quality 50) reach 0.97; the closest
two different films of 480 phantoms 0.93, of Mini-DDSM 0.87, and histology 0.14."""

_WINDOW = 32
_INNER = 0.9
_FINE = 4
_STEPS = 6
_SETTLED = 1e-4
_HOPELESS = 0.5
"""Where windows correlate less to begin with, no small movement brings them together."""
Floats = NDArray[np.float64]


def _windows() -> tuple[tuple[float, float, float], ...]:
    """The windows of a picture that are probed: (scale, right, down), shares of its size, the middle first.

    Of two opposite shifts one suffices, as the other image has its probes, too.
    """
    steps = range(-3, 4)
    shifts = [(1.0, x / 100, y / 100) for y in steps for x in steps if (y, x) >= (0, 0)]
    crops = [
        (scale, x / 100, y / 100)
        for scale, positions in (
            (0.975, (-1.25, 0, 1.25)),
            (0.95, (-2.5, -1.25, 0, 1.25, 2.5)),
            (0.925, (0,)),
            (0.9, (0,)),
        )
        for x in positions
        for y in positions
    ]
    return (*shifts, *crops)


WINDOWS = _windows()


def small_grey(image: np.ndarray) -> np.ndarray:
    """The whole image, uint8 of shape (height, width[, channels]), as uint8 (48, 48)."""
    return np.asarray(grey_image(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def probe_hashes(grey: np.ndarray) -> np.ndarray:
    """The perceptual hashes uint64 (windows,) of a small grey's windows; the first is its own."""
    left, right = _probes()
    low = (left @ grey.astype(np.float64) @ right).reshape(len(WINDOWS), -1)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def similarity(whole: np.ndarray, detail: np.ndarray, window: int) -> float:
    """The structural similarity of two small greys, -1 to 1, of which the middle of `detail` is about a
    window of `whole`: the window is first fitted to it (Gauss and Newton, in position and size).
    """
    middle = _standard(_look(detail, np.array([1.0, 1.0, 0.0, 0.0])))
    scale, right, down = WINDOWS[window]
    fitted = _fit(whole, middle, np.array([scale, scale, right, down]))
    from skimage.metrics import structural_similarity

    extent = max(np.ptp(fitted), np.ptp(middle))
    return float(structural_similarity(fitted, middle, data_range=extent))


_MOVES = np.diag([0.01, 0.01, 0.005, 0.005])
"""Steps of the numeric derivatives: width, height, right, down."""
_LOWEST, _HIGHEST = np.array([0.87, 0.87, -0.06, -0.06]), np.array([1.12, 1.12, 0.06, 0.06])
_MOST = 0.03


def _fit(whole: np.ndarray, middle: Floats, position: Floats) -> Floats:
    """The window of `whole` that is most like `middle`, standardised."""
    best, closest = middle, -1.0
    for step in range(_STEPS + 1):
        window = _standard(_look(whole, position))
        likeness = float((window * middle).mean())
        settled = step > 1 and likeness <= closest + _SETTLED
        if likeness > closest:
            best, closest = window, likeness
        if settled or closest < _HOPELESS:
            break
        slopes = [(_standard(_look(whole, position + move)) - window).ravel() / move.sum() for move in _MOVES]
        change = np.linalg.lstsq(np.stack(slopes, axis=1), (middle - window).ravel(), rcond=None)[0]
        position = np.clip(position + np.clip(change, -_MOST, _MOST), _LOWEST, _HIGHEST)
    return best


def _look(grey: np.ndarray, position: Floats) -> Floats:
    """A window of a small grey, (32, 32); `position` is its width, height, right and down."""
    width, height, right, down = position
    return _sampler(height, down) @ grey.astype(np.float64) @ _sampler(width, right).T


def _standard(window: Floats) -> Floats:
    """With mean 0 and deviation 1, whatever its exposure; a flat one stays flat."""
    return (window - window.mean()) / max(float(window.std()), 1e-6)


def _sampler(scale: float, offset: float) -> Floats:
    """A matrix (32, 48) from 48 pixels to the 32 of a window in their middle, linear between pixels."""
    fine = np.arange(_WINDOW * _FINE)
    positions = (0.5 + offset + _INNER * scale * ((fine + 0.5) / len(fine) - 0.5)) * SIDE - 0.5
    pixels = np.clip(np.floor(positions), 0, SIDE - 2).astype(int)
    shares = np.clip(positions - pixels, 0, 1)
    matrix = np.zeros((len(fine), SIDE))
    matrix[fine, pixels] = 1 - shares
    matrix[fine, pixels + 1] += shares
    return matrix.reshape(_WINDOW, _FINE, SIDE).mean(axis=1)


@cache
def _probes() -> tuple[Floats, Floats]:
    """Matrices (windows, 8, 48) and (…, 48, 8) from a small grey to the windows' lowest frequencies."""
    left = np.stack([low_frequencies(_sampler(scale, down)) for scale, _, down in WINDOWS])
    right = np.stack([low_frequencies(_sampler(scale, right)).T for scale, right, _ in WINDOWS])
    return left, right
