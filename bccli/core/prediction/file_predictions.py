"""One answer for each file: raw images through a predictor, batch by batch, and the rows of `predict`."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bccli.core import interruption
from bccli.core.imaging.remarks import Remarks
from bccli.core.prediction.image_rows import ImageRows
from bccli.core.prediction.predictor import BOXES, Predictor
from bccli.core.prediction.prepared_files import PreparedFile, prepare_file
from bccli.core.prediction.run_predictor import ImagePatches, Prediction

if TYPE_CHECKING:
    from bccli.core.detection.boxes import ScoredBox
    from bccli.core.prediction.explanations import Explanation


@dataclass(frozen=True)
class FilePrediction:
    """The answer for an image or a patch: probabilities (classes,), or the error why there is none.

    `label` is the number of the class that it is labelled with, None for the most probable one; `columns`
    are further values by name. Of a patch, `position` is the row and column in its image, in pixels.
    `remark` says what is odd about the image, such as `nearly black`; of patches the first has it.
    `explanation` says where the label comes from, where that was asked for.
    """

    path: str
    probabilities: np.ndarray | None
    error: str = ""
    position: tuple[int, int] | None = None
    label: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""
    explanation: "Explanation | None" = None


HIDDEN = "_explanation"
"""What rows have beyond the columns of the contract until they are written."""

_NO_NUMBER = "the run's answer is not a number; see whether its model is damaged"

Answer = TypeVar("Answer", FilePrediction, ImageRows)


def predict(predictor: Predictor, paths: Iterable[str], *, workers: int = 2) -> Iterator[FilePrediction]:
    """Yield an answer per path, or one per patch of each, in order."""
    for answers in predict_each(predictor, paths, workers=workers):
        yield from answers


def predict_each(
    predictor: Predictor, paths: Iterable[str], *, workers: int = 2
) -> Iterator[list[FilePrediction]]:
    """Yield the answers of each path, in order: one, or that of each patch; images are decoded ahead.

    A signal is obeyed between two batches: in the midst of a network it would break what it hits.
    """
    waiting: deque[Future[PreparedFile]] = deque()
    names = iter(paths)
    with interruption.deferred(), ThreadPoolExecutor(workers) as pool:
        while True:
            interruption.stop_if_requested()
            for name in islice(names, 2 * predictor.at_once - len(waiting)):
                waiting.append(pool.submit(prepare_file, predictor, name))
            if not waiting:
                return
            batch = [waiting.popleft().result() for _ in range(min(predictor.at_once, len(waiting)))]
            yield from (_of_patches if predictor.by_patch else _of_images)(predictor, batch, pool)


def _of_images(
    predictor: Predictor, batch: Sequence[PreparedFile], pool: Executor
) -> Iterator[list[FilePrediction]]:
    """An answer for each image."""
    good = [entry for entry in batch if not entry.error]
    images = list(zip(*(entry.patches for entry in good), strict=True))
    answers = predictor.answer(images) if good else None
    placed_boxes = list(_boxes(predictor, good, answers)) if answers else []
    explained = iter(_explained(predictor, good, images, answers, placed_boxes, pool) if answers else ())
    found, boxes = iter(_by_image(answers) if answers else ()), iter(placed_boxes)
    unlike = iter(_unlike(predictor, good))
    for entry in batch:
        if entry.error:
            yield [FilePrediction(entry.path, None, entry.error)]
            continue
        (probabilities, label, columns), explanation = next(found), next(explained)
        guarded, placed = next(unlike), next(boxes)
        if not np.isfinite(probabilities).all():
            yield [FilePrediction(entry.path, None, _NO_NUMBER)]
            continue
        decided = predictor.decisions.of(probabilities, predictor.classes)
        why = explanation.columns if explanation else {}
        shown = {**columns, **entry.columns, **decided, **guarded, **why, **_cell(placed)}
        yield [
            FilePrediction(
                entry.path, probabilities, label=label, columns=shown, remark=entry.remark,
                explanation=explanation,
            )
        ]  # fmt: skip


def _boxes(
    predictor: Predictor, entries: Sequence[PreparedFile], answers: Prediction
) -> "Iterator[list[ScoredBox] | None]":
    """What is found in each image, in pixels of the raw one; None where nobody asks."""
    for number, entry in enumerate(entries):
        is_shown = answers.found and (predictor.boxes or predictor.explaining)
        yield answers.found[number].boxes(entry.shape) if is_shown else None


def _cell(boxes: "list[ScoredBox] | None") -> dict[str, str]:
    """The column of boxes, where they are known."""
    if boxes is None:
        return {}
    from bccli.core.detection.boxes import boxes_text

    return {BOXES: boxes_text(boxes)}


def _unlike(predictor: Predictor, entries: Sequence[PreparedFile]) -> list[dict[str, str]]:
    """For each image by which traits it is unlike those of the run's training, where that is known."""
    if predictor.guard is None or not entries:
        return [{}] * len(entries)
    images = np.concatenate([entry.patches[0].images for entry in entries])
    return [{"unlike": traits} for traits in predictor.guard.unlike(images)]


