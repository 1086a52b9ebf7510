"""A picture of a network: its layers from top to bottom, one box each, a backbone in one box.

Drawn with Pillow alone: needs neither Graphviz nor Keras.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from os import PathLike
from typing import IO, TypeAlias

from PIL import Image, ImageDraw

from bccli.core.imaging.lettering import Font, fitted, font_of

Target: TypeAlias = str | PathLike[str] | IO[bytes]

MOST_BOXES = 40
"""Networks with more top-level layers are folded."""

FONT_SIZE, LINE, PADDING, MARGIN, GAP = 18, 28, 14, 24, 30
NARROWEST, WIDEST = 420, 900
"""Widths of a box in pixels; longer text is cut."""

INK = "#000000"
TRAINABLE, FROZEN, NO_WEIGHTS = "#FBE3B5", "#CFE8F7", "#EEEEEE"
"""Tints of Okabe and Ito's orange and sky blue; the text says the same."""


@dataclass(frozen=True)
class LayerBox:
    """One box: a layer, or a nested network or folded run of `layers` layers.

    `kind` is the layer's class, `output_shape` may begin with None for the batch, `frozen_layers` of
    `layers` keep their weights although the box as a whole is `trainable` (fine-tuning).
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    trainable: bool
    layers: int = 1
    frozen_layers: int = 0


def draw_layers(layers: Iterable[LayerBox], path: Target) -> None:
    """Write the architecture as PNG to a path or a binary file."""
    boxes = fold(list(layers))
    font = font_of(FONT_SIZE)
    texts = [_lines(box) for box in boxes]
    longest = max((font.getlength(line) for lines in texts for line in lines), default=0)
    width = int(min(max(longest + 2 * PADDING, NARROWEST), WIDEST))
    heights = [LINE * len(lines) + 2 * PADDING for lines in texts]
    size = (width + 2 * MARGIN, max(sum(heights) + GAP * (len(boxes) - 1), 0) + 2 * MARGIN)
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    top = MARGIN
    for number, (box, lines, height) in enumerate(zip(boxes, texts, heights, strict=True)):
        if number:
            _draw_arrow(pen, size[0] // 2, top - GAP, top)
        _draw_box(pen, box, lines, font, (MARGIN, top, MARGIN + width, top + height))
        top += height + GAP
    image.save(path, format="PNG")


def fold(boxes: Sequence[LayerBox], limit: int = MOST_BOXES) -> list[LayerBox]:
    """The boxes, or if there are more than `limit`, one box per run of equal output shape and state.

    Layers without parameters join the run around them. What is still too long keeps its beginning
    and end; the middle becomes one box.
    """
    if len(boxes) <= limit:
        return list(boxes)
    runs: list[list[LayerBox]] = []
    for _, group in groupby(boxes, key=lambda box: box.output_shape):
        runs.extend(_split_by_state(list(group)))
    folded = [_join(run) for run in runs]
    if len(folded) <= limit:
        return folded
    half = (limit - 1) // 2
    return [*folded[:half], _join(folded[half:-half]), *folded[-half:]]


def _split_by_state(boxes: Sequence[LayerBox]) -> list[list[LayerBox]]:
    """Cut a run where layers with parameters change between frozen and trainable."""
    runs: list[list[LayerBox]] = []
    state: bool | None = None
    for box in boxes:
        changed = box.parameters and state is not None and box.trainable != state
        if not runs or changed:
            runs.append([])
        runs[-1].append(box)
        state = box.trainable if box.parameters else state
    return runs


def _join(run: Sequence[LayerBox]) -> LayerBox:
    """One box for several; its shape is the last one's."""
    if len(run) == 1:
        return run[0]
    kinds = dict.fromkeys(kind for box in run for kind in box.kind.split(", "))
    weighted = [box for box in run if box.parameters]
    trainable = any(box.trainable for box in weighted)
    frozen = sum(box.frozen_layers if box.trainable else box.layers for box in weighted)
    return replace(
        run[-1],
        name=f"{run[0].name.split(' … ')[0]} … {run[-1].name.split(' … ')[-1]}",
        kind=", ".join(kinds),
        parameters=sum(box.parameters for box in run),
        trainable=trainable,
        layers=sum(box.layers for box in run),
        frozen_layers=frozen if trainable else 0,
    )


def _lines(box: LayerBox) -> list[str]:
    """The lines in a box: name and kind, output, and the parameters if it has any."""
    title = f"{box.name}  ({box.kind})"
    lines = [title, f"output {_shape(box.output_shape)}"]
    facts = [f"{box.layers:,} layers"] if box.layers > 1 else []
    if box.parameters:
        facts += [f"{box.parameters:,} parameters", _state(box)]
    return [*lines, ", ".join(facts)] if facts else lines


def _state(box: LayerBox) -> str:
    if not box.trainable:
        return "frozen"
    return f"{box.frozen_layers:,} layers frozen, the others trainable" if box.frozen_layers else "trainable"


def _shape(shape: Sequence[int | None]) -> str:
    """Height × width × channels without the batch, "?" where any size goes."""
    sizes = shape[1:] if len(shape) > 1 and shape[0] is None else shape
    return " × ".join("?" if size is None else f"{size:,}" for size in sizes)


def _draw_box(
    pen: ImageDraw.ImageDraw,
    box: LayerBox,
    lines: Sequence[str],
    font: Font,
    corners: tuple[int, int, int, int],
) -> None:
    left, top, right, _ = corners
    fill = NO_WEIGHTS if not box.parameters else TRAINABLE if box.trainable else FROZEN
    pen.rounded_rectangle(corners, radius=8, fill=fill, outline=INK, width=2)
    for number, line in enumerate(lines):
        middle = ((left + right) // 2, top + PADDING + LINE * number + LINE // 2)
        text = fitted(line, font, right - left - 2 * PADDING)
        pen.text(middle, text, fill=INK, font=font, anchor="mm")


def _draw_arrow(pen: ImageDraw.ImageDraw, center: int, top: int, bottom: int) -> None:
    pen.line((center, top, center, bottom - 8), fill=INK, width=2)
    pen.polygon([(center - 6, bottom - 10), (center + 6, bottom - 10), (center, bottom - 1)], fill=INK)
