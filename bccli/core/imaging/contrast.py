"""The contrast of an image."""

import numpy as np

SPREAD = 3.0
"""Standard deviations from the mean to black and to white."""


def normalise_contrast(image: np.ndarray) -> np.ndarray:
    """Global contrast normalisation of a uint8 image: its values less their mean, by their deviation.

    Mean and standard deviation are over all pixels and channels. The result, in standard deviations,
    goes back to uint8 with -SPREAD at 0, the mean in the middle and SPREAD at 255; what lies beyond is
    cut, and an image of one value becomes 128. Colours keep their differences, as one curve serves all
    channels. (Goodfellow et al., 2016, "Deep Learning", section 12.2.1.1.)
    """
    counts = np.bincount(image.ravel(), minlength=256)
    levels = np.arange(256)
    mean = np.average(levels, weights=counts)
    deviation = np.sqrt(np.average((levels - mean) ** 2, weights=counts))
    scores = (levels - mean) / deviation if deviation else np.zeros(256)
    curve = np.clip(np.rint(127.5 + 127.5 / SPREAD * scores), 0, 255).astype(np.uint8)
    return curve[image]
