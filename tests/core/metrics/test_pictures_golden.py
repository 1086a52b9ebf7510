"""What pictures are made of: axes in inches, curves, bars, words and their sizes, before they are drawn.

`python -m tests.core.metrics.test_pictures_golden` writes `pictures.json` anew; look at the pictures first.
"""

import io
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bccli.core.metrics import panels, plots
from tests import golden

GOLDEN = Path(__file__).with_name("pictures.json")


def described(figure: Any) -> dict[str, Any]:
    """A figure as plain values."""
    return {"texts": [text_of(text) for text in figure.texts], "axes": [axes_of(one) for one in figure.axes]}


def axes_of(axes: Any) -> dict[str, Any]:
    legend = axes.get_legend()
    return {
        "at": axes.get_position().bounds,
        "title": text_of(axes.title),
        "x": axis_of(axes.xaxis),
        "y": axis_of(axes.yaxis),
        "lines": [line_of(line) for line in axes.lines],
        "bars": [[*patch.get_bbox().bounds, hex_of(patch.get_facecolor())] for patch in axes.patches],
        "meshes": [mesh_of(mesh) for mesh in axes.collections],
        "texts": [text_of(text) for text in axes.texts],
        "spines": [name for name, spine in axes.spines.items() if spine.get_visible()],
        "legend": legend and legend_of(legend),
    }


def axis_of(axis: Any) -> dict[str, Any]:
    ticks = axis.get_ticklocs().tolist()
    return {
        "label": axis.label.get_text(),
        "scale": axis.get_scale(),
        "limits": list(axis.get_view_interval()),
        "ticks": ticks,
        "minor": axis.get_ticklocs(minor=True).tolist(),
        "names": axis.get_major_formatter().format_ticks(ticks),
        "first tick": [tick_of(tick) for tick in axis.get_major_ticks()[:1]],
    }


def tick_of(tick: Any) -> list[Any]:
    label, grid = tick.label1, tick.gridline
    return [
        label.get_rotation(), label.get_ha(), label.get_rotation_mode(), label.get_fontsize(),
        tick.tick1line.get_markersize(), grid.get_visible(), grid.get_alpha(),
    ]  # fmt: skip


def line_of(line: Any) -> list[Any]:
    return [
        list(line.get_xdata()), list(line.get_ydata()), line.get_color(), line.get_linestyle(),
        line.get_marker(), line.get_markersize(), line.get_linewidth(), line.get_label(),
    ]  # fmt: skip


def text_of(text: Any) -> list[Any]:
    shift = list(text.xyann) if hasattr(text, "xyann") else []
    size = text.get_fontsize(), text.get_color(), text.get_ha(), text.get_va(), text.get_rotation()
    return [text.get_text(), *text.get_position(), *shift, *size]


def mesh_of(mesh: Any) -> list[Any]:
    return [
        mesh.get_array().tolist(),
        mesh.get_coordinates().tolist(),
        mesh.get_cmap().name,
        *mesh.get_clim(),
    ]


def legend_of(legend: Any) -> list[Any]:
    place = legend.get_bbox_to_anchor()
    return [
        [text.get_text() for text in legend.get_texts()], legend.get_title().get_text(), legend._ncols,
        *(place.p0 / legend.axes.bbox.size - legend.axes.bbox.p0 / legend.axes.bbox.size), legend._loc,
        legend.get_frame_on(), legend.handlelength, legend.borderaxespad,
    ]  # fmt: skip


def hex_of(colour: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * share):02x}" for share in colour)


def history(epochs: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "loss": 2 / epoch, "accuracy": 1 - 0.5 / epoch, **more}
        for epoch in range(1, epochs + 1)
    ]


def matrix(classes: int, size: int = 7) -> np.ndarray:
    counts = np.random.default_rng(0).integers(0, size, (classes, classes))
    return counts + 2 * size * np.eye(classes, dtype=int) * (np.arange(classes) % 3 > 0)


def scores(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return np.arange(12) % classes, rng.dirichlet(np.ones(classes), 12).round(2)


def lines_of(width: int) -> str:
    """Words that fill a line of this width, and words that need a line one wider."""
    return f"{'a' * width} {'b' * (width - 1)} c"


def bars(numbers: list[int], whole: int, longest: int) -> Callable[[], Iterator[Any]]:
    def draw() -> Iterator[Any]:
        figure = plots.new_figure()
        axes = panels.add_axes(figure, 1.0, 5.0, 3.0, 2.0)
        panels.draw_bars(axes, 3.0, numbers, [whole] * len(numbers), plots.COLOURS[: len(numbers)], longest)
        below = panels.write_heading(figure, 0.5, 9.0, "images by class")
        panels.write_sentence(figure, 0.5, below, "patients", lines_of(46))
        yield figure

    return draw


def scales(low: float, high: float) -> Callable[[], Iterator[Any]]:
    def draw() -> Iterator[Any]:
        figure = plots.new_figure()
        axes = panels.add_axes(figure, 0, 2, 3, 2)
        axes.set(xlim=(low, high), ylim=(low, high))
        panels.make_logarithmic(axes, "x", "images")
        panels.make_logarithmic(axes, "y", "patients")
        other = panels.add_axes(figure, 4, 2, 3, 2)
        other.set(xlim=(low, high), ylim=(0, 5))
        panels.count_on(other, "x", "images", 6)
        panels.count_on(other, "y", "patients", 4)
        panels.write_label(other, "a word", (1, 2), (3, -4), ha="right")
        yield figure

    return draw


def of(draw: Callable[..., None], *args: Any, **options: Any) -> Callable[[], Iterator[Any]]:
    """The figures that a function writes."""

    def drawn() -> Iterator[Any]:
        figures: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plots, "write_figure", lambda figure, path, **more: figures.append(figure))
            draw(*args, "", **options)
        yield from figures

    return drawn


