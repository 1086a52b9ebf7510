"""Masks in a folder of their own, found by the images' names."""

from pathlib import Path

import numpy as np
import pytest

from bccli.core.prediction.masks import Masks
from tests.conftest import save


@pytest.mark.parametrize("image", ["a.png", "IM0001", "1.2.840.7", "new/b (1).IMA", "c.png.jpg"])
@pytest.mark.parametrize("named", ["{}.png", "{}_mask.png", "{} mask.bmp", "{}_Mask2.png", "{}-mask_1.png"])
def test_a_mask_is_found_by_the_stem_of_its_image(tmp_path: Path, image: str, named: str) -> None:
    stem = {"new/b (1).IMA": "b (1)", "c.png.jpg": "c", "a.png": "a"}.get(image, image)
    marked = np.zeros((5, 4), np.uint8)
    marked[2] = 255
    save(tmp_path / named.format(stem), marked)
    save(tmp_path / "other_mask.png", marked)
    masks = Masks(tmp_path)
    assert masks.holds(image)
    assert not masks.holds("absent.png")
    assert (masks.load(image, (5, 4)) == marked).all()
