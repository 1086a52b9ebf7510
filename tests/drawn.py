"""What stands in a figure that was drawn: its texts, and where they lie over each other."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

NAMES = (
    "invasive_ductal_carcinoma_NST",
    "Fibroadenom (gutärtig, größer)",
    "costs $5 or $6",
    "<b>bold</b> & \\alpha",
    "_hidden",
    "x^{2",
)
"""Classes that somebody might have: long, with umlauts, and with what is markup elsewhere."""


def figures_of(patch: pytest.MonkeyPatch, *modules: Any) -> list[Any]:
    """The figures that modules write from now on, which are drawn, but not saved."""
    figures: list[Any] = []
    for module in modules:
        patch.setattr(module, "write_figure", lambda figure, *_, **__: figures.append(figure))
    return figures


def drawn_texts(figure: Any) -> list[Any]:
    """The texts that show: not those of ticks beyond an axis's ends."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    beyond = {id(label) for axes in figure.axes for label in _beyond(axes)}
    texts = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_visible())
    return [text for text in texts if text.get_text() and id(text) not in beyond]


def _beyond(axes: Any) -> Iterator[Any]:
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def words(figure: Any) -> list[str]:
    """What the texts say, as one reads it."""
    return [text.get_text().replace("\n", " ").replace(r"\$", "$") for text in drawn_texts(figure)]


def box_of(text: Any) -> Any:
    """A text's box in pixels, without the line that may lead to it."""
    from matplotlib.text import Text

    return Text.get_window_extent(text)


def overlapping(figure: Any) -> list[tuple[str, str]]:
    """Pairs of texts that lie over each other by more than a pixel; those aslant are left out."""
    upright = [text for text in drawn_texts(figure) if text.get_rotation() in (0, 90)]
    boxes = np.array([box_of(text).extents for text in upright]).reshape(-1, 4)
    low, high = boxes[:, :2], boxes[:, 2:]
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    pairs = np.argwhere(np.triu((shared > 1).all(axis=-1), 1)).tolist()
    return [(upright[one].get_text(), upright[other].get_text()) for one, other in pairs]


def formulas(figure: Any) -> list[str]:
    """Texts that are set as formulas."""
    return [
        text.get_text() for text in drawn_texts(figure) if text._preprocess_math(text.get_text())[1] is True
    ]


def crossed(figure: Any, texts: Sequence[Any]) -> list[str]:
    """Texts that lie on a line of their diagram."""
    boxes = [(text, box_of(text)) for text in texts]
    return [
        text.get_text()
        for text, box in boxes
        for line in text.axes.lines
        if line.get_transform().transform_path(line.get_path()).intersects_bbox(box, filled=False)
    ]
