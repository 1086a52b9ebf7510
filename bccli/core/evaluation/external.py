"""External validation: a run on another prepared dataset, audited against the images of its training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.leakage import leak_sentences
from bccli.core.data.manifest import Sample, metadata_of
from bccli.core.data.node_subset import lesions_of, tell_left_out
from bccli.core.errors import DataError, UsageError
from bccli.core.evaluation.detections.films import DETECTOR
from bccli.core.evaluation.subjects import Subject, subject_of
from bccli.core.kinds import KINDS, imported
from bccli.core.prediction.detectors.boxes_file import Detected
from bccli.core.prediction.file_predictions import predict
from bccli.core.prediction.of_vectors.dataset_answers import answers_by_vectors
from bccli.core.prediction.of_vectors.entries import Wanted
from bccli.core.prediction.predictor import Predictor, load_predictor
from bccli.core.prediction.run_predictor import Prediction, most_probable
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.prediction_table import FURTHER_COLUMNS
from bccli.core.runs.predictions import Predictions, read_predictions
from bccli.core.runs.run_folder import PREDICTIONS_FILE, Run
from bccli.core.runs.run_info import FOLDS
from bccli.core.runs.training_images import audit_against, training_images_of
from bccli.core.vectors.given import GivenVectors


@dataclass(frozen=True)
class DatasetAnswers:
    """Answers and their rows; probabilities (patches, classes) of the patches behind them, where images are
    made of such; and of a detector, what it found in each image."""

    answers: Prediction
    samples: Sequence[Sample]
    of_patches: np.ndarray | None = None
    found: tuple[Detected, ...] = ()


def subject_on(
    run: Run,
    dataset: Dataset,
    *,
    vectors: Path | None = None,
    device: str = "auto",
    workers: int = 2,
    watcher: Watcher = SILENT,
) -> Subject:
    """A run's predictions of all images of a dataset; thresholds and the like rest on the run's own val.

    A run that knows vectors only needs those of the images.

    Raises DataError where the dataset has classes or sizes that the run does not know, or a damaged file.
    """
    given = _given(run, dataset, vectors, watcher)
    dataset = _as_seen_by(run, dataset, watcher)
    _check(run, dataset, watcher)
    leak = audit_against(training_images_of(run), dataset)
    for sentence in leak_sentences({"data": leak.to_json()}):
        watcher.warn(f"{dataset.root}: {sentence}")
    predictor = load_predictor([run.root], device=device, tempered=False, watcher=watcher)
    if len(predictor.specs) > 1:
        raise DataError(
            f"{run.root}: its nodes see images in several preparations, and {dataset.root} has one of them; "
            "evaluate it on its own images, or label raw ones with bccli predict"
        )
    watcher.note(
        f"evaluating {run.root} on {len(dataset.samples)} images of {dataset.root}: {predictor.device}"
    )
    if given:
        found = DatasetAnswers(*answers_by_vectors(predictor, given, Wanted.by([run])))
    else:
        answer: OnDataset = imported(KINDS[run.info.kind_within].on_dataset)
        found = answer(predictor, dataset, workers, watcher)
    predictions = _table(run, found.samples, found.answers)
    own = subject_of(run, read_predictions(run.file(PREDICTIONS_FILE), run.classes), "val")
    protocol: str = dataset.info.protocol
    facts = {
        **own.facts,
        "dataset": dataset.info.dataset,
        "protocol": "paper" if run.info.protocol.startswith("paper") else protocol,
        "leakage": leak.to_json(),
    }
    patches = None if given else own.patches
    if patches and found.of_patches is not None:
        table = _table(run, dataset.samples, most_probable(found.of_patches))
        facts_of_patches = {**facts, **run.info.patches}
        patches = replace(patches, predictions=table, split=None, facts=facts_of_patches)
    several = dataset.preparation.patches is not None and not patches and run.info.kind_within != "fusion"
    return replace(
        own,
        predictions=predictions,
        split=None,
        several_per_image=several,
        facts=facts,
        patches=patches,
        films=own.films and own.films.joined(found.found),
        decide=_FOLDS_DECIDE if own.decide and run.info.kind == FOLDS else own.decide,
    )


def _as_seen_by(run: Run, dataset: Dataset, watcher: Watcher) -> Dataset:
    """The dataset, or as a detector sees it; what is left out is said. Raises DataError without any mask."""
    if run.info.kind_within != DETECTOR:
        return dataset
    seen = lesions_of(dataset)
    tell_left_out(dataset, seen, watcher)
    return seen


_FOLDS_DECIDE = "path"
"""How the trees of all folds choose a label: the one with the largest mean of their probabilities."""


def _table(run: Run, samples: Sequence[Sample], answers: Prediction) -> Predictions:
    return Predictions(
        classes=run.classes,
        splits=("",) * len(samples),
        patients=tuple(sample.patient for sample in samples),
        labels=np.array([run.classes.index(sample.label) for sample in samples]),
        predicted=answers.labels,
        probabilities=answers.probabilities,
        paths=tuple(sample.path for sample in samples),
        sources=tuple(sample.source for sample in samples),
        further={
            **{name: tuple(_text(getattr(sample, name)) for sample in samples) for name in FURTHER_COLUMNS},
            **_metadata(samples),
            **{name: tuple(map(repr, values.tolist())) for name, values in answers.columns.items()},
        },
    )


def _metadata(samples: Sequence[Sample]) -> dict[str, tuple[str, ...]]:
    known = [dict(sample.metadata) for sample in samples]
    return {name: tuple(texts.get(name, "") for texts in known) for name in metadata_of(samples)}


def _text(value: object) -> str:
    return "" if value is None else str(value)


OnDataset = Callable[[Predictor, Dataset, int, Watcher], DatasetAnswers]
"""Answers for a whole prepared dataset."""


def answers_of_rows(predictor: Predictor, dataset: Dataset, workers: int, watcher: Watcher) -> DatasetAnswers:
    """Answers for the rows of a dataset, one by one. Raises DataError for a damaged file."""
    found = answers_to(predictor, dataset.root, dataset.samples, workers=workers, watcher=watcher)
    return DatasetAnswers(found, dataset.samples)


def answers_of_films(
    predictor: Predictor, dataset: Dataset, workers: int, watcher: Watcher
) -> DatasetAnswers:
    """Answers of a detector for the films of a dataset, and the boxes that it finds beside the lesions that
    masks mark. Raises DataError for a damaged file."""
    from bccli.core.prediction.detectors.on_films import find_in_films

    answers, found = find_in_films(predictor, dataset, watcher)
    return DatasetAnswers(answers, dataset.samples, found=found)


def _given(run: Run, dataset: Dataset, path: Path | None, watcher: Watcher) -> GivenVectors | None:
    """The vectors of a dataset's images, found; None for a run that looks at images.

    Raises UsageError where there are vectors and no need for them, or the other way round.
    """
    facts = run.info.vectors
    if facts is None:
        if path:
            raise UsageError(f"--features: {run.root} looks at images; leave it out")
        dataset.require_images()
        return None
    if path is None:
        raise UsageError(
            f"{run.root}: knows vectors only; add --features FILE, those of the images of {dataset.root}"
        )
    given = GivenVectors(path).on(dataset, watcher)
    if given.width != facts["width"]:
        raise DataError(
            f"{path}: has vectors of {given.width} numbers, and {run.root} knows {facts['width']}; give "
            "vectors of the same network"
        )
    if lacking := given.lacking():
        watcher.warn(lacking)
    return given


def _check(run: Run, dataset: Dataset, watcher: Watcher) -> None:
    if unknown := [name for name in dataset.classes if name not in run.classes]:
        raise DataError(
            f"{dataset.root}: has the class {unknown[0]}, and {run.root} knows only "
            f"{', '.join(run.classes)}; prepare it with the same classes"
        )
    if run.info.vectors is None:
        check_input_spec(run, dataset, watcher)
    in_tiles = [bool(one.preparation.patches) for one in (run, dataset)]
    if run.info.kind_within == DETECTOR and in_tiles[0] != in_tiles[1]:
        seen, given = ("tiles of films" if cut else "whole films" for cut in in_tiles)
        raise DataError(
            f"{dataset.root}: has {given}, and {run.root} looks for boxes in {seen}; prepare it as the "
            "dataset of the run"
        )


def check_input_spec(run: Run, dataset: Dataset, watcher: Watcher) -> None:
    """Raises DataError for images of a size that a run does not know; warns of another preparation."""
    width, height = run.info.size
    for sample in dataset.samples:
        if (sample.width, sample.height) != (width, height):
            raise DataError(
                f"{dataset.root}: {sample.path} is {sample.width}×{sample.height}, and {run.root} knows only "
                f"{width}×{height}; prepare the dataset with --size {width}x{height}"
            )
    if dataset.preparation != run.preparation:
        watcher.warn(f"{dataset.root}: was prepared otherwise than what {run.root} was trained on")


def answers_to(
    predictor: Predictor,
    root: Path,
    samples: Sequence[Sample],
    *,
    workers: int = 2,
    watcher: Watcher = SILENT,
) -> Prediction:
    """Answers to prepared images below `root`, which need no preparation. Raises DataError for a bad one."""
    paths = [str(root / sample.path) for sample in samples]
    probabilities = np.empty((len(paths), len(predictor.classes)))
    labels = np.empty(len(paths), np.int64)
    columns = {name: np.empty(len(paths)) for name in predictor.columns}
    with watcher.track(len(paths), "images") as advance:
        for index, answer in enumerate(predict(replace(predictor, prepared=True), paths, workers=workers)):
            if answer.probabilities is None:
                raise DataError(
                    f"{answer.path}: {answer.error}; restore the file or prepare the dataset again"
                )
            probabilities[index] = answer.probabilities
            labels[index] = answer.probabilities.argmax() if answer.label is None else answer.label
            for name in columns:
                columns[name][index] = float(answer.columns[name])
            advance(1)
    return Prediction(probabilities, labels, columns)
