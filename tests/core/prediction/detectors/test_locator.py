"""Boxes for the nodes of a tree, from what a detector says."""

from dataclasses import dataclass, field

import numpy as np

from bccli.core.imaging.equalising import Box
from bccli.core.imaging.preparation import Preparation
from bccli.core.prediction.detectors.heat_maps import HeatGrid
from bccli.core.prediction.detectors.locator import DetectorLocator, common_locators
from bccli.core.prediction.detectors.predictor import DetectorPredictor
from bccli.core.prediction.run_predictor import ImagePatches

SPEC = Preparation(size=(40, 40)), (40, 40)
PATCHES = ImagePatches(np.zeros((1, 40, 40, 3), np.uint8), (None,))
REGION = Preparation(size=(8, 8), region="crop"), (8, 8)


def locator(*cells: int, high: float = 5.0, cell_rows: int = 4) -> DetectorLocator:
    """One whose network sees something in these cells of 4 × 4, and nothing elsewhere."""
    scores = np.full((1, cell_rows * 4), -30, np.float32)
    scores[0, list(cells)] = high
    grid = HeatGrid((40, 40), (cell_rows, 4))
    return DetectorLocator("tumor", DetectorPredictor(("normal", "lesion"), SPEC, grid, (lambda _: scores,)))


def test_a_box_is_in_pixels_of_the_raw_image() -> None:
    box = locator(5)(PATCHES, (80, 400))
    assert box.left < 150 < box.right
    assert box.top < 30 < box.bottom
    assert box.right - box.left > box.bottom - box.top


def test_the_surest_box_is_taken() -> None:
    two = locator(0, high=2.0).detector.networks + locator(15, high=9.0).detector.networks
    both = DetectorLocator("tumor", DetectorPredictor(("a", "b"), SPEC, HeatGrid((40, 40), (4, 4)), two))
    assert both(PATCHES, (40, 40)).right == 40


def test_where_nothing_is_found_it_is_the_whole_image() -> None:
    assert locator()(PATCHES, (80, 400)) == Box(0, 0, 400, 80)


@dataclass(frozen=True)
class Tree:
    """What has locators."""

    locators: dict = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    specs: tuple = ()

    def __call__(self, images: object, flips: object, step: int) -> np.ndarray:
        """Nothing is asked."""
        raise AssertionError


def test_trees_find_a_box_together() -> None:
    (found,) = common_locators([Tree({REGION: locator(0)}), Tree({REGION: locator(0, 15)})]).values()
    assert found.node == "tumor"
    assert found(PATCHES, (40, 40)).left == 0


def test_trees_whose_detectors_are_not_alike_find_none() -> None:
    other = Tree({REGION: locator(0, cell_rows=2)})
    assert common_locators([Tree({REGION: locator(0)}), other]) == {}
    assert common_locators([Tree({REGION: locator(0)}), Tree()]) == {}
