"""External validation: a run's figures on another prepared dataset, audited against what the run has seen."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bccli.core.auditing import looks_of, table_of_looks, traits_of
from bccli.core.errors import DataError
from bccli.core.evaluation import figures_of
from bccli.core.files import write_text
from bccli.core.imaging.preparation import Preparation
from bccli.core.inference import Predictor, load_predictor, predict
from bccli.core.leakage import Leak, find_leak, leak_sentences
from bccli.core.metrics import Figures
from bccli.core.predictions import Predictions
from bccli.core.prepared import Dataset
from bccli.core.records import Sample
from bccli.core.runs import Run, networks_of
from bccli.core.watching import SILENT, Watcher

SEEN = "seen.csv"
_COLUMNS = ("path", "split", "dataset", "patient", "sha256", "perceptual", "blank")


def write_seen(path: Path, rows: Iterable[tuple[Sample, str, int, bool]]) -> None:
    """What a run was made with: each image of train and val, its split in this run, and its looks."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for sample, split, perceptual, blank in rows:
        identity = sample.path, split, sample.dataset, sample.patient, sample.sha256
        writer.writerow([*identity, f"{perceptual:016x}", int(blank)])
    write_text(path, stream.getvalue())


def _read_seen(run: Run) -> Iterator[dict[str, str]]:
    """The rows of a run's seen.csv, or of those of its folds."""
    for part in networks_of(run):
        with part.part(SEEN).open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            yield from csv.DictReader(stream)


def evaluate_on(
    run: Run,
    dataset: Dataset,
    *,
    device: str = "auto",
    positive: str | None = None,
    workers: int = 2,
    watcher: Watcher = SILENT,
) -> Figures:
    """The figures of a run on all images of a dataset.

    Raises DataError where the dataset has classes or sizes that the run does not know, or a damaged file.
    """
    _check(run, dataset, watcher)
    leak = audit_against(run, dataset)
    for sentence in leak_sentences({"data": leak.to_json()}):
        watcher.warn(f"{dataset.root}: {sentence}")
    predictor = load_predictor([run.root], device=device, watcher=watcher)
    watcher.note(
        f"evaluating {run.root} on {len(dataset.samples)} images of {dataset.root}: {predictor.device}"
    )
    probabilities = _predict(predictor, dataset, workers, watcher)
    labels = np.array([run.classes.index(sample.label) for sample in dataset.samples])
    predictions = Predictions(
        classes=run.classes,
        splits=("",) * len(labels),
        patients=tuple(sample.patient for sample in dataset.samples),
        labels=labels,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
    )
    figures = figures_of(run, predictions, "", positive=positive)
    protocol: str = dataset.info["protocol"]
    return replace(
        figures,
        dataset=dataset.info["dataset"],
        protocol="paper" if run.info["protocol"].startswith("paper") else protocol,
        split=None,
        leakage=leak.to_json(),
    )


def _check(run: Run, dataset: Dataset, watcher: Watcher) -> None:
    if unknown := [name for name in dataset.classes if name not in run.classes]:
        raise DataError(
            f"{dataset.root}: has the class {unknown[0]}, and {run.root} knows only "
            f"{', '.join(run.classes)}; prepare it with the same classes"
        )
    width, height = run.info["size"]
    for sample in dataset.samples:
        if (sample.width, sample.height) != (width, height):
            raise DataError(
                f"{dataset.root}: {sample.path} is {sample.width}×{sample.height}, and {run.root} knows only "
                f"{width}×{height}; prepare the dataset with --size {width}x{height}"
            )
    if dataset.preparation != run.preparation:
        watcher.warn(f"{dataset.root}: was prepared otherwise than what {run.root} was trained on")


def audit_against(run: Run, dataset: Dataset) -> Leak:
    """What a dataset shares with the images that a run was trained on or chosen by."""
    rows = list(_read_seen(run))
    seen = [_as_sample(row) for row in rows]
    theirs = [replace(sample, patient=_whose(sample.dataset, sample.patient)) for sample in dataset.samples]
    looks = np.concatenate(
        [
            looks_of(dataset, dataset.root / ".cache"),
            table_of_looks(
                [int(row["perceptual"], 16) for row in rows], [row["blank"] == "1" for row in rows]
            ),
        ]
    )
    inside = np.arange(len(looks)) < len(theirs)
    return find_leak(traits_of([*theirs, *seen], looks), inside, ~inside)


def _as_sample(row: dict[str, str]) -> Sample:
    # Without its path, which belongs to another dataset and must not be taken for a parent in this one.
    return Sample(patient=_whose(row["dataset"], row["patient"]), sha256=row["sha256"])


def _whose(dataset: str, patient: str) -> str:
    """A patient's name that no other dataset's patient has; empty where it is unknown."""
    return f"{dataset}\0{patient}" if patient else ""


def _predict(predictor: Predictor, dataset: Dataset, workers: int, watcher: Watcher) -> np.ndarray:
    """Probabilities (images, classes) of prepared images, which need no preparation."""
    members = tuple(replace(member, preparation=Preparation()) for member in predictor.members)
    paths: Sequence[str] = [str(dataset.root / sample.path) for sample in dataset.samples]
    found = np.empty((len(paths), len(predictor.classes)))
    with watcher.track(len(paths), "images") as advance:
        answers = predict(replace(predictor, members=members), paths, workers=workers)
        for place, answer in enumerate(answers):
            if answer.probabilities is None:
                raise DataError(
                    f"{answer.path}: {answer.error}; restore the file or prepare the dataset again"
                )
            found[place] = answer.probabilities
            advance(1)
    return found
