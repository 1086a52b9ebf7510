"""Large images a strip of rows at a time, so that no step on the way takes several times their room."""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

_PIXELS = 2**22
"""Of a strip: what is made of so many on the way takes little room, and each is worth its overhead."""


def strips_of(height: int, width: int) -> Iterator[slice]:
    """The rows of each strip, from the top."""
    step = max(1, _PIXELS // max(width, 1))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def by_strips(shape: tuple[int, ...], make: Callable[[slice], np.ndarray]) -> np.ndarray:
    """An image of the height and width in `shape`, put together from what `make` gives for the rows of each
    strip; an image of a single strip is what it gives."""
    height, width = shape[:2]
    result: np.ndarray | None = None
    for rows in strips_of(height, width):
        strip = make(rows)
        if len(strip) == height:
            return strip
        if result is None:
            result = np.empty((height, *strip.shape[1:]), strip.dtype)
        result[rows] = strip
    return np.empty(shape, np.uint8) if result is None else result


def cut_rows(image: Image.Image, rows: slice) -> Image.Image:
    """Cut rows out of a Pillow image; returns the image itself where they are all of it."""
    if rows.stop - rows.start == image.height:
        return image
    return image.crop((0, rows.start, image.width, rows.stop))


def luminance(pixels: np.ndarray) -> np.ndarray:
    """A uint8 image as grey (height, width): colours as Pillow weighs them (ITU-R BT.601)."""
    if pixels.ndim == 2:
        return pixels

    def grey(rows: slice) -> np.ndarray:
        return np.asarray(Image.fromarray(np.ascontiguousarray(pixels[rows])).convert("L"))

    return by_strips(pixels.shape, grey)
