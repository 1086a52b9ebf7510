"""The flips and turns that `predict --tta` averages."""

import numpy as np

from bccli.core.prediction.flips import as_is, flips_of


def test_squares_have_eight_flips_and_other_shapes_four() -> None:
    for size, count in (((5, 5), 8), ((6, 4), 4)):
        image = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(1, size[1], size[0], 3)
        flipped = [flip(image) for flip in flips_of(size)]
        assert all(each.shape == image.shape for each in flipped)
        assert len({each.tobytes() for each in flipped}) == count
        assert (flipped[0] == as_is(image)).all()
