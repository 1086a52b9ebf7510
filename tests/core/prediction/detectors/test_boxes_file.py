"""What a detector has found and what is there, written and read again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.lesions import find_lesions
from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.prediction.detectors.boxes_file import (
    BOXES_FILE,
    LESIONS_FILE,
    Detected,
    read_detected,
    write_detected,
)


@given(st.integers(0, 2**32 - 1))
def test_boxes_and_masks_come_back(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    root = tmp_path_factory.mktemp("boxes")
    rng = np.random.default_rng(seed)
    mask = rng.random((20, 30)) < rng.uniform(0.02, 0.9)
    mask[3, 4] = True
    boxes = tuple(ScoredBox(Box(0, 1, 5 + n, 7), float(rng.random())) for n in range(3))
    found = [Detected("a,b.png", boxes, tuple(find_lesions([mask]))), Detected("c.png", (), ())]
    write_detected(root, found)
    again = read_detected(root / BOXES_FILE, root / LESIONS_FILE, ["c.png", "a,b.png"])
    assert [one.path for one in again] == ["c.png", "a,b.png"]
    assert [one.box for one in again[1].boxes] == [one.box for one in boxes]
    assert [one.score for one in again[1].boxes] == pytest.approx([one.score for one in boxes])
    assert len(again[1].lesions) == len(found[0].lesions)
    for one, other in zip(again[1].lesions, found[0].lesions, strict=True):
        assert (one.box, one.area) == (other.box, other.area)
        assert one.mask is not None
        assert other.mask is not None
        assert (one.mask == other.mask).all()
    assert again[0] == found[1]


@pytest.mark.parametrize("text", ["path\na\n", "path,l\na,1,2,3,x,5\n", "path,l\na,1,2,3,4,5,6,7,8\n"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    write_detected(tmp_path, [])
    (tmp_path / BOXES_FILE).write_text(text)
    with pytest.raises(DataError, match="is not what bccli writes there"):
        read_detected(tmp_path / BOXES_FILE, tmp_path / LESIONS_FILE, ["a"])
