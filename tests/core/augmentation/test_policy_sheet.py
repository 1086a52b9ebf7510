"""The sheet of a policy: its words stay below their tiles, and name what was done."""

import io

import numpy as np
import pytest
from PIL import Image

from bccli.core.augmentation import built_in, draw, find_policy, policy_sheet
from bccli.core.imaging.lettering import font_of

PIXELS = np.full((60, 40, 3), 255, np.uint8)


@pytest.mark.parametrize("name", ["a/short.png", "Fibroadenom (gutärtig, größer)/" * 9 + "WWWWWWWW.png"])
def test_no_words_reach_below_the_next_tile(name: str) -> None:
    policy = find_policy("flips")
    sheet = Image.open(io.BytesIO(policy_sheet.draw_sheet(policy, [(name, PIXELS)], seed=0))).convert("L")
    step, side = policy_sheet._SIDE + policy_sheet._GAP, policy_sheet._SIDE
    first = policy_sheet._GAP + 2 * policy_sheet._TITLE + side
    captions = np.asarray(sheet)[first : first + policy_sheet._LINES_OF_ALL * policy_sheet._LINE]
    assert (captions < 200).any()
    gaps = [policy_sheet._GAP + index * step - 4 for index in range(1, policy_sheet.COPIES + 2)]
    assert (captions[:, gaps] == 255).all()


@pytest.mark.parametrize("name", built_in())
def test_captions_name_all_that_was_drawn(name: str) -> None:
    policy, font = find_policy(name), font_of(10)
    for number in range(1, 200):
        drawn = draw(policy, seed=0, image="a", number=number)
        lines = policy_sheet._captions(drawn, policy_sheet._LINES_OF_ALL)
        assert len(lines) <= policy_sheet._LINES_OF_ALL
        assert max(map(font.getlength, lines)) <= policy_sheet._SIDE
        if len(drawn) > 1:
            words = "".join(lines).replace(" ", "")
            assert words == ",".join(one.operation.augmenter for one in drawn)
