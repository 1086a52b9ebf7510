"""Fast non-local means: every pixel as the mean of those whose surroundings look like its own.

Buades, Coll and Morel, 2011, doi:10.5201/ipol.2011.bcm_nlm; CBIS-DDSM paper, section 4.3.1. Strength,
template and search window are OpenCV's defaults, since the paper names none.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bccli.core.imaging.opencv import load_cv2

STRENGTH, TEMPLATE, SEARCH = 3, 7, 21
_REACH = TEMPLATE // 2 + SEARCH // 2
"""A pixel depends on others up to this distance."""
_FEW_ROWS = 64


def denoise(grey: np.ndarray) -> np.ndarray:
    """A uint8 image (height, width) without its noise, to the pixel as OpenCV does it.

    OpenCV gives an image of less than 65,536 pixels to one core; bands of rows, each with the rows
    around that it depends on, give it to all of them.
    """
    cv2 = load_cv2()
    bands = min(cv2.getNumThreads(), len(grey) // _FEW_ROWS)
    if bands < 2:
        return _denoise(grey)
    edges = np.linspace(0, len(grey), bands + 1).astype(int).tolist()

    def work(band: int) -> np.ndarray:
        first, last = edges[band], edges[band + 1]
        start = max(first - _REACH, 0)
        return _denoise(grey[start : last + _REACH])[first - start : last - start]

    with ThreadPoolExecutor(bands) as pool:
        return np.concatenate(list(pool.map(work, range(bands))))


def _denoise(grey: np.ndarray) -> np.ndarray:
    denoised: np.ndarray = load_cv2().fastNlMeansDenoising(
        np.ascontiguousarray(grey), None, STRENGTH, TEMPLATE, SEARCH
    )
    return denoised
