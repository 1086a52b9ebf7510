"""What `predict` runs on: trained networks, and raw images prepared exactly as their training images were."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.catalog import DATASETS
from bccli.core.datasets.layout.image_files import PassedOverFiles, image_files
from bccli.core.datasets.layout.masks_beside import MasksBeside
from bccli.core.errors import DataError, ImageError, UsageError
from bccli.core.imaging.blankness import blankness_of
from bccli.core.imaging.formats.decoding import decode_deep
from bccli.core.imaging.formats.turns import one_large_at_a_time
from bccli.core.imaging.preparation import Preparation, prepare_image
from bccli.core.imaging.remarks import Remarks
from bccli.core.models.runtimes import NoTfliteError, start_engine
from bccli.core.prediction.masks import Masks
from bccli.core.prediction.region_finder import LocatingPredictor, Locator, filled
from bccli.core.prediction.run_predictor import (
    Decided,
    ImagePatches,
    InputSpec,
    PatchPredictor,
    RunPredictor,
    View,
    load_run_predictor,
)
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.run_folder import Run, load_run

BATCH = 8
"""Images per step: more of them make LiteRT no faster, and the first answer later."""


@dataclass(frozen=True)
class Prediction:
    """One image's answer: probabilities (classes,) or the reason why there is none.

    `chosen` is the number of the class that it is labelled with, None for the most probable one; `columns`
    are further values by name. Of a patch, `place` is the row and column in its image, in pixels. `remark`
    says what is odd about the image, such as `nearly black`; of patches the first has it.
    """

    path: str
    probabilities: np.ndarray | None
    error: str = ""
    place: tuple[int, int] | None = None
    chosen: int | None = None
    columns: Mapping[str, float | str] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class Predictor:
    """Runs of the same classes, whose probabilities are averaged; `device` says what computes them.

    `step` images or patches at most go through a network at a time; with `tta` in all of their views.
    `masks` are those of the images, where one of the members `needs_masks`, which are thin lines where they
    are `contours`. Images that are `prepared` already are taken as they are. With `by_patch`, each patch of
    an image is answered for. `columns` are what a single run says of each image besides.
    """

    classes: tuple[str, ...]
    members: tuple[RunPredictor, ...]
    device: str
    tta: bool = False
    step: int = BATCH
    masks: Masks | None = None
    contours: bool = False
    prepared: bool = False
    by_patch: bool = False
    columns: tuple[str, ...] = ()
    positive: str | None = None

    @property
    def needs_masks(self) -> bool:
        """Whether a member knows only the regions of images that masks mark."""
        return any(preparation.region for preparation, _ in self.forms)

    @property
    def locators(self) -> Mapping[InputSpec, Locator]:
        """What finds regions where there is no mask, by their form; only a single run does so."""
        (member, *others) = self.members
        return {} if others or not isinstance(member, LocatingPredictor) else member.locators

    @property
    def finds_regions(self) -> bool:
        """Whether no mask is needed for any of the regions."""
        return all(form in self.locators for form in self.forms if form[0].region)

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns behind the probabilities: where each located node looked, and what said so."""
        nodes = (locator.node for locator in self.locators.values())
        return (*self.columns, *(name for node in nodes for name in _shown_of(node)))

    @property
    def forms(self) -> tuple[InputSpec, ...]:
        """The different forms in which the members want an image."""
        return tuple(dict.fromkeys(form for member in self.members for form in member.forms))

    def answer(self, images: Sequence[Sequence[ImagePatches]]) -> Decided:
        """Class probabilities (n, classes) of n images and the classes chosen by them, which a single run may
        choose otherwise; for each of `forms`, `images` has the pieces of each image."""
        by_spec = dict(zip(self.forms, images, strict=True))
        answers = [self._ask(member, by_spec) for member in self.members]
        if len(answers) == 1 and isinstance(answers[0], Decided):
            return answers[0]
        found = [self._in_order(*pair) for pair in zip(self.members, answers, strict=True)]
        probabilities = np.mean(found, axis=0)
        return Decided(probabilities, probabilities.argmax(axis=1), {})

    def of_patches(self, patches: np.ndarray) -> np.ndarray:
        """Class probabilities (n, classes) of n patches uint8 (n, height, width, 3) in the only form."""
        members = [member for member in self.members if isinstance(member, PatchPredictor)]
        answers = [
            self._in_order(member, member.of_patches(patches, self._views(member), self.step))
            for member in members
        ]
        return np.mean(answers, axis=0)

    def _ask(
        self, member: RunPredictor, by_spec: Mapping[InputSpec, Sequence[ImagePatches]]
    ) -> np.ndarray | Decided:
        return member([by_spec[form] for form in member.forms], self._views(member), self.step)

    def _views(self, member: RunPredictor) -> tuple[View, ...]:
        """The views that images of all its forms have in common."""
        if not self.tta:
            return (_as_is,)
        return min((views_of(size) for _, size in member.forms), key=len)

    def _in_order(self, member: RunPredictor, answers: np.ndarray | Decided) -> np.ndarray:
        shares = answers.probabilities if isinstance(answers, Decided) else answers
        return shares[:, [member.classes.index(name) for name in self.classes]]


