"""Tissue and nuclei, counted where they are known."""

from pathlib import Path

import numpy as np
import pytest

from bccli.core.imaging.formats.decoding import decode
from bccli.core.imaging.stains.fits import StainFit
from bccli.core.imaging.tissue import nuclear_density, tissue_share
from tests.core.imaging.slides import PINK, PURPLE, draw_amounts, stain


@pytest.mark.parametrize("fit", [PURPLE, PINK])
def test_shares_are_those_that_were_drawn(fit: StainFit) -> None:
    amounts = draw_amounts(0)
    image = stain(amounts, fit)
    assert tissue_share(image) == pytest.approx((amounts.sum(axis=-1) > 0).mean(), abs=1e-6)
    assert (amounts[..., 0] > 0.6).mean() <= nuclear_density(image) <= (amounts[..., 0] > 0).mean()


@pytest.mark.parametrize(("level", "share"), [(255, 0), (225, 0), (0, 1)])
def test_one_value(level: int, share: int) -> None:
    image = np.full((5, 7, 3), level, np.uint8)
    assert tissue_share(image) == share
    assert 0 <= nuclear_density(image) <= 1


def test_real_slides(real_data: Path) -> None:
    """A stroma with vessels against crowded nuclei, and the slide with most glass."""
    slides = {path.name: decode(path) for path in (real_data / "breakhis").rglob("*.png")}
    stroma = slides["SOB_M_DC-14-17614-400-014.png"]
    crowded = slides["SOB_B_TA-14-16184CD-400-024.png"]
    assert nuclear_density(stroma) < 0.1 < 0.3 < nuclear_density(crowded)
    assert tissue_share(slides["SOB_B_PT-14-29315EF-200-011.png"]) < 0.6 < 0.9 < tissue_share(stroma)
