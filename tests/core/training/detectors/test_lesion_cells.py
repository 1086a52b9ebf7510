"""Which cells of a grid lie in a lesion."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.training.detectors.lesion_cells import cells_of_shares, shares_of


def test_cells_inside_outside_and_at_the_edge() -> None:
    mask = np.zeros((32, 48), bool)
    mask[8:20, 16:32] = True
    cells = cells_of_shares(shares_of(mask, (4, 6))).reshape(4, 6)
    assert cells[1, 2:4].tolist() == [1, 1]
    assert cells[2, 2:4].tolist() == [1, 1]  # half of a cell is enough
    mask[8:20] = False
    mask[8:19, 16:32] = True
    cells = cells_of_shares(shares_of(mask, (4, 6))).reshape(4, 6)
    assert cells[2, 2:4].tolist() == [-1, -1]
    assert (cells == 0).sum() == 20


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_every_lesion_has_a_cell_inside_and_none_is_where_nothing_is_marked(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 56), bool)
    row, column = rng.integers(0, 40 - side), rng.integers(0, 56 - side)
    mask[row : row + side, column : column + side] = True
    cells = cells_of_shares(shares_of(mask, (5, 7))).reshape(5, 7)
    assert (cells == 1).any()
    marked = mask.reshape(5, 8, 7, 8).any(axis=(1, 3))
    assert ((cells != 0) == marked).all()
