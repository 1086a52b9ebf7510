"""The pictures of a run: learning curves, confusion matrix, ROC curves; PNG, 150 dots per inch.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), which colour-blind readers can tell
apart; lines differ in dashes as well. Matplotlib is imported inside the functions, and never its pyplot.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bccli.core.metrics.font_cache import ensure_cache
from bccli.core.metrics.roc import roc_auc, roc_curve
from bccli.core.wording import drawable, lines_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Target: TypeAlias = str | PathLike[str] | IO[bytes]

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
COLOURS = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")

DOTS_PER_INCH = 150
FEW_EPOCHS = 40
"""Up to here each epoch gets a dot; a single epoch would be invisible as a line."""
LOG_RANGE = 100
"""A loss that shrinks by more than this is drawn on a logarithmic axis."""
CELL, SMALLEST_MATRIX, LARGEST_MATRIX = 0.95, 3.4, 14.0
"""Inches: one cell of a confusion matrix, and the limits of the whole."""
LABEL_WIDTHS, SLOPE = (18, 36, 72), 40
"""Letters in a line of a class's name, longer ones where more lines have no room; degrees of those aslant."""
CHARACTER = 0.62
"""Width of a character as a share of the font's size (DejaVu Sans, digits and lower case)."""


@contextmanager
def own_style() -> Iterator[None]:
    """Matplotlib's defaults, whatever a user's matplotlibrc says: TeX, for one, would stumble over names."""
    ensure_cache()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@own_style()
def plot_curves(history: Sequence[Mapping[str, Any]], path: Target, *, kept_epoch: int | None = None) -> None:
    """Loss and accuracy per epoch, for train and where measured for val and test.

    `history` has a mapping per epoch with `epoch`, `loss`, `accuracy`, `val_loss`, `val_accuracy`, and
    perhaps the same of test; what is missing, None or not finite is a gap. `kept_epoch` is marked.
    """
    figure = new_figure()
    epochs = _series(history, "epoch")
    losses, accuracies = add_axes(figure, 0, 3.8, 3.4), add_axes(figure, 4.7, 3.8, 3.4)
    for axes, name in ((losses, "loss"), (accuracies, "accuracy")):
        _plot_curve(axes, epochs, _series(history, name), "train", BLUE, "-")
        _plot_curve(axes, epochs, _series(history, f"val_{name}"), "val", VERMILLION, "--")
        _plot_curve(axes, epochs, _series(history, f"test_{name}"), "test, watched", GREEN, "-.")
        if kept_epoch is not None:
            axes.axvline(kept_epoch, color=GREY, linestyle=":", label=f"kept: epoch {kept_epoch}")
        label_epochs(axes, epochs, name)
    names = ("loss", "val_loss", "test_loss")
    _scale_loss(losses, [loss for name in names for loss in _series(history, name)])
    handles, labels = losses.get_legend_handles_labels()
    if handles:
        middle = (4.7 + 3.8) / 2 / 3.8
        losses.legend(handles, labels, ncols=len(handles), **below(middle, 0.5 / 3.4))
    write_figure(figure, path)


@own_style()
def plot_confusion(
    matrix: ArrayLike, classes: Sequence[str], path: Target, *, title: str = "", format: str = "png"
) -> None:
    """Counts and each row's shares; `matrix` (K, K) has a row per true and a column per predicted class."""
    counts = np.asarray(matrix, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(CELL * len(classes), SMALLEST_MATRIX), LARGEST_MATRIX)
    cell = side / max(len(classes), 1)
    figure = new_figure()
    axes = add_axes(figure, 0, side, side)
    edges = np.arange(len(classes) + 1) - 0.5
    axes.pcolormesh(edges, edges, shares, cmap="Blues", vmin=0, vmax=1, edgecolors=GREY, linewidth=0.3)
    axes.invert_yaxis()
    font_size = min(10.0, _fitting_font(cell, max(6, len(f"{counts.max(initial=0):,}"))))
    for row, column in np.ndindex(counts.shape):
        count, share = counts[row, column], shares[row, column]
        text = f"{count:,}\n{share:.1%}" if count else "0"
        colour = "white" if share > 0.65 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=font_size)
    _label_classes(axes, *_class_labels(classes, cell), cell)
    axes.set(ylabel="true class", xlabel="predicted class\n(percentages: shares of the true class)")
    set_title(axes, title, side)
    write_figure(figure, path, format=format)


@own_style()
def plot_roc(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    path: Target,
    *,
    positive: str | None = None,
    title: str = "",
) -> None:
    """ROC curves with their areas: the positive class of two (the last unless given), else one per class.

    `labels` (n,) are class numbers, `probabilities` (n, K). A class that does not occur, or occurs alone,
    has no curve and says so in the legend.
    """
    truth, scores = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    shown = [positive or classes[-1]] if len(classes) == 2 else classes
    figure = new_figure()
    axes = add_axes(figure, 0, 4.4, 4.4)
    chance = axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)[0]
    handles, names = [], []
    for index, name in enumerate(shown):
        number = list(classes).index(name)
        handle, area = _plot_class(axes, truth == number, scores[:, number], index)
        handles.append(handle)
        names.append(f"{area}   {wrapped(name, 40)}")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.grid(alpha=0.3)
    axes.legend(
        [*handles, chance],
        [*names, "0.500   chance"],
        title="area under the curve",
        handlelength=3,
        **below(0.5, 0.5 / 4.4),
    )
    set_title(axes, title, 4.4)
    write_figure(figure, path)


