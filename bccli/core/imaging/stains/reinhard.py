"""Reinhard's colour transfer: mean and standard deviation of a target, in the colour space lαβ.

Reinhard et al., 2001, "Color transfer between images", IEEE Comput. Graph. Appl. 21(5), 34–41,
doi:10.1109/38.946629. Our choice: the statistics are those of the tissue, because the share of clear
glass says nothing about a stain, and the change fades out from tissue to glass, so that white remains white.
"""

import numpy as np

from bccli.core.imaging.stains.densities import TISSUE, WHITE_LEVEL, Block, map_levels, sample_pixels
from bccli.core.imaging.stains.fits import ColourFit, is_enough

# The paper's matrices: RGB to cone responses LMS, and their logarithms to lαβ (a rotation).
_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_TO_LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ [[1, 1, 1], [1, 1, -2], [1, -1, 0]]

LEAST_DEVIATION = 0.002
"""Standard deviation of l, α or β below which an image has no colours to speak of."""


def measure_reinhard(image: np.ndarray) -> ColourFit | None:
    """The tissue's colours in a uint8 RGB image (height, width, 3); None where there is too little."""
    logs = np.log((sample_pixels(image) + 1.0) @ _TO_LMS.T)
    tissue = logs[_depths(logs) >= TISSUE]
    if not is_enough(len(tissue), len(logs)):
        return None
    colours = tissue @ _TO_LAB.T
    deviations = colours.std(axis=0)
    return ColourFit.of(colours.mean(axis=0), deviations) if deviations.min() >= LEAST_DEVIATION else None


def normalise_reinhard(image: np.ndarray, source: ColourFit, target: ColourFit) -> np.ndarray:
    """An image with the tissue colours `source`, moved and stretched to those of `target`."""
    scale = np.array(target.deviations) / np.array(source.deviations)
    turn = (_TO_LAB.T * scale @ _TO_LAB).astype(np.float32)
    move = ((np.array(target.means) - np.array(source.means) * scale) @ _TO_LAB).astype(np.float32)
    to_lms, to_rgb = (np.ascontiguousarray(m.T, np.float32) for m in (_TO_LMS, np.linalg.inv(_TO_LMS)))

    def change(levels: Block) -> Block:
        levels += 1
        logs = levels @ to_lms
        np.log(logs, out=logs)
        weight = np.clip(_depths(logs) / np.float32(TISSUE) - np.float32(0.5), 0, 1)  # ½ where tissue begins
        logs += weight[:, None] * (logs @ turn + move - logs)
        np.minimum(logs, _BRIGHTEST, out=logs)
        levels = np.exp(logs, out=logs) @ to_rgb
        levels -= np.float32(0.5)  # takes away the 1 and rounds
        return levels

    return map_levels(image, change)


_BRIGHTEST = np.float32(np.log(1024))  # far above white; keeps infinities out of the way back to RGB


def _depths(logs: np.ndarray) -> np.ndarray:
    """Optical density in M, the response to green, from logarithms of LMS (pixels, 3)."""
    return np.asarray(np.log(WHITE_LEVEL), logs.dtype) - logs[:, 1]
