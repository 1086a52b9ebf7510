"""The pictures of `evaluate --output`, each as PNG and SVG: what the figures rest on, with intervals.

Bands are pointwise 95 % intervals over the same bootstrap as those of the figures.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.files import replacing
from bccli.core.metrics.bootstrap import LEVEL, UNDEFINED, digits_of, draws
from bccli.core.metrics.figures import material_of
from bccli.core.metrics.plots import (
    BLUE,
    COLOURS,
    DASHES,
    GREY,
    VERMILLION,
    add_axes,
    below,
    label_epochs,
    new_figure,
    plot_confusion,
    set_title,
    wrapped,
    write_figure,
)
from bccli.core.metrics.support import FEWEST
from bccli.core.metrics.weighted import CALIBRATION_BINS, CELLS, Floats, Material, Ranking, bins_of, chunks
from bccli.core.runs.run_folder import networks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
ROUNDS = 400
"""Rounds for the bands, which need fewer than a table's limits."""
GRID = np.linspace(0, 1, 101)
SIDE = 4.4
"""Inches: the side of a square diagram."""


def draw_all(evaluation: Evaluation, folder: Path) -> None:
    """Write every diagram that the evaluation has the numbers for into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = evaluation.whole
    for format in FORMATS:
        with replacing(folder / f"confusion.{format}") as stream:
            plot_confusion(
                figures.confusion_matrix or [],
                figures.classes,
                stream,
                title=_title(evaluation),
                format=format,
            )
    for name, node in (figures.tree or {"nodes": {}})["nodes"].items():
        for format in FORMATS:
            with replacing(folder / f"confusion_{name}.{format}") as stream:
                plot_confusion(
                    node["confusion_matrix"],
                    node["classes"],
                    stream,
                    title=f"{_title(evaluation)}: {name}",
                    format=format,
                )
    for name, draw in _DIAGRAMS.items():
        if (figure := draw(evaluation)) is None:
            continue
        for format in FORMATS:
            with replacing(folder / f"{name}.{format}") as stream:
                write_figure(figure, stream, format=format)


def _title(evaluation: Evaluation) -> str:
    figures = evaluation.whole
    return ", ".join(str(part) for part in (figures.name, figures.split, figures.protocol) if part)


def _material(evaluation: Evaluation) -> Material:
    units = evaluation.units
    return material_of(
        units.labels, units.probabilities, units.classes,
        positive=evaluation.whole.positive, patients=units.patients, owners=units.owners,
        predicted=units.predicted,
    )  # fmt: skip


def _shown_classes(material: Material) -> list[int]:
    return list(range(material.classes)) if material.positive is None else [material.positive]


def curves(ranking: Ranking, weights: Floats) -> Iterator[tuple[Floats, Floats, Floats]]:
    """For each weighting the false positive rates, true positive rates and precisions at the ties' ends.

    A weighting without positives or negatives is left out.
    """
    ends = slice(None) if ranking.ends is None else ranking.ends
    for counted in weights[:, ranking.owners]:
        seen = np.cumsum(counted)[ends]
        hits = np.cumsum(np.where(ranking.positives, counted, 0.0))[ends]
        positives, negatives = hits[-1], seen[-1] - hits[-1]
        if positives and negatives:
            precision = hits / np.maximum(seen, 1)
            yield (seen - hits) / negatives, hits / positives, precision


def _on_grid_roc(fpr: Floats, tpr: Floats, precision: Floats) -> Floats:
    return np.interp(GRID, np.append(0.0, fpr), np.append(0.0, tpr))


def _on_grid_precision(fpr: Floats, tpr: Floats, precision: Floats) -> Floats:
    """The precision at the first point that finds so large a share of the positives."""
    return precision[np.searchsorted(tpr, np.maximum(GRID, tpr[tpr > 0][0])).clip(max=len(tpr) - 1)]


def _draws(material: Material, rounds: int) -> Iterator[Floats]:
    return draws(np.random.default_rng(0), material.clusters, rounds=rounds)


Curve = Callable[[Floats, Floats, Floats], Floats]


def _band(material: Material, number: int, curve: Curve) -> tuple[Floats, Floats] | None:
    """Low and high values (GRID,) of a curve; None with too few clusters, of whatever kind."""
    ranking = material.rankings[number]
    if material.clusters < FEWEST:
        return None
    rounds = max(20, min(ROUNDS, 10 * CELLS // max(len(ranking.owners), 1)))
    found = [
        curve(*points)
        for weights in _draws(material, rounds)
        for part in chunks(len(weights), len(ranking.owners))
        for points in curves(ranking, weights[part])
    ]
    if len(found) < (1 - UNDEFINED) * rounds:
        return None
    low, high = np.quantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return low, high


def _draw_roc(evaluation: Evaluation) -> "Figure | None":
    """ROC curves with bands; the legend has areas and their intervals."""
    return _draw_curves(evaluation, "roc_auc", _on_grid_roc, ("false positive rate", "true positive rate"))


def _draw_precision_recall(evaluation: Evaluation) -> "Figure | None":
    """Precision–recall curves with bands; a dotted line is what chance would reach."""
    return _draw_curves(evaluation, "pr_auc", _on_grid_precision, ("recall (sensitivity)", "precision"))


def _draw_curves(
    evaluation: Evaluation, measure: str, curve: Curve, labels: tuple[str, str]
) -> "Figure | None":
    material = _material(evaluation)
    once = np.ones((1, material.clusters))
    figure, handles, names = new_figure(), [], []
    axes = add_axes(figure, 0, SIDE, SIDE)
    for place, number in enumerate(_shown_classes(material)):
        whole = list(curves(material.rankings[number], once)) if number in material.rankings else []
        if not whole:
            continue
        fpr, tpr, precision = whole[0]
        style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "linewidth": 1.6}
        points = (fpr, tpr) if measure == "roc_auc" else (tpr, precision)
        start = (0.0, 0.0) if measure == "roc_auc" else (0.0, float(precision[0]))
        x, y = (np.append(first, values) for first, values in zip(start, points, strict=True))
        handles += axes.plot(x, y, linestyle=DASHES[place % len(DASHES)], **style)
        if band := _band(material, number, curve):
            axes.fill_between(GRID, *band, color=style["color"], alpha=0.18, linewidth=0)
        names.append(_area(evaluation, measure, material.classes, number))
        if measure == "pr_auc":
            share = float(material.rankings[number].positives.mean())
            axes.axhline(share, color=style["color"], linestyle=":", linewidth=0.8)
    if not handles:
        return None
    if measure == "roc_auc":
        handles += axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        names.append("0.500   chance")
    _finish_square(axes, labels, _title(evaluation))
    axes.legend(
        handles, names, title="area under the curve, with 95 % interval", handlelength=3,
        **below(0.5, 0.5 / SIDE),
    )  # fmt: skip
    return figure


def _area(evaluation: Evaluation, measure: str, classes: int, number: int) -> str:
    """An area with its interval, and the class's name."""
    figures = evaluation.whole
    name = figures.classes[number]
    value = (figures.per_class or {})[name][measure]
    key = measure if classes == 2 else f"{measure}.{name}"
    limits = (figures.ci or {}).get(key)
    shown = "undefined" if value is None else f"{value:.3f}"
    digits = digits_of(max((figures.ci_error or {}).values(), default=None))
    spread = f" ({limits[0]:.{digits}f}–{limits[1]:.{digits}f})" if limits else ""
    return f"{shown}{spread}   {wrapped(name, 40)}"