def new_figure() -> "Figure":
    """A figure of one square inch, so that its coordinates are inches; `write_figure` cuts it to size."""
    ensure_cache()
    from matplotlib.figure import Figure

    return Figure(figsize=(1, 1), dpi=DOTS_PER_INCH)


def add_axes(figure: "Figure", left: float, width: float, height: float) -> "Axes":
    """Axes of this size in inches: labels of any length then take room around them, never from them."""
    return figure.add_axes((left, 0, width, height))


def write_figure(figure: "Figure", path: Target, *, format: str = "png") -> None:
    """Save as png or svg; the same figure gives the same bytes."""
    import matplotlib

    metadata = {"Date": None} if format == "svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "bccli"}):
        figure.savefig(
            path, format=format, dpi=DOTS_PER_INCH, bbox_inches="tight", pad_inches=0.15, metadata=metadata
        )


def below(center: float, distance: float) -> dict[str, Any]:
    """Where a legend below the axes goes, in axes' widths and heights."""
    return {
        "loc": "upper center",
        "bbox_to_anchor": (center, -distance),
        "frameon": False,
        "borderaxespad": 0,
    }


def _fitting_font(inches: float, characters: int) -> float:
    """The font size in points at which a line of text fills 90 % of a width."""
    return 0.9 * inches * 72 / (CHARACTER * characters)


def _series(history: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """The key's values, NaN where there is none."""
    values = [row.get(key) for row in history]
    return [math.nan if value in (None, "") else float(value) for value in values]


def _plot_curve(
    axes: "Axes", epochs: Sequence[float], values: Sequence[float], label: str, colour: str, dashes: str
) -> None:
    if not np.isfinite(values).any():
        return
    marker = "o" if len(epochs) <= FEW_EPOCHS else ""
    axes.plot(epochs, values, color=colour, linestyle=dashes, marker=marker, markersize=3.5, label=label)


def label_epochs(axes: "Axes", epochs: Sequence[float], name: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel="epoch", ylabel=name)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True))
    if len(epochs) == 1:
        axes.set(xlim=(epochs[0] - 1, epochs[0] + 1), xticks=epochs)


def _scale_loss(axes: "Axes", losses: Sequence[float]) -> None:
    finite = [loss for loss in losses if math.isfinite(loss)]
    if finite and min(finite) > 0 and max(finite) / min(finite) > LOG_RANGE:
        axes.set(yscale="log", ylabel="loss (logarithmic)")


def _class_labels(classes: Sequence[str], cell: float) -> tuple[list[str], float]:
    """Names in as many lines as fit beside each other in cells of so many inches, and their font's size."""
    for width in LABEL_WIDTHS:
        names = [wrapped(name, width) for name in classes]
        lines = max((name.count("\n") + 1 for name in names), default=1)
        size = min(10.0, cell * 72 * math.sin(math.radians(SLOPE)) / (1.2 * lines))
        if size == 10:
            break
    return names, size


def _label_classes(axes: "Axes", names: Sequence[str], size: float, cell: float) -> None:
    """Name rows and columns, the columns aslant where a name is wider than a cell (in inches)."""
    positions = range(len(names))
    axes.set_yticks(positions, names, fontsize=size)
    longest = max((len(line) for name in names for line in name.split("\n")), default=1)
    if _fitting_font(cell, longest) >= size:
        axes.set_xticks(positions, names, fontsize=size)
    else:
        axes.set_xticks(positions, names, fontsize=size, rotation=SLOPE, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)


def _plot_class(axes: "Axes", is_positive: ArrayLike, scores: ArrayLike, index: int) -> tuple[Any, str]:
    """Draw one class's curve; its line and what the legend says of its area."""
    style: dict[str, Any] = {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index % len(DASHES)],
        "linewidth": 1.8,
    }
    curve = roc_curve(is_positive, scores)
    if curve is None:
        return axes.plot([], [], **style)[0], "undefined"
    return axes.plot(curve[0], curve[1], **style)[0], f"{roc_auc(is_positive, scores):.3f}"


def set_title(axes: "Axes", title: str, width: float) -> None:
    """Set a title, broken into lines as wide as the axes (in inches)."""
    if title:
        axes.set_title(wrapped(title, max(20, int(width * 72 / (11 * CHARACTER)))), fontsize=11)


def wrapped(text: str, width: int) -> str:
    """Text in lines of at most `width` characters, as it is written."""
    return literal("\n".join(lines_of(drawable(text), width)))


def literal(text: str) -> str:
    """Text as it is written: with dollar signs that do not start formulas."""
    return drawable(text).replace("$", r"\$")
