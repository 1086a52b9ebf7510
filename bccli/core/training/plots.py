"""The plots in a run folder: curves, confusion matrices, ROC curves; beside other work where that pays."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from bccli.core.errors import WorkerError
from bccli.core.files import replacing, sweep
from bccli.core.metrics.figures import Figures
from bccli.core.metrics.plots import plot_confusion, plot_curves, plot_roc
from bccli.core.reading.texts import read_json
from bccli.core.runs.predictions import read_any
from bccli.core.runs.run_folder import METRICS_FILE, PREDICTIONS_FILE, Run
from bccli.core.training.checkpoint import Progress
from bccli.core.workers import Team

_NUMBERS = count()


@dataclass(frozen=True)
class Drawing:
    """What a run's plots are drawn from: its figures are written, its training has come so far."""

    run: Run
    progress: Progress


def draw(drawing: Drawing) -> None:
    """All plots of a run that was trained."""
    draw_results(drawing.run)
    draw_curves(drawing.run.root, drawing.progress)


@contextmanager
def drawn(drawing: Drawing, plot_pool: Team | None) -> Iterator[None]:
    """At the end of the block all is drawn: meanwhile in the `plot_pool`, where there is one, or here."""
    if plot_pool is None:
        yield
        draw(drawing)
        return
    number = next(_NUMBERS)
    begun = _survives(plot_pool, lambda team: team.give(number, drawing))
    yield
    if not (begun and _survives(plot_pool, lambda team: _wait_for(number, team))):
        sweep(drawing.run.root / "plots")  # this process may have looked there before the other was killed
        draw(drawing)


def _survives(team: Team, use: Callable[[Team], None]) -> bool:
    """Use the team; False where its process was killed."""
    try:
        use(team)
    except WorkerError:
        return False
    return True


def _wait_for(number: int, team: Team) -> None:
    while number in team.busy.values():
        team.collect()


def draw_results(run: Run) -> None:
    """The plots of val and test, from the run's predictions and figures."""
    (run.root / "plots").mkdir(exist_ok=True)
    predictions = read_any(run.root / PREDICTIONS_FILE, run.classes)
    if predictions is None:
        return
    for row in read_json(run.root / METRICS_FILE)["runs"]:
        figures = Figures(**row)
        split = str(figures.split)
        rows = predictions.of_split(split)
        scores = np.asarray(rows.probabilities)
        with replacing(run.root / "plots" / f"confusion_{split}.png") as stream:
            plot_confusion(figures.confusion_matrix or [], run.classes, stream, title=f"{run.name}, {split}")
        for name, node in (figures.tree or {"nodes": {}})["nodes"].items():
            with replacing(run.root / "plots" / f"confusion_{split}_{name}.png") as stream:
                title = f"{run.name}, {name}, {split}"
                plot_confusion(node["confusion_matrix"], node["classes"], stream, title=title)
        with replacing(run.root / "plots" / f"roc_{split}.png") as stream:
            plot_roc(
                rows.labels, scores, run.classes, stream,
                positive=figures.positive, title=f"{run.name}, {split}",
            )  # fmt: skip


def draw_curves(root: Path, progress: Progress) -> None:
    """plots/curves.png."""
    (root / "plots").mkdir(exist_ok=True)
    with replacing(root / "plots" / "curves.png") as stream:
        plot_curves(progress.history, stream, kept_epoch=progress.kept_epoch)