def _finish_square(axes: "Axes", labels: tuple[str, str], title: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=labels[0], ylabel=labels[1])
    axes.grid(alpha=0.3)
    set_title(axes, title, SIDE)


def _draw_calibration(evaluation: Evaluation) -> "Figure | None":
    """How often what is said with a probability is true: in bins, with intervals, over their counts.

    Two classes: the positive one's probability. More: that of the predicted class.
    """
    units, material = evaluation.units, _material(evaluation)
    if units.probabilities is None or not len(units):
        return None
    if material.positive is None:
        stated = np.take_along_axis(units.probabilities, units.predicted[:, None], axis=1)[:, 0]
        true, what = units.labels == units.predicted, "probability of the predicted class"
    else:
        stated = units.probabilities[:, material.positive]
        true, what = (
            units.labels == material.positive,
            wrapped(f"probability of {evaluation.whole.positive}", 40),
        )
    assert units.owners is not None
    owners = np.unique(units.owners, return_inverse=True)[1]
    bins = bins_of(stated)
    figure = new_figure()
    axes = add_axes(figure, 0, SIDE, SIDE)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    counts, hits = (_table(owners, bins, weights) for weights in (np.ones(len(bins)), true.astype(float)))
    used = counts.sum(axis=0) > 0
    middles = np.bincount(bins, stated, CALIBRATION_BINS)[used] / counts.sum(axis=0)[used]
    rates = (hits.sum(axis=0) / np.maximum(counts.sum(axis=0), 1))[used]
    axes.plot(middles, rates, color=BLUE, marker="o", markersize=4, linewidth=1.4)
    if material.clusters >= FEWEST:
        low, high = _bin_limits(counts, hits, material)
        axes.vlines(middles, low[used], high[used], color=BLUE, linewidth=1)
    _finish_square(axes, ("", "share that is true"), _title(evaluation))
    axes.tick_params(labelbottom=False)
    below_it = figure.add_axes((0, -1.15, SIDE, 0.95), sharex=axes)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    below_it.bar(edges[:-1], counts.sum(axis=0), width=1 / CALIBRATION_BINS, align="edge", color=VERMILLION)
    below_it.set(xlabel=what, ylabel=f"{evaluation.whole.level}s")
    below_it.grid(alpha=0.3)
    return figure


