"""Which cells of a grid lie in a lesion."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data.manifest import Sample, join_masks
from bccli.core.training.detectors.lesion_cells import cells_of, cells_of_shares, shares_of
from tests.conftest import save


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


def test_a_small_lesion_beside_a_large_one_has_a_cell_inside_also_in_masks_of_its_own(tmp_path: Path) -> None:
    large, small = np.zeros((2, 40, 56), np.uint8)
    large[8:24, 8:24] = small[33:36, 41:44] = 255
    for name, mask in (("large", large), ("small", small), ("both", large | small)):
        save(tmp_path / f"{name}.png", mask)
    samples = (
        Sample("a.png", "lesion", mask="both.png", box="8,8,44,36"),
        Sample("b.png", "lesion", mask=join_masks(["large.png", "small.png"]), box="8,8,24,24"),
    )
    found = cells_of(tmp_path, samples, (56, 40), (5, 7))
    for cells in found.cells.reshape(2, 5, 7):
        assert np.argwhere(cells == 1).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2], [4, 5]]
        assert not (cells < 0).any()
