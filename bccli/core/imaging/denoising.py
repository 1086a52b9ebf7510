"""Fast non-local means: every pixel as the mean of those whose surroundings look like its own.

Buades, Coll and Morel, 2011, doi:10.5201/ipol.2011.bcm_nlm; CBIS-DDSM paper, section 4.3.1.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bccli.core.imaging.opencv import load_cv2

_FEW_ROWS = 64


@dataclass(frozen=True)
class Denoising:
    """The numbers of non-local means: its strength in grey levels, and the sides in pixels of the window that
    is compared (`template`) and of that in which likenesses are looked for (`search`).

    The paper names none; the defaults are OpenCV's.
    """

    strength: float = 3.0
    template: int = 7
    search: int = 21

    @property
    def reach(self) -> int:
        """How far away the pixels are that one depends on."""
        return self.template // 2 + self.search // 2


USUAL = Denoising()


def denoise(grey: np.ndarray, denoising: Denoising = USUAL) -> np.ndarray:
    """A uint8 image (height, width) without its noise, to the pixel as OpenCV does it.

    OpenCV gives an image of less than 65,536 pixels to one core; bands of rows, each with the rows
    around that it depends on, give it to all of them.
    """
    cv2 = load_cv2()
    bands = min(cv2.getNumThreads(), len(grey) // _FEW_ROWS)
    if bands < 2:
        return _denoise(grey, denoising)
    edges = np.linspace(0, len(grey), bands + 1).astype(int).tolist()

    def work(band: int) -> np.ndarray:
        first, last = edges[band], edges[band + 1]
        start = max(first - denoising.reach, 0)
        return _denoise(grey[start : last + denoising.reach], denoising)[first - start : last - start]

    with ThreadPoolExecutor(bands) as pool:
        return np.concatenate(list(pool.map(work, range(bands))))


def _denoise(grey: np.ndarray, denoising: Denoising) -> np.ndarray:
    denoised: np.ndarray = load_cv2().fastNlMeansDenoising(
        np.ascontiguousarray(grey), None, denoising.strength, denoising.template, denoising.search
    )
    return denoised