def _table(owners: np.ndarray, bins: np.ndarray, weights: np.ndarray) -> Floats:
    count = int(owners.max(initial=-1)) + 1
    cells = np.bincount(owners * CALIBRATION_BINS + bins, weights, count * CALIBRATION_BINS)
    return cells.astype(np.float64).reshape(count, CALIBRATION_BINS)


def _bin_limits(counts: Floats, hits: Floats, material: Material) -> tuple[Floats, Floats]:
    drawn = [(weights @ counts, weights @ hits) for weights in _draws(material, ROUNDS)]
    totals, trues = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    shares = np.where(totals > 0, trues / np.maximum(totals, 1), np.nan)
    shares = np.where(np.isnan(shares).all(axis=0), 0.0, shares)
    low, high = np.nanquantile(shares, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return low, high


def _draw_beta(evaluation: Evaluation) -> "Figure | None":
    """β over the epochs of a run, a line for each of its networks; as accuracies were while it trained."""
    import csv

    run = evaluation.subject.run
    if run is None:
        return None
    figure, handles = new_figure(), []
    axes = add_axes(figure, 0, SIDE, 3.4)
    networks, epochs = networks_of(run), []
    for place, part in enumerate(networks):
        if not (part.root / "history.csv").is_file():
            continue
        with part.part("history.csv").open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if float(row.get("val_accuracy") or 0)]
        epochs = [int(row["epoch"]) for row in rows]
        ratios = [float(row["accuracy"]) / float(row["val_accuracy"]) for row in rows]
        handles += axes.plot(
            epochs, ratios, color=COLOURS[place % len(COLOURS)], linestyle=DASHES[place % len(DASHES)],
            marker="o" if len(epochs) <= 40 else "", markersize=3.5, label=part.name,
        )  # fmt: skip
        kept = part.info.kept_epoch
        if kept is not None and len(networks) == 1:
            axes.axvline(kept, color=GREY, linestyle=":", label=f"kept: epoch {kept}")
    if not any(np.size(handle.get_xdata()) for handle in handles):
        return None
    axes.axhline(1, color=GREY, linewidth=0.8)
    label_epochs(axes, epochs, "β in training: accuracy / val accuracy")
    entries, labels = axes.get_legend_handles_labels()
    axes.legend(entries, labels, ncols=min(len(entries), 3), **below(0.5, 0.5 / 3.4))
    set_title(axes, _title(evaluation), SIDE)
    return figure


_DIAGRAMS: dict[str, Callable[[Evaluation], "Figure | None"]] = {
    "roc": _draw_roc,
    "precision_recall": _draw_precision_recall,
    "calibration": _draw_calibration,
    "beta": _draw_beta,
}
"""The diagrams beside the confusion matrix, by the names of their files."""
