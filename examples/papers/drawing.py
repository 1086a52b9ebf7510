"""What the papers draw and bccli does not: forests of figures, patch features, ages, classes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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


def draw_forest(title: str, rows: Sequence[tuple[Cell, Measured, Measured]], path: Path) -> None:
    """Each number as a cross (paper), a ring (its protocol here) and a dot with interval (patients apart).

    A panel per column, a line per row; what is no number is left out.
    """
    rows = [row for row in rows if any(_number(value) is not None for value in _values(row))]
    if not rows:
        return
    columns = list(dict.fromkeys(cell.column for cell, _, _ in rows))
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


MARKS = (
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


def _legend(panels: Sequence[Axes]) -> tuple[list[object], list[str]]:
    found: dict[str, object] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    names = [label for label, _ in MARKS if label in found]
    return [found[name] for name in names], names


def _panels(count: int, *, width: float = 3.6, height: float = 3.2) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def draw_ages(data: Path, path: Path) -> None:
    """How old the patients are, and the mean age of each status (Mini-DDSM)."""
    patients = {
        row["patient"]: (row["patient"].partition("_")[0], int(float(row["age"])))
        for row in read_table(data / "manifest.csv")
        if row["age"]
    }
    figure, (distribution, means) = _panels(2)
    statuses = sorted({status for status, _ in patients.values()})
    ages = [[age for found, age in patients.values() if found == status] for status in statuses]
    distribution.hist(ages, bins=range(20, 101, 5), stacked=True, label=statuses)
    distribution.set(xlabel="age in years", ylabel="patients")
    distribution.legend(frameon=False)
    means.bar(statuses, [float(np.mean(group)) for group in ages], color=BLUE)
    means.set(ylabel="mean age in years")
    save(figure, path)


def draw_classes(data: Path, path: Path) -> None:
    """How many images of each class train has, which was thinned, and val and test, which were not."""
    rows = read_table(data / "manifest.csv")
    figure, panels = _panels(2)
    for axes, (title, splits) in zip(
        panels, (("val and test, as they are", ("val", "test")), ("train, thinned", ("train",))), strict=True
    ):
        counts = Counter(row["label"] for row in rows if row["split"] in splits)
        bars = axes.bar(list(counts), list(counts.values()), color=GREEN)
        axes.bar_label(bars)
        axes.set(title=title, ylabel="images")
    save(figure, path)


def draw_features(data: Path, path: Path) -> None:
    """The stored features of the patches of two images of test in two dimensions, beside where they lie.

    t-SNE where scikit-learn can fit it, its perplexity a third of the patches; of a benign and of an
    invasive image, as the paper's two are not named.
    """
    features = _stored_features(data)
    rows = [row for row in read_table(data / "manifest.csv") if row["split"] == "test"]
    images = {row["label"]: row["source"] for row in rows}
    shown = [images[label] for label in ("benign", "invasive") if label in images] or list(images.values())[
        :2
    ]
    figure, panels = _panels(2 * len(shown))
    for place, source in enumerate(shown):
        patches = [row for row in rows if row["source"] == source]
        points = _embedded(np.stack([features[row["sha256"]] for row in patches]))
        where = np.array([(int(row["col"]), int(row["row"])) for row in patches], float)
        colours = np.arange(len(patches))
        for axes, positions, name in zip(
            panels[2 * place : 2 * place + 2], (points, where), ("t-SNE of features", "patches"), strict=True
        ):
            axes.scatter(*positions.T, c=colours, cmap="viridis")
            for number, position in enumerate(positions, 1):
                axes.annotate(f"{number}", position, textcoords="offset points", xytext=(4, 4))
            axes.set(title=f"{Path(source).stem}: {name}", xticks=[], yticks=[])
        panels[2 * place + 1].invert_yaxis()
    save(figure, path)


def _embedded(vectors: np.ndarray) -> np.ndarray:
    """Points (patches, 2) by t-SNE."""
    from sklearn.manifold import TSNE

    perplexity = max(1.0, (len(vectors) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, random_state=0, init="pca").fit_transform(vectors))


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
    "ages": draw_ages,
    "classes": draw_classes,
    "features": draw_features,
}
"""What a figure's `draw` names."""
