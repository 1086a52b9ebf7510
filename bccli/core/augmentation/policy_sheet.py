"""A picture of a policy: originals and their copies by the whole policy and by each of its operations."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from bccli.core.augmentation import Draw, Operation, Policy, augmented_copy, draw
from bccli.core.imaging.lettering import fitted, font_of
from bccli.core.wording import lines_of

COPIES = 6
_SIDE = 144
_GAP = 8
_TITLE = 22
_LINE = 13
_LINES, _LINES_OF_ALL = 3, 6
_WIDTH = _GAP + (1 + COPIES) * (_SIDE + _GAP)
_CUT = 23  # characters of a caption that fit below a tile


@dataclass(frozen=True)
class _Row:
    """The copies by a policy, and how many lines of words are below each."""

    title: str
    policy: Policy
    lines: int

    @property
    def height(self) -> int:
        return _TITLE + _SIDE + self.lines * _LINE + _GAP


def draw_sheet(policy: Policy, images: Sequence[tuple[str, np.ndarray]], *, seed: int) -> bytes:
    """PNG bytes of a sheet: for each (name of the raw image, pixels) a block of rows.

    The first row shows the copies that `augment` makes under this seed. In each further row, every copy
    undergoes a single operation.
    """
    rows = [_Row("the whole policy", policy, _LINES_OF_ALL)]
    rows += [_Row(_title(one), _only(one), _LINES) for one in policy.operations]
    top = _GAP + _TITLE
    sheet = Image.new("RGB", (_WIDTH, top + len(images) * sum(row.height for row in rows)), "white")
    paper = ImageDraw.Draw(sheet)
    heading = f"{policy.name}: {policy.title}" if policy.title else policy.name
    large = font_of(16)
    paper.text((_GAP, _GAP // 2), fitted(heading, large, _WIDTH - 2 * _GAP), "black", font=large)
    for name, pixels in images:
        for row in rows:
            _draw_row(sheet, top, row, name, pixels, seed)
            top += row.height
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _only(operation: Operation) -> Policy:
    return Policy(operation.augmenter, (replace(operation, probability=1.0),))


def _title(operation: Operation) -> str:
    return f"{operation.augmenter}, probability {operation.probability:g}"


def _draw_row(sheet: Image.Image, top: int, row: _Row, name: str, pixels: np.ndarray, seed: int) -> None:
    paper = ImageDraw.Draw(sheet)
    small, large = font_of(10), font_of(13)
    paper.text((_GAP, top), fitted(row.title, large, _WIDTH - 2 * _GAP), "black", font=large)
    for index in range(1 + COPIES):
        left = _GAP + index * (_SIDE + _GAP)
        shown, lines = pixels, ["original", fitted(name, small, _SIDE, end=True)]
        if index:
            shown = augmented_copy(row.policy, pixels, seed=seed, image=name, number=index)
            lines = _captions(draw(row.policy, seed=seed, image=name, number=index), row.lines)
        tile = ImageOps.contain(Image.fromarray(shown), (_SIDE, _SIDE))
        sheet.paste(tile, (left, top + _TITLE))
        for line, text in enumerate(lines):
            below = top + _TITLE + _SIDE + line * _LINE
            paper.text((left, below), fitted(text, small, _SIDE), "#444444", font=small)


def _captions(draws: tuple[Draw, ...], most: int) -> list[str]:
    """The drawn operations in a few lines: the values of a single one, or the names of several."""
    if len(draws) == 1 and draws[0].operation.own:
        values = (
            f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
            for name, value in draws[0].values.items()
        )
        text = ", ".join(values) or draws[0].operation.augmenter
    else:
        text = ", ".join(one.operation.augmenter for one in draws) or "unchanged"
    lines = lines_of(text, _CUT)
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1]} …"]