WIDE = [{"epoch": 1, "loss": 300.0, "accuracy": 0.5}, {"epoch": 2, "loss": 2.0, "accuracy": 0.9}]
NARROW = [{**WIDE[0], "loss": 200.0}, WIDE[1]]
NAMES = ("benign without callback", "ductal_carcinoma_in_situ_of_the_left_breast", "a $ sign")

CASES: dict[str, Callable[[], Iterator[Any]]] = {
    "curves": of(plots.plot_curves, history(8, val_loss=0.5, val_accuracy=0.8), kept_epoch=3),
    "curves of one epoch": of(plots.plot_curves, history(1)),
    "curves of 40 epochs, test watched": of(plots.plot_curves, history(40, test_loss=1, test_accuracy=0.5)),
    "curves of 41 epochs": of(plots.plot_curves, history(41, val_loss=None, val_accuracy=math.nan)),
    "no curves": of(plots.plot_curves, []),
    "curves of a loss over decades": of(plots.plot_curves, WIDE),
    "curves of a loss over two decades": of(plots.plot_curves, NARROW),
    "curves of a loss of 0": of(plots.plot_curves, [*WIDE, {"epoch": 3, "loss": 0.0, "accuracy": ""}]),
    "confusion": of(plots.plot_confusion, matrix(2), ["a", "b"], title="run, test"),
    "confusion of no images": of(plots.plot_confusion, np.zeros((2, 2)), ["a", "b"]),
    "confusion of long names": of(plots.plot_confusion, matrix(3, 3000), NAMES, title="a $ title " * 9),
    "confusion of names that just fit": of(plots.plot_confusion, matrix(3), ["a", lines_of(18), "b"]),
    "roc of names that just fit": of(plots.plot_roc, *scores(3), ["a", lines_of(40), "b"]),
    "confusion of five": of(plots.plot_confusion, matrix(5), ["mucinous", *"abcd"]),
    "confusion of twenty": of(plots.plot_confusion, matrix(20, 20_000), [f"class {k}" for k in range(20)]),
    "roc": of(plots.plot_roc, *scores(2), ["a", "b"], title="run, val"),
    "roc of the first class": of(plots.plot_roc, *scores(2), ["a", "b"], positive="a"),
    "roc of nine classes": of(plots.plot_roc, *scores(9), [*NAMES, *"abcdef"]),
    "roc of a class alone": of(plots.plot_roc, np.zeros(3, int), np.full((3, 2), 0.5), ["a", "b"]),
    "bars": bars([3, 200, 1, 0], 201, 200),
    "bars of a hundred": bars([1, 99, 100], 100, 100),
    "bars of nothing": bars([0], 0, 0),
    "scales of few": scales(1, 30),
    "scales of many": scales(2, 6001),
}  # fmt: skip


def pictures(name: str) -> list[Any]:
    """The pictures of a case as plain values."""
    return [plain(described(figure)) for figure in CASES[name]()]


def plain(value: Any) -> Any:
    """The value as JSON has it; NaN is null, and numbers have nine digits."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.9g}") if math.isfinite(value) else str(value)
    return value.item() if isinstance(value, np.generic) else value


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_made_of_what_it_was(name: str) -> None:
    golden.check(GOLDEN, name, pictures(name), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(kind: str) -> None:
    written = []
    for _ in range(2):
        figure, stream = plots.new_figure(), io.BytesIO()
        plots.add_axes(figure, 0, 2, 1).set(xticks=[], yticks=[])
        plots.write_figure(figure, stream, format=kind)
        written.append(stream.getvalue())
    assert written[0] == written[1]
    assert b"dc:date" not in written[0]
    if kind == "png":
        with Image.open(io.BytesIO(written[0])) as image:
            assert abs(image.width - 150 * 2.3) < 3
            assert abs(image.height - 150 * 1.3) < 3
            assert round(image.info["dpi"][0]) == 150


if __name__ == "__main__":
    golden.write(GOLDEN, {name: partial(pictures, name) for name in CASES})