def _explained(
    predictor: Predictor,
    entries: Sequence[PreparedFile],
    images: Sequence[Sequence[ImagePatches]],
    answers: Prediction,
    boxes: "Sequence[list[ScoredBox] | None]",
    pool: Executor,
) -> "Iterator[Explanation | None]":
    """For each image where its label comes from, where that is asked for and it has an answer."""
    known = np.isfinite(answers.probabilities).all(axis=1)
    if predictor.explaining is None or not known.any():
        yield from [None] * len(entries)
        return
    explain = predictor.explaining.explain
    heats = iter(
        predictor.heats(
            [[each for each, is_known in zip(of_spec, known, strict=True) if is_known] for of_spec in images],
            answers.labels[known].tolist(),
        )
    )
    waiting = [
        pool.submit(explain, entry.path, entry.shown, next(heats), found)
        if is_known and entry.shown
        else None
        for entry, is_known, found in zip(entries, known, boxes, strict=True)
    ]
    for explained in waiting:
        yield explained.result() if explained else None


def _by_image(answers: Prediction) -> Iterator[tuple[np.ndarray, int, dict[str, float]]]:
    for index, (probabilities, label) in enumerate(zip(answers.probabilities, answers.labels, strict=True)):
        columns = {name: float(values[index]) for name, values in answers.columns.items()}
        yield probabilities, int(label), columns


def _of_patches(
    predictor: Predictor, batch: Sequence[PreparedFile], pool: Executor
) -> Iterator[list[FilePrediction]]:
    """An answer for each patch of each image."""
    for entry in batch:
        if entry.error:
            yield [FilePrediction(entry.path, None, entry.error)]
            continue
        (patches,) = entry.patches
        answers = predictor.of_patches(patches.images)
        yield [
            FilePrediction(entry.path, answer, position=position, remark="" if number else entry.remark)
            if np.isfinite(answer).all()
            else FilePrediction(entry.path, None, _NO_NUMBER, position=position)
            for number, (position, answer) in enumerate(zip(patches.positions, answers, strict=True))
        ]


def rows_of_images(
    predictor: Predictor, paths: Iterable[str], *, top: int | None = None, workers: int = 2
) -> Iterator[ImageRows]:
    """Yield the rows of each image, in order; see `to_rows` and `predict_each`."""
    columns = () if predictor.by_patch else predictor.shown
    for answers in predict_each(predictor, paths, workers=workers):
        rows = to_rows(answers, predictor.classes, top, by_patch=predictor.by_patch, columns=columns)
        yield ImageRows(answers[0].path, tuple(rows), answers[0].remark)


def remarked(answers: Iterable[Answer], remarks: Remarks) -> Iterator[Answer]:
    """Yield the answers, and count those that there is something to say about."""
    for answer in answers:
        if answer.remark:
            remarks.add(answer.path, answer.remark)
        yield answer


def to_rows(
    answers: Iterable[FilePrediction],
    classes: Sequence[str],
    top: int | None,
    *,
    by_patch: bool = False,
    columns: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """Answers as rows of the contract, with further `columns` behind the probabilities.

    With `top`, the most probable classes by rank instead of all, its label first, and nothing else. With
    `by_patch`, the row and column of each patch come behind the path.
    """
    for answer in answers:
        values, order = answer.probabilities, _ranked(answer)
        yield {
            "path": answer.path,
            **(dict(zip(("row", "col"), answer.position or (None, None), strict=True)) if by_patch else {}),
            "predicted": classes[order[0]] if order else None,
            "probability": float(values[order[0]]) if values is not None else None,
            **(_all_classes(answer, classes, columns) if top is None else {}),
            **(_next_ranks(answer, classes, order, top) if top is not None else {}),
            "error": answer.error or None,
            **({HIDDEN: answer.explanation.to_json()} if answer.explanation else {}),
        }


def _ranked(answer: FilePrediction) -> list[int]:
    """The classes by their probabilities, but the label first; none where there is an error."""
    if answer.probabilities is None:
        return []
    order: list[int] = np.argsort(-answer.probabilities, kind="stable").tolist()
    return order if answer.label is None else sorted(order, key=lambda number: number != answer.label)


def _all_classes(answer: FilePrediction, classes: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    values = answer.probabilities
    shares = {f"p_{name}": None if values is None else float(values[k]) for k, name in enumerate(classes)}
    return shares | {name: answer.columns.get(name) for name in columns}


def _next_ranks(
    answer: FilePrediction, classes: Sequence[str], order: Sequence[int], top: int
) -> dict[str, Any]:
    """The second class by rank and all others up to the last of `top`."""
    row: dict[str, Any] = {}
    values = answer.probabilities
    for rank in range(1, min(top, len(classes))):
        row[f"predicted_{rank + 1}"] = None if values is None else classes[order[rank]]
        row[f"probability_{rank + 1}"] = None if values is None else float(values[order[rank]])
    return row
