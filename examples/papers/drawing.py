"""What the papers draw and bccli does not: forests of figures, features of patches."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import Cell
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measured import Measured, read_table

from bccli.core.files import replacing_file

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
DOTS_PER_INCH = 120
CHARACTER, PANEL = 0.085, 3.0
"""Inches: a character of a row's name, and a column's panel."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a whole, cut to what is drawn."""
    with replacing_file(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, bbox_inches="tight", metadata={"Software": None})


def draw_forest(
    title: str, columns: Sequence[str], rows: Sequence[tuple[Cell, Measured, Measured]], path: Path
) -> None:
    """Each number as a cross (paper), a ring (its protocol here) and a dot with interval (patients apart).

    A panel for each of the columns, a line per row; what is no number is left out.
    """
    rows = [row for row in rows if any(_number(value) is not None for value in _values(row))]
    if not rows:
        return
    columns = [column for column in columns if any(cell.column == column for cell, _, _ in rows)]
    names = list(dict.fromkeys(cell.row for cell, _, _ in rows))
    width = 0.3 + max(map(len, names)) * CHARACTER + PANEL * len(columns)
    figure = Figure(figsize=(width, 1.5 + 0.28 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        for row in (row for row in rows if row[0].column == column):
            _draw_marks(axes, names.index(row[0].row), row)
        axes.set(xlabel=column, ylim=(len(names) - 0.5, -0.5))
        axes.set_yticks(range(len(names)), names)
        axes.grid(axis="x", alpha=0.3)
    figure.legend(*_legend(panels), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title, fontsize=10, wrap=True)
    save(figure, path)


MARKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("paper", {"marker": "x", "color": GREY}),
    ("paper protocol here", {"marker": "o", "color": VERMILLION, "fillstyle": "none"}),
    ("patients apart, 95 % interval", {"marker": "o", "color": BLUE}),
)


def _values(row: tuple[Cell, Measured, Measured]) -> tuple[object, ...]:
    cell, paper, apart = row
    return cell.printed, paper.value, apart.value


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _draw_marks(axes: Axes, line: int, row: tuple[Cell, Measured, Measured]) -> None:
    apart = row[2]
    if apart.low is not None and apart.high is not None:
        axes.plot([apart.low, apart.high], [line + 0.15] * 2, color=BLUE, linewidth=1.2)
    for place, (value, (label, mark)) in enumerate(zip(_values(row), MARKS, strict=True)):
        if (number := _number(value)) is not None:
            axes.plot(number, line + 0.15 * (place - 1), linestyle="none", label=label, **mark)


def _legend(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    names = [label for label, _ in MARKS if label in found]
    return [found[name] for name in names], names


SHOWN = ("benign", "invasive")
"""The classes of the two images whose patches are drawn; the hybrid paper does not name its two."""


def draw_features(data: Path, path: Path) -> None:
    """The stored features of the patches of two images of test by t-SNE, beside where the patches lie."""
    features = _stored_features(data)
    rows = [row for row in read_table(data / "manifest.csv") if row["split"] == "test"]
    figure = Figure(figsize=(7.2 * len(SHOWN), 3.2), layout="constrained")
    panels = figure.subplots(1, 2 * len(SHOWN), squeeze=False)[0]
    for place, label in enumerate(SHOWN):
        source = next(row["source"] for row in rows if row["label"] == label)
        patches = [row for row in rows if row["source"] == source]
        vectors = np.stack([features[row["sha256"]] for row in patches])
        corners = np.array([(int(row["col"]), -int(row["row"])) for row in patches])
        _draw_points(panels[2 * place], _embedded(vectors), f"{label}: features, t-SNE")
        _draw_points(panels[2 * place + 1], corners, f"{Path(source).stem}: patches")
    save(figure, path)


def _draw_points(axes: Axes, points: np.ndarray, title: str) -> None:
    """Numbered points (patches, 2), in the colours of their numbers."""
    axes.scatter(points[:, 0], points[:, 1], c=np.arange(len(points)), cmap="viridis")
    for number, point in enumerate(points, 1):
        axes.annotate(f"{number}", point, textcoords="offset points", xytext=(4, 4))
    axes.margins(0.15)
    axes.set(title=title, xticks=[], yticks=[])


def _embedded(vectors: np.ndarray) -> np.ndarray:
    """Points (patches, 2) by t-SNE, with a perplexity of a third of the other patches."""
    from sklearn.manifold import TSNE

    perplexity = max(1.0, (len(vectors) - 1) / 3)
    return np.asarray(
        TSNE(perplexity=perplexity, method="exact", init="pca", random_state=0).fit_transform(vectors)
    )


def _stored_features(data: Path) -> Mapping[str, np.ndarray]:
    """The features in a dataset's cache by the SHA-256 of the pixels; those of the last network stored."""
    folders = sorted((data / ".cache" / "features").iterdir(), key=lambda folder: folder.stat().st_mtime)
    chunks = [np.load(file, allow_pickle=False) for file in sorted(folders[-1].glob("*.npy"))]
    return {
        pixels.tobytes().hex(): vector
        for chunk in chunks
        for pixels, vector in zip(chunk["pixels"], chunk["features"], strict=True)
    }


DRAW: dict[str, Callable[[Path, Path], None]] = {
    "features": draw_features,
}
"""What a figure's `draw` names."""
