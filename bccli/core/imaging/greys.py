"""Images of any depth as 8-bit grey, whole or a rectangle of them."""

from functools import cached_property

import numpy as np

from bccli.core.imaging.film_edges import film_edge, without_edge
from bccli.core.imaging.formats.colours import stretched
from bccli.core.imaging.formats.strips import luminance
from bccli.core.imaging.opencv import load_cv2

_NORMALISED = (np.uint16, np.int16)


class Greys:
    """A decoded image as 8-bit grey, of which only the rectangles that are asked for are computed.

    8 bits stay as they are, deeper grey is stretched by its own minimum and maximum as `cv2.normalize`
    does it (CBIS-DDSM paper, section 4.3.1), colours become their luminance. With `trim_edge`, the white
    edge of a film does not stretch them; `edge` is where it is, None where there is none.
    """

    def __init__(self, pixels: np.ndarray, *, trim_edge: bool = False) -> None:
        self.edge: np.ndarray | None = None
        if pixels.ndim == 3:
            is_film = trim_edge and all(
                np.array_equal(pixels[..., 0], pixels[..., other]) for other in (1, 2)
            )
            pixels = luminance(pixels)
            self.edge = film_edge(pixels) if is_film else None
        elif trim_edge:
            pixels, self.edge = without_edge(pixels)
        if pixels.dtype not in (np.uint8, *_NORMALISED):
            pixels = stretched(pixels)
        self._pixels = pixels

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self._pixels.shape
        return height, width

    def whole(self) -> np.ndarray:
        """The image, uint8 (height, width)."""
        return self._pixels if self._pixels.dtype == np.uint8 else normalise(self._pixels)

    def crop(self, rows: slice | np.ndarray, columns: slice | np.ndarray) -> np.ndarray:
        """Some of its rows and columns, uint8."""
        pixels = self._pixels[rows][:, columns]
        if self._pixels.dtype == np.uint8:
            return pixels
        return np.take(self._levels, pixels.view(np.uint16))

    @cached_property
    def _levels(self) -> np.ndarray:
        """The grey level of each value from the lowest to the highest, by its 16 bits."""
        lowest, highest, _, _ = load_cv2().minMaxLoc(self._pixels)
        values = np.arange(lowest, highest + 1).astype(self._pixels.dtype)
        levels = np.zeros(2**16, np.uint8)
        levels[values.view(np.uint16)] = normalise(values).ravel()
        return levels


def normalise(grey: np.ndarray) -> np.ndarray:
    """Grey of 8 or 16 bits to uint8, its least value to 0 and its greatest to 255; a single value to 0."""
    cv2 = load_cv2()
    normalised: np.ndarray = cv2.normalize(
        np.ascontiguousarray(grey), None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U
    )
    return normalised
