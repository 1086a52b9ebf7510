"""Images on which there is nothing, or next to nothing, to be seen."""

from collections.abc import Callable, Iterator

import numpy as np

# Of 255: what a screen shows as black, or as the bare light of a slide scanner.
_DARK, _BRIGHT = 31, 240
# Dust and dead pixels: up to one in a thousand may be otherwise.
_FEW = 0.001
# Some rows and columns tell of most images that there is something; chance may show more of it in them, so
# that only ten times as much tells.
_GRID = 64
_BLOCK = 256

_Judge = Callable[[np.ndarray, float, float], np.ndarray]


def blankness_of(pixels: np.ndarray) -> str:
    """Words for an image of `decode_deep` that shows nothing, such as `all white`, `nearly black`; else "".

    8 bits and colours are judged as they are. Deeper grey is stretched by its range before anything looks at
    it, and so only its greatest share within this range counts.
    """
    height, width = pixels.shape[:2]
    some = pixels[:: max(1, height // _GRID), :: max(1, width // _GRID)]
    if (some[0, 0] == some[-1, -1]).all() and _is_flat(some) and _is_flat(pixels):
        return _word_for(pixels)
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else (float(pixels.min()), float(pixels.max()))
    for word, is_otherwise in _NEARLY.items():
        likely = _share(some, is_otherwise, low, high) <= 10 * _FEW
        if likely and _share(pixels, is_otherwise, low, high) <= _FEW:
            return word
    return ""


def _blocks(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Some rows at a time: what is found in them takes as much memory again."""
    return (pixels[start : start + _BLOCK] for start in range(0, len(pixels), _BLOCK))


def _is_flat(pixels: np.ndarray) -> bool:
    return all((block == pixels[0, 0]).all() for block in _blocks(pixels))


def _share(pixels: np.ndarray, is_otherwise: _Judge, low: float, high: float) -> float:
    return sum(np.count_nonzero(is_otherwise(block, low, high)) for block in _blocks(pixels)) / pixels.size


def _word_for(pixels: np.ndarray) -> str:
    """Words for an image whose pixels are all the same."""
    levels = set(np.ravel(pixels[0, 0]).tolist()) if pixels.dtype == np.uint8 else set()
    return {(0,): "all black", (255,): "all white"}.get(tuple(levels), "all of one colour")


_NEARLY: dict[str, _Judge] = {
    "nearly black": lambda pixels, low, high: pixels > low + (high - low) * _DARK / 255,
    "nearly white": lambda pixels, low, high: pixels < low + (high - low) * _BRIGHT / 255,
}