def _as_is(images: np.ndarray) -> np.ndarray:
    return images


def _turned(quarters: int, *, mirrored: bool) -> View:
    def view(images: np.ndarray) -> np.ndarray:
        turned = np.rot90(images, quarters, axes=(1, 2))
        return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)

    return view


def views_of(size: tuple[int, int]) -> tuple[View, ...]:
    """The flips and right angles of images (n, height, width, 3): eight views of squares.

    Others keep the size (width, height) that the network knows in four of them: as they are, flipped
    left–right, flipped up–down, and turned by 180°.
    """
    quarters = range(4) if size[0] == size[1] else (0, 2)
    return tuple(_turned(count, mirrored=mirrored) for count in quarters for mirrored in (False, True))


def load_predictor(
    roots: Sequence[Path],
    *,
    device: str = "auto",
    tta: bool = False,
    step: int = BATCH,
    single: bool = False,
    tempered: bool = True,
    by_patch: bool = False,
    verbose: bool = False,
    watcher: Watcher = SILENT,
) -> Predictor:
    """Load one or several runs; `single` says that there is only one image.

    LiteRT computes them unless the device is gpu or a run has no form for it. Raises DataError for runs
    that are damaged, cannot predict, or have other classes than the first; UsageError where `by_patch` asks
    for patches that they do not know, or know in several forms.
    """
    runs = [load_run(root) for root in roots]
    _check_classes(runs)
    single = single and not tta and not any(run.preparation.patches for run in runs)
    try:
        engine = start_engine(device, light=device != "gpu", single=single, verbose=verbose)
        members = [load_run_predictor(run, engine, tempered=tempered) for run in runs]
    except NoTfliteError as error:
        watcher.warn(f"{error}; starting TensorFlow")
        engine = start_engine(device, light=False, verbose=verbose)
        members = [load_run_predictor(run, engine, tempered=tempered) for run in runs]
    if by_patch:
        _check_patches(runs, members)
    contours = any(row.contours for run in runs if (row := DATASETS.get(run.info.dataset)) is not None)
    columns = tuple(runs[0].info.columns) if len(runs) == 1 else ()
    return Predictor(
        runs[0].classes, tuple(members), engine.device, tta, step,
        contours=contours, by_patch=by_patch, columns=columns, positive=runs[0].info.positive,
    )  # fmt: skip


def _check_patches(runs: Sequence[Run], members: Sequence[RunPredictor]) -> None:
    for run, member in zip(runs, members, strict=True):
        if run.preparation.patches is None:
            raise UsageError(f"--level patch: {run.root} was trained on whole images; leave the option out")
        if not isinstance(member, PatchPredictor):
            raise UsageError(f"--level patch: {run.root} answers for images only; leave the option out")
        if member.forms != members[0].forms:
            raise UsageError(
                f"--level patch: {run.root} and {runs[0].root} see different patches; leave --ensemble out"
            )


