"""The pictures of `evaluate --output`, each as PNG and SVG: what the figures rest on, with intervals."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.data.foreign_tables import real, whole
from bccli.core.errors import DataError
from bccli.core.evaluation.calibration_plot import draw_calibration
from bccli.core.evaluation.curve_plots import SIDE, draw_precision_recall, draw_roc, shown_title
from bccli.core.evaluation.decision_plots import draw_triage
from bccli.core.evaluation.detections.plot import draw_froc
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.files import replacing
from bccli.core.metrics.plots import (
    COLOURS,
    DASHES,
    GREY,
    add_axes,
    below,
    label_epochs,
    new_figure,
    own_style,
    plot_confusion,
    set_title,
    wrapped,
    write_figure,
)
from bccli.core.reading.texts import table_rows
from bccli.core.runs.run_folder import HISTORY_FILE, Run, networks_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")


@own_style()
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
                title=shown_title(evaluation),
                format=format,
            )
    for name, node in (figures.tree or {"nodes": {}})["nodes"].items():
        for format in FORMATS:
            with replacing(folder / f"confusion_{name}.{format}") as stream:
                plot_confusion(
                    node["confusion_matrix"],
                    node["classes"],
                    stream,
                    title=f"{shown_title(evaluation)}: {name}",
                    format=format,
                )
    for name, draw in _DIAGRAMS.items():
        if (figure := draw(evaluation)) is None:
            continue
        for format in FORMATS:
            with replacing(folder / f"{name}.{format}") as stream:
                write_figure(figure, stream, format=format)


def _draw_beta(evaluation: Evaluation) -> "Figure | None":
    """β over the epochs of a run, a line for each of its networks; as accuracies were while it trained."""
    run = evaluation.subject.run
    if run is None:
        return None
    figure, handles, names, kept = new_figure(), [], list[str](), None
    axes = add_axes(figure, 0, SIDE, 3.4)
    networks = networks_of(run)
    epochs: list[int] = []
    for index, network in enumerate(networks):
        if not (network.root / HISTORY_FILE).is_file():
            continue
        epochs, ratios = _ratios(network.file(HISTORY_FILE))
        handles += axes.plot(
            epochs, ratios, color=COLOURS[index % len(COLOURS)], linestyle=DASHES[index % len(DASHES)],
            marker="o" if len(epochs) <= 40 else "", markersize=3.5,
        )  # fmt: skip
        names.append(wrapped(_name_in(network, run), 30))
        kept_epoch = network.info.kept_epoch
        if kept_epoch is not None and len(networks) == 1:
            kept = axes.axvline(kept_epoch, color=GREY, linestyle=":"), f"kept: epoch {kept_epoch}"
    if not any(np.size(handle.get_xdata()) for handle in handles):
        return None
    axes.axhline(1, color=GREY, linewidth=0.8)
    label_epochs(axes, epochs, "β in training: accuracy / val accuracy")
    if kept:
        handles, names = [*handles, kept[0]], [*names, kept[1]]
    axes.legend(handles, names, ncols=min(len(handles), 3), **below(0.5, 0.5 / 3.4))
    set_title(axes, shown_title(evaluation), SIDE)
    return figure


def _ratios(path: Path) -> tuple[list[int], list[float]]:
    """The epochs of a history.csv in which val has an accuracy, and β of each."""
    epochs: list[int] = []
    ratios: list[float] = []
    for number, row in table_rows(path, "copy the whole folder again"):
        try:
            if over := real(row.get("val_accuracy") or "0"):
                ratios.append(real(row["accuracy"]) / over)
                epochs.append(whole(row["epoch"]))
        except (ValueError, KeyError):
            raise DataError(f"{path} row {number}: is no epoch; copy the whole folder again") from None
    return epochs, ratios


def _name_in(network: Run, run: Run) -> str:
    """The name of a network's run, or its place in the run of which it is a part."""
    return network.name if network.root == run.root else str(network.root.relative_to(run.root))


_DIAGRAMS: dict[str, Callable[[Evaluation], "Figure | None"]] = {
    "roc": draw_roc,
    "precision_recall": draw_precision_recall,
    "calibration": draw_calibration,
    "triage": draw_triage,
    "froc": lambda evaluation: draw_froc(evaluation.whole.froc, shown_title(evaluation)),
    "beta": _draw_beta,
}
"""The diagrams beside the confusion matrix, by the names of their files."""
