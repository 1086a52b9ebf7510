"""All that a report shows, from evaluations in the order of the leaderboard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bccli.core.data.dataset import Dataset
from bccli.core.evaluation.cautions.shortcuts import Shortcut, probe
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.album import BUDGET, Album, OverlayMaker
from bccli.core.evaluation.report.boxes import BoxCurves, box_curves
from bccli.core.evaluation.report.calibration import Calibration, calibration
from bccli.core.evaluation.report.card import Card, card
from bccli.core.evaluation.report.curves import Curves, curves
from bccli.core.evaluation.report.feature_map import FeatureMap, feature_map
from bccli.core.evaluation.report.forest import ForestRow, forest
from bccli.core.evaluation.report.galleries import EACH, Gallery, galleries
from bccli.core.evaluation.report.leak_box import LeakBox, leak_box
from bccli.core.evaluation.report.more_patients import MorePatients, more_patients
from bccli.core.evaluation.report.patient_strip import Strip, patient_strip
from bccli.core.evaluation.report.run_data import Library, RunData
from bccli.core.evaluation.report.strata import StrataPart, strata_part
from bccli.core.metrics.figures import Figures
from bccli.core.prediction.prepared_overlays import overlays_of
from bccli.core.progress import SILENT, Watcher

MOST_DETAILED = 10
"""Runs with details of their own, the first of the leaderboard; the others are in the leaderboard alone."""
MOST_STRATA = 50
"""Strata of a run in the forest plot and in its table."""

_RUN_BYTES = 200_000
"""Bytes that a run takes from what is there for pictures: it has diagrams and tables, too."""


@dataclass(frozen=True)
class RunPart:
    """What a report shows of one run or table."""

    figures: tuple[Figures, ...]
    strata: StrataPart | Absent
    groups: int
    card: Card
    leaks: LeakBox | Absent
    shortcuts: tuple[Shortcut, ...]
    galleries: tuple[Gallery, ...] | Absent
    pictures: Absent | None
    curves: Curves | Absent
    calibration: Calibration | Absent
    strip: Strip | Absent
    features: FeatureMap | Absent
    more: MorePatients | Absent
    boxes: BoxCurves | None


@dataclass(frozen=True)
class Report:
    """A report: its parts in the order of the leaderboard, the figures of all `runs`, and the forest plot.

    `wanted` says whether pictures may be in it, `pictures` how many are, `refused` how many found no room,
    and `unreadable` names images that could not be read.
    """

    parts: tuple[RunPart, ...]
    runs: tuple[Figures, ...]
    forest: tuple[ForestRow, ...]
    wanted: bool
    pictures: int
    refused: int
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Wishes:
    """What a report is asked for: the words of the command, pictures or none, and the dataset that all runs
    are evaluated on, if it is not their own."""

    command: tuple[str, ...]
    pictures: bool = True
    data: Dataset | None = None


def gather(evaluations: Sequence[Evaluation], wishes: Wishes, watcher: Watcher = SILENT) -> Report:
    """The report of one or several evaluations. Raises what reading predictions raises."""
    shown = [_with_few_strata(entry) for entry in evaluations[:MOST_DETAILED]]
    album = Album(BUDGET - _RUN_BYTES * len(shown) if wishes.pictures else 0)
    each = EACH if len(shown) <= 2 else EACH // 2 if len(shown) <= 6 else EACH // 4
    parts = tuple(_parts(evaluations[:MOST_DETAILED], wishes, album, each, watcher))
    return Report(
        parts,
        tuple(entry.whole for entry in evaluations),
        forest([*shown, *evaluations[MOST_DETAILED:]]),
        wishes.pictures,
        album.shown,
        album.refused if wishes.pictures else 0,
        tuple(dict.fromkeys(album.unreadable)),
    )


def _parts(
    evaluations: Sequence[Evaluation], wishes: Wishes, album: Album, each: int, watcher: Watcher
) -> Iterator[RunPart]:
    """The parts of runs; a dataset's leak box is that of the first run on it."""
    library = Library(wishes.data)
    boxes: dict[int, str] = {}
    with watcher.track(len(evaluations), "parts of the report") as advance:
        for entry in evaluations:
            data = library.of(entry.subject.run)
            yield _part(entry, data, wishes, album, each, boxes)
            advance(1)


def _part(
    entry: Evaluation,
    data: RunData | Absent,
    wishes: Wishes,
    album: Album,
    each: int,
    boxes: dict[int, str],
) -> RunPart:
    shown, leaks, pictured = _with_few_strata(entry), _leaks(entry, data, album, boxes), _pictured(data)
    return RunPart(
        shown.figures,
        strata_part(shown),
        len(entry.groups),
        card(entry, data, wishes.command),
        leaks,
        _shortcuts(data, leaks),
        galleries(entry, pictured, album, overlay=_overlays(entry, wishes), each=each),
        pictured if isinstance(pictured, Absent) else None,
        curves(entry),
        calibration(entry),
        patient_strip(entry),
        feature_map(entry, data),
        more_patients(entry),
        box_curves(entry),
    )


def _pictured(data: RunData | Absent) -> RunData | Absent:
    """The dataset, where it has images to show."""
    if isinstance(data, Absent) or data.dataset.info.images:
        return data
    return Absent(f"{data.dataset.root} was prepared with --no-images, so there are no images to show.")


def _shortcuts(data: RunData | Absent, leaks: LeakBox | Absent) -> tuple[Shortcut, ...]:
    """What traits of the images say of their labels, beside the leaks of the same data."""
    return () if isinstance(data, Absent) or isinstance(leaks, Absent) else tuple(probe(data.dataset))


def _overlays(entry: Evaluation, wishes: Wishes) -> OverlayMaker | None:
    """What draws where a run looked; None where there is no run, or no picture is wanted."""
    return overlays_of(entry.subject.run) if entry.subject.run and wishes.pictures else None


def _leaks(
    entry: Evaluation, data: RunData | Absent, album: Album, boxes: dict[int, str]
) -> LeakBox | Absent:
    if isinstance(data, Absent):
        return data
    if id(data) in boxes:
        return Absent(
            f"The pairs of {data.dataset.root} stand with {boxes[id(data)]}, which has the same data."
        )
    boxes[id(data)] = entry.whole.name or ""
    return leak_box(data, album)


def _with_few_strata(entry: Evaluation) -> Evaluation:
    """The evaluation with its first strata only, where there are very many."""
    return replace(entry, groups=entry.groups[:MOST_STRATA])
