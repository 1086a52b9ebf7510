"""The predictor of `predict`: one run, or several of the same classes whose probabilities are averaged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.catalog import DATASETS
from bccli.core.errors import DataError, UsageError
from bccli.core.models.runtimes import (
    Engine,
    KerasEngine,
    NoTfliteError,
    TfliteRuntime,
    faster_engine,
    start_engine,
)
from bccli.core.prediction.decisions import NO_DECISIONS, Decisions, decisions_of
from bccli.core.prediction.flips import Flip, as_is, flips_of
from bccli.core.prediction.masks import Masks
from bccli.core.prediction.region_finder import LocatingPredictor, Locator, box_columns
from bccli.core.prediction.run_predictor import (
    ExplainingPredictor,
    ImagePatches,
    InputSpec,
    PatchPredictor,
    Prediction,
    RunPredictor,
    heats_of,
    load_run_predictor,
    most_probable,
    probabilities_of,
)
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.run_folder import UNLIKE_FILE, Run, load_run, networks_of
from bccli.core.runs.run_info import TREE

if TYPE_CHECKING:
    from bccli.core.prediction.explanations import Explaining
    from bccli.core.prediction.maps.features import Guard
    from bccli.core.prediction.maps.heat import Heat

BOXES = "boxes"
"""The column of what a detector finds."""

BATCH = 8
"""Images per step: more of them make LiteRT no faster, and delay the first answer."""


@dataclass(frozen=True)
class Predictor:
    """Runs of the same classes, whose probabilities are averaged; `device` says what computes them.

    `step` images or patches at most go through a network at a time, on each of so many `devices`; with `tta`
    in all of their flips. `masks` are those of the images, where one of the members `needs_masks`, which are
    thin lines where they are `contours`. Images that are `prepared` already are taken as they are. With
    `by_patch`, each patch of an image gets an answer. `columns` are what a single run answers besides
    probabilities. With `explaining`, maps say where in an image its label comes from. `decisions` are those
    that a single run has stored, and its `guard` says which images are unlike those of its training. With
    `boxes`, a single detector says where in an image it finds lesions.
    """

    classes: tuple[str, ...]
    members: tuple[RunPredictor, ...]
    device: str
    tta: bool = False
    step: int = BATCH
    devices: int = 1
    masks: Masks | None = None
    contours: bool = False
    prepared: bool = False
    by_patch: bool = False
    columns: tuple[str, ...] = ()
    positive: str | None = None
    explaining: "Explaining | None" = None
    decisions: Decisions = NO_DECISIONS
    guard: "Guard | None" = None
    boxes: bool = False

    @cached_property
    def needs_masks(self) -> bool:
        """Whether a member knows only the regions of images that masks mark."""
        return any(preparation.region for preparation, _ in self.specs)

    @property
    def patch_size(self) -> int | None:
        """The side of the patches that get answers, in pixels of the image; None for whole images."""
        patches = self.specs[0][0].patches
        return patches.size if self.by_patch and patches else None

    @cached_property
    def at_once(self) -> int:
        """How many images go through the networks together: one that is in tiles, of which it has many."""
        in_tiles = any(preparation.patches for preparation, _ in self.specs)
        answers_for_patches = all(isinstance(member, PatchPredictor) for member in self.members)
        return 1 if in_tiles and not answers_for_patches and not self.prepared else self.together

    @property
    def together(self) -> int:
        """How many images or patches a network is asked at most, which its devices share."""
        return self.step * self.devices

    @cached_property
    def locators(self) -> Mapping[InputSpec, Locator]:
        """The models that find regions where there is no mask, by their spec; only a single run has them."""
        (member, *others) = self.members
        return {} if others or not isinstance(member, LocatingPredictor) else member.locators

    @cached_property
    def finds_regions(self) -> bool:
        """Whether no mask is needed for any of the regions."""
        return all(spec in self.locators for spec in self.specs if spec[0].region)

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns behind the probabilities: `columns`, where each located node found its region, what
        was decided, and what explains the answer."""
        nodes = (locator.node for locator in self.locators.values())
        boxes = (name for node in nodes for name in box_columns(node))
        explained = self.explaining.columns if self.explaining else ()
        unlike = ("unlike",) if self.guard else ()
        found = (BOXES,) if self.boxes else ()
        return (*self.columns, *boxes, *self.decisions.columns, *unlike, *explained, *found)

    @cached_property
    def specs(self) -> tuple[InputSpec, ...]:
        """The different ways in which the members want an image prepared."""
        return tuple(dict.fromkeys(spec for member in self.members for spec in member.specs))

    def answer(self, images: Sequence[Sequence[ImagePatches]]) -> Prediction:
        """The prediction for n images; for each of `specs`, `images` has the patches of each image.

        Of several runs the most probable class is the label; a single run may choose another one.
        """
        by_spec = dict(zip(self.specs, images, strict=True))
        answers = [self._ask(member, by_spec) for member in self.members]
        if len(answers) == 1 and isinstance(answers[0], Prediction):
            return answers[0]
        return most_probable(self._mean(self.members, answers))

    def heats(self, images: Sequence[Sequence[ImagePatches]], numbers: Sequence[int]) -> "list[list[Heat]]":
        """For each of n images the maps of all members of what speaks for its class of `numbers`."""
        by_spec = dict(zip(self.specs, images, strict=True))

        def ask(member: ExplainingPredictor) -> "list[list[Heat]]":
            entries = [by_spec[spec] for spec in member.specs]
            own = [member.classes.index(self.classes[number]) for number in numbers]
            return member.heats(entries, own, self._flips(member), self.together)

        return heats_of(self.members, ask)

    def of_patches(self, patches: np.ndarray) -> np.ndarray:
        """Class probabilities (n, classes) of n patches uint8 (n, height, width, 3) by the only spec."""
        members = [member for member in self.members if isinstance(member, PatchPredictor)]
        answers = [member.of_patches(patches, self._flips(member), self.together) for member in members]
        return self._mean(members, answers)

    def _ask(
        self, member: RunPredictor, by_spec: Mapping[InputSpec, Sequence[ImagePatches]]
    ) -> np.ndarray | Prediction:
        return member([by_spec[spec] for spec in member.specs], self._flips(member), self.together)

    def _flips(self, member: RunPredictor) -> tuple[Flip, ...]:
        """The flips that images of all its specs have in common."""
        return min((flips_of(size) for _, size in member.specs), key=len) if self.tta else (as_is,)

    def _mean(
        self, members: Sequence[RunPredictor], answers: Sequence[np.ndarray | Prediction]
    ) -> np.ndarray:
        """The mean of the members' probabilities (n, classes), whatever the order of their classes."""
        found = []
        for member, answer in zip(members, answers, strict=True):
            found.append(probabilities_of(answer)[:, [member.classes.index(name) for name in self.classes]])
        return np.mean(found, axis=0)


