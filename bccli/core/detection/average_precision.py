"""Average precision: the area under precision over recall, as detectors of everyday objects are compared.

All points of the curve count, as in PASCAL VOC since 2010 (Everingham et al. 2010, DOI
10.1007/s11263-009-0275-4). Boxes and lesions are paired one to one as COCO does it (Lin et al. 2014, DOI
10.1007/978-3-319-10602-1_48): by falling score, each box with the lesion not paired yet that it overlaps
with most, from a given IoU on; any other box is false, a second one on the same lesion as well.

Unlike both, boxes of one score count at once, wherever they stand in the list; else the order of the films
would be part of the figure.
"""

import numpy as np

from bccli.core.detection.boxes import Floats
from bccli.core.detection.ranking import Ranking

IOUS = (0.1, 0.3, 0.5)
"""From which IoU with a lesion's box on a box is right."""


def average_precision(ranking: Ranking, lesions: Floats, weights: Floats) -> Floats:
    """Average precision (R,), of `lesions` (C,) by cluster, by weightings of clusters (R, C).

    The ranking is of a matching by IoU in which further boxes on a lesion are false. The precision at a
    recall is the largest there or at any larger recall. 0 without boxes, NaN where a weighting has no lesion.
    """
    false = ranking.false_beside(weights)
    gained = np.take(weights, ranking.owners, axis=1)
    hits = np.take(np.cumsum(gained, axis=1), ranking.level, axis=1)
    # Where a weighting has left out all that came so far, there is neither a hit nor a false box.
    precision = hits / np.maximum(hits + false, np.finfo(np.float64).tiny)
    largest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.einsum("rs,rs->r", gained, largest) / (weights @ lesions)