def _check_classes(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if set(run.classes) != set(first.classes):
            raise DataError(
                f"{run.root}: has the classes {', '.join(run.classes)}, and {first.root} has "
                f"{', '.join(first.classes)}; an ensemble needs runs of the same classes"
            )


@dataclass
class LeftOut:
    """What in the folders that were named is no image: `others` by their endings, `masks` beside images."""

    others: PassedOverFiles = field(default_factory=PassedOverFiles)
    masks: int = 0
    first_mask: str = ""

    def add_mask(self, path: str) -> None:
        """Count a mask."""
        self.masks += 1
        self.first_mask = self.first_mask or path

    def sentences(self) -> list[str]:
        """What to warn of."""
        found = [self.others.sentence()] if self.others else []
        if self.masks:
            what = (
                f"{self.masks} masks beside images were" if self.masks > 1 else "a mask beside its image was"
            )
            found.append(f"{what} passed over ({self.first_mask}); name a mask itself to have it labelled")
        return found


def find_images(inputs: Iterable[str], left_out: LeftOut) -> Iterator[str]:
    """Yield the images that the inputs name: files as they are, folders with all below them.

    A folder that cannot be listed is yielded itself: it becomes a row with an error, as a bad file does.
    `left_out` takes up what is passed over in folders.
    """
    for name in inputs:
        if not os.path.isdir(name):
            yield name
            continue
        masks = MasksBeside(Path(name))
        for image in image_files(Path(name), closed_too=True, passed_over=left_out.others):
            if masks.is_mask(image):
                left_out.add_mask(str(Path(name, image)))
            else:
                yield str(Path(name, image))


def predict(predictor: Predictor, paths: Iterable[str], *, workers: int = 2) -> Iterator[Prediction]:
    """Yield an answer per path, in order; images are decoded ahead in threads.

    A signal is honoured between two batches: in the midst of a network it would break what it hits.
    """
    waiting: deque[Future[_Prepared]] = deque()
    names = iter(paths)
    with interruption.deferred(), ThreadPoolExecutor(workers) as pool:
        while True:
            interruption.stop_if_requested()
            for name in islice(names, 2 * predictor.step - len(waiting)):
                waiting.append(pool.submit(_prepare, predictor, name))
            if not waiting:
                return
            batch = [waiting.popleft().result() for _ in range(min(predictor.step, len(waiting)))]
            yield from (_answer_patches if predictor.by_patch else _answer)(predictor, batch)


@dataclass(frozen=True)
class _Prepared:
    """An image in each of the predictor's forms, or why it could not be prepared."""

    name: str
    forms: tuple[ImagePatches, ...] = ()
    error: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""


def _prepare(predictor: Predictor, name: str) -> _Prepared:
    with one_large_at_a_time():
        return _prepare_in_turn(predictor, name)


def _prepare_in_turn(predictor: Predictor, name: str) -> _Prepared:
    masks, locators = predictor.masks, predictor.locators
    try:
        raw = decode_deep(name)
        mask = None
        if predictor.needs_masks and masks and (masks.holds(name) or not predictor.finds_regions):
            mask = masks.load(name, raw.shape[:2])
        found: dict[InputSpec, ImagePatches] = {}
        columns: dict[str, str] = {}
        # Regions last: they may have to be found in what another form shows.
        for form in sorted(predictor.forms, key=lambda form: form[0].region is not None):
            locator, marked = locators.get(form), mask
            if locator and marked is None:
                marked = filled(locator(found[locator.form], raw.shape[:2]), raw.shape[:2])
            found[form] = _pieces(raw, form, marked, predictor)
            if locator:
                box = ",".join(map(str, found[form].box or ()))
                columns |= dict(
                    zip(_shown_of(locator.node), (box, "map" if mask is None else "mask"), strict=True)
                )
        forms = tuple(found[form] for form in predictor.forms)
        return _Prepared(name, forms, columns=columns, remark=blankness_of(raw))
    except ImageError as error:
        return _Prepared(name, error=str(error))


def _shown_of(node: str) -> tuple[str, str]:
    return f"{node}_box", f"{node}_box_from"


def _pieces(raw: np.ndarray, form: InputSpec, mask: np.ndarray | None, predictor: Predictor) -> ImagePatches:
    """The pieces of an image in a form. Raises ImageError where there are none, or of another size."""
    preparation, size = form
    prepared = prepare_image(raw, Preparation() if predictor.prepared else preparation, mask)
    found = list(prepared.pieces)
    if not found:
        raise ImageError("has no patch with enough tissue")
    height, width = found[0].image.shape[:2]
    if (width, height) != size:
        raise ImageError(f"is {width}×{height}, and the run knows only {size[0]}×{size[1]}")
    places = tuple(
        None if piece.row is None or piece.col is None else (piece.row, piece.col) for piece in found
    )
    return ImagePatches(np.stack([piece.image for piece in found]), places, found[0].box)


def _answer(predictor: Predictor, batch: Sequence[_Prepared]) -> Iterator[Prediction]:
    good = [entry.forms for entry in batch if not entry.error]
    answers = iter(_by_image(predictor.answer(list(zip(*good, strict=True)))) if good else ())
    for entry in batch:
        if entry.error:
            yield Prediction(entry.name, None, entry.error)
        else:
            probabilities, chosen, columns = next(answers)
            said: dict[str, float | str] = {**columns, **entry.columns}
            yield Prediction(entry.name, probabilities, chosen=chosen, columns=said, remark=entry.remark)


def _by_image(answers: Decided) -> Iterator[tuple[np.ndarray, int, dict[str, float]]]:
    for place, (probabilities, chosen) in enumerate(zip(answers.probabilities, answers.chosen, strict=True)):
        columns = {name: float(values[place]) for name, values in answers.columns.items()}
        yield probabilities, int(chosen), columns


def _answer_patches(predictor: Predictor, batch: Sequence[_Prepared]) -> Iterator[Prediction]:
    """An answer for each patch of each image."""
    for entry in batch:
        if entry.error:
            yield Prediction(entry.name, None, entry.error)
            continue
        (patches,) = entry.forms
        answers = predictor.of_patches(patches.images)
        for number, (place, answer) in enumerate(zip(patches.places, answers, strict=True)):
            yield Prediction(entry.name, answer, place=place, remark="" if number else entry.remark)


def remarked(answers: Iterable[Prediction], remarks: Remarks) -> Iterator[Prediction]:
    """Yield the answers, and count those that there is something to say about."""
    for answer in answers:
        if answer.remark:
            remarks.add(answer.path, answer.remark)
        yield answer


def to_rows(
    answers: Iterable[Prediction],
    classes: Sequence[str],
    top: int | None,
    *,
    by_patch: bool = False,
    columns: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """Answers as rows of the contract, with further `columns` behind the probabilities.

    With `top`, the most probable classes by rank instead of all, the chosen one first, and nothing else. With
    `by_patch`, the row and column of each patch come behind the path.
    """
    for answer in answers:
        values = answer.probabilities
        order = [] if values is None else np.argsort(-values, kind="stable").tolist()
        if answer.chosen is not None:
            order.sort(key=lambda number, first=answer.chosen: number != first)  # type: ignore[misc]
        row: dict[str, Any] = {
            "path": answer.path,
            **(dict(zip(("row", "col"), answer.place or (None, None), strict=True)) if by_patch else {}),
            "predicted": classes[order[0]] if order else None,
            "probability": float(values[order[0]]) if values is not None else None,
        }
        if top is None:
            row |= {
                f"p_{name}": None if values is None else float(values[k]) for k, name in enumerate(classes)
            }
            row |= {name: answer.columns.get(name) for name in columns}
        else:
            for rank in range(1, min(top, len(classes))):
                name, value = (
                    (classes[order[rank]], float(values[order[rank]])) if values is not None else (None, None)
                )
                row |= {f"predicted_{rank + 1}": name, f"probability_{rank + 1}": value}
        yield {**row, "error": answer.error or None}


def names_from(stream: BufferedReader, *, null: bool) -> Iterator[str]:
    """Yield the paths that a stream holds, one a line or ended by NUL, as they come.

    Raises DataError where there is none, or where they end otherwise.
    """
    end, rest, empty = b"\0" if null else b"\n", b"", True
    while block := stream.read1(1 << 16):
        if b"\0" in block and not null:
            raise DataError("standard input has paths that end with NUL; add --null")
        *lines, rest = (rest + block).split(end)
        for name in filter(None, (_name(line, null) for line in lines)):
            yield name
            empty = False
    if name := _name(rest, null):
        yield name
    elif empty:
        raise DataError("standard input names no images; pipe paths into it, one a line")


def _name(line: bytes, null: bool) -> str:
    return (line if null else line.removesuffix(b"\r")).decode("utf-8", "surrogateescape")