def images_per_step(roots: Sequence[Path]) -> int:
    """So many images have as many pixels as 8 of 224×224, between 8 and 32 of them; 8 where they are cut.

    Raises DataError where a root is no complete run.
    """
    found = [load_run(root) for root in roots]
    largest = max(run.info.size[0] * run.info.size[1] for run in found)
    if not largest or any(run.preparation.patches for run in found):
        return 8
    return min(max(8 * 224 * 224 // largest, 8), 32)


def load_predictor(
    roots: Sequence[Path],
    *,
    device: str = "auto",
    single: bool = False,
    at_least: Callable[[int], bool] | None = None,
    tempered: bool = True,
    by_patch: bool = False,
    step: int = BATCH,
    verbose: bool = False,
    watcher: Watcher = SILENT,
) -> Predictor:
    """Load one or several runs; `single` says that there is only one image, in one flip, and `step` how many
    go through a network at a time.

    LiteRT computes them unless the device is gpu, or auto and a GPU or OpenVINO is here and worth its start,
    for which `at_least` says whether there are so many images; or a run has no .tflite. Raises DataError for
    runs that are damaged, cannot predict, or have other classes than the first; UsageError where `by_patch`
    asks for patches that they do not know, or know by several specs.
    """
    runs = [load_run(root) for root in roots]
    _check_classes(runs)
    single = single and not any(run.preparation.patches for run in runs)
    try:
        tflite = device != "gpu" or all(map(_needs_no_engine, runs))
        engine = _sharing(start_engine(device, tflite=tflite, single=single, verbose=verbose), step)
        members = [load_run_predictor(run, engine, tempered=tempered) for run in runs]
        lite = engine if isinstance(engine, TfliteRuntime) and device == "auto" else None
        if lite and at_least and (faster := faster_engine(lite, at_least, watcher)):
            engine = _sharing(faster, step)
            members = [load_run_predictor(run, engine, tempered=tempered) for run in runs]
    except NoTfliteError as error:
        watcher.warn(f"{error}; starting TensorFlow")
        engine = _sharing(start_engine(device, tflite=False, verbose=verbose), step)
        members = [load_run_predictor(run, engine, tempered=tempered) for run in runs]
    if by_patch:
        _check_patches(runs, members)
    contours = any(row.contours for run in runs if (row := DATASETS.get(run.info.dataset)) is not None)
    columns = tuple(runs[0].info.columns) if len(runs) == 1 else ()
    decisions, stale = decisions_of(runs[0]) if len(runs) == 1 and tempered else (NO_DECISIONS, "")
    if stale:
        watcher.warn(stale)
    guard = _guard_of(runs[0], engine) if len(runs) == 1 and tempered and not by_patch else None
    return Predictor(
        runs[0].classes, tuple(members), " and ".join(dict.fromkeys(_device_of(run, engine) for run in runs)),
        step=step, devices=engine.devices, contours=contours, by_patch=by_patch, columns=columns,
        positive=runs[0].info.positive, decisions=decisions, guard=guard,
    )  # fmt: skip


def _sharing(engine: Engine, step: int) -> Engine:
    """The engine; where several devices are behind it, each takes as many images as one has in a step."""
    return replace(engine, share=step) if isinstance(engine, KerasEngine) else engine


def _needs_no_engine(run: Run) -> bool:
    """Whether all networks of a run are frozen ones that cards describe, or it knows vectors only; a run of
    folds says so itself, and only the nodes of a tree are looked at."""
    if run.info.kind_within != TREE:
        return run.info.card is not None or run.info.vectors is not None
    return all(one.info.card is not None for one in networks_of(run))


def _device_of(run: Run, engine: Engine) -> str:
    """What computes a run, for the start line: the engine, or what runs the file of its card."""
    if not _needs_no_engine(run):
        return engine.device
    if run.info.vectors is not None:
        return "NumPy"
    from bccli.core.models.cards.of_run import network_of

    return network_of(networks_of(run)[0], engine.choice).network.runtime.device


def _guard_of(run: Run, engine: Engine) -> "Guard | None":
    """What says which images are unlike those of a run's training; None where nothing is stored."""
    if UNLIKE_FILE not in run.info.files:
        return None
    from bccli.core.prediction.maps.features import guard_of

    return guard_of(run, engine)


def with_masks(predictor: Predictor, root: Path, folder: Path | None, watcher: Watcher = SILENT) -> Predictor:
    """The predictor with the masks of a folder, where its run at `root` needs any, or its maps are compared
    with them. Raises UsageError."""
    if predictor.explaining and folder:
        masks = Masks(folder, contours=predictor.contours)
        predictor = replace(predictor, explaining=replace(predictor.explaining, masks=masks))
    if not predictor.needs_masks:
        if folder and not predictor.explaining:
            watcher.warn(f"{root} was trained without masks; --mask-dir is not used")
        return predictor
    if folder is None and predictor.finds_regions:
        watcher.note(f"{root} classifies regions of images; it looks for them, as no --mask-dir shows them")
        return predictor
    if folder is None:
        raise UsageError(
            f"{root}: was trained on regions that masks mark, and an image alone does not show them; "
            "add --mask-dir DIR with a mask of the same name for each image"
        )
    return replace(predictor, masks=Masks(folder, contours=predictor.contours))


def _check_patches(runs: Sequence[Run], members: Sequence[RunPredictor]) -> None:
    for run, member in zip(runs, members, strict=True):
        if run.preparation.patches is None:
            raise UsageError(f"--level patch: {run.root} was trained on whole images; leave the option out")
        if not isinstance(member, PatchPredictor):
            raise UsageError(f"--level patch: {run.root} answers for images only; leave the option out")
        if member.specs != members[0].specs:
            raise UsageError(
                f"--level patch: {run.root} and {runs[0].root} know different patches; leave --ensemble out"
            )


def _check_classes(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if set(run.classes) != set(first.classes):
            raise DataError(
                f"{run.root}: has the classes {', '.join(run.classes)}, and {first.root} has "
                f"{', '.join(first.classes)}; an ensemble needs runs of the same classes"
            )
