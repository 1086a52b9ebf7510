"""The contents of a run folder once its network is trained: predictions, figures, plots, its own recipe."""

import csv
import io
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bccli.core.data.audit import hashes_of
from bccli.core.data.image_batches import Images
from bccli.core.data.manifest import SPLITS, Sample, metadata_of
from bccli.core.data.split_codes import TEST, VAL
from bccli.core.evaluation.detections.measuring import check_stored
from bccli.core.evaluation.leaderboard import figures_json
from bccli.core.evaluation.run_figures import figures_of
from bccli.core.files import replacing, write_json, write_text
from bccli.core.metrics.figures import Figures, figures_from_json
from bccli.core.metrics.overfitting import accuracies
from bccli.core.metrics.watched_test import watched_test
from bccli.core.models.tflite_export import Parts, export
from bccli.core.progress import Watcher
from bccli.core.reading.texts import read_json
from bccli.core.runs.predictions import read_any, write_predictions
from bccli.core.runs.run_folder import (
    DIAGRAM_FILE,
    HISTORY_FILE,
    METRICS_FILE,
    MODEL_FILE,
    NETWORK_FILES,
    PREDICTIONS_FILE,
    RECIPE_FILE,
    STATE_FILE,
    Run,
    complete_run,
    extractor_stem,
    load_run,
    remove_files,
    runs_within,
)
from bccli.core.runs.run_info import TrainingData
from bccli.core.runs.training_images import from_elsewhere, training_images_in, write_training_images
from bccli.core.training.checkpoint import Progress
from bccli.core.training.design import Job
from bccli.core.training.loop import Fit
from bccli.core.training.plots import Drawing, draw_curves, draw_results, drawn
from bccli.core.training.recipe import to_recipe
from bccli.core.weights.keras_saving import HeadSaver, save_model
from bccli.core.workers import Team

# The curves are drawn anew while a network trains, but not more often than this.
_REDRAW_SECONDS = 60

# So many images have to have the same scores in LiteRT as in Keras.
_CHECKED = 8


@dataclass(frozen=True)
class Networks:
    """A trained network as Keras models: `scoring` from RGB 0–255 to scores, `whole` to probabilities.

    They are stored in the run if it `is_saved`, and as model.tflite, too, if it `is_exported`. On a frozen
    `extractor`, `head` goes from stored features to scores, and the `saver` has stored others of the same
    layers.
    """

    scoring: Any
    whole: Any
    is_saved: bool = True
    is_exported: bool = True
    extractor: Any = None
    head: Any = None
    saver: HeadSaver = field(default_factory=HeadSaver)

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of its images."""
        height, width = self.whole.input_shape[1:3]
        return width, height

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        return int(self.whole.count_params())

    def store(self, root: Path, trained: "Trained", watcher: Watcher) -> dict[str, Any]:
        """Store the network as model.keras and model.tflite and draw it; returns what run.json says of it."""
        if self.head is None:
            save_model(self.whole, root / MODEL_FILE)
        else:
            self.saver.save(self.whole, self.head, root / MODEL_FILE)
        draw_network(root, self.whole.layers)
        if not self.is_exported:
            return {"litert": NOT_EXPORTED_YET}
        images, parts = trained.images, None
        if self.extractor is not None:
            indices = some_indices(images)
            features = next(iter(trained.fit.examples.inputs.batches(indices, len(indices))))
            parts = Parts(self.extractor, self.head, features)
        return {"litert": export_tflite(self.scoring, images, root, watcher, parts=parts)}


class Storable(Protocol):
    """What was trained, for images of a `size` (width, height), with so many weights; it is stored if it
    `is_saved`."""

    @property
    def is_saved(self) -> bool: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def parameters(self) -> int | None: ...

    def store(self, root: Path, trained: "Trained", watcher: Watcher) -> dict[str, Any]:
        """Write it into a run's folder; returns what run.json says of it."""


@dataclass(frozen=True)
class Trained:
    """The networks of a training that has ended, the training itself, and its images with their split codes
    (n,).

    `probabilities` (n, classes) are what it says of them, where that is known already.
    """

    networks: Storable
    fit: Fit
    images: Images
    split_codes: np.ndarray
    probabilities: np.ndarray | None = None


NOT_EXPORTED_YET = {"error": "the tree around it is unfinished"}
"""What run.json says of a run whose model.tflite is not made yet."""


def stored_figures(run: Run) -> list[Figures]:
    """The figures in a run's metrics.json. Raises DataError where the file has changed, or is another's."""
    path = run.file(METRICS_FILE)
    found = figures_from_json(read_json(path), str(path))
    for number, figures in enumerate(found):
        if figures.froc is not None:
            check_stored(figures.froc, f"{path}: runs[{number}].froc")
    return found


def keeps_network(run: Run) -> bool:
    """Whether a run, with all that lie in it, can still answer for images."""
    return all(one.info.network_kept for one in runs_within(run))


def forget_network(run: Run) -> None:
    """Remove the networks of a run that is complete; its figures and predictions stay.

    The state of a head on a frozen backbone stays, too: it is small, and enough to make the network again. So
    does the network of a first stage: made again, it would be another file than the second one builds upon.
    """
    within = runs_within(run)
    needed = {(one.root / one.info.base).resolve() for one in within if one.info.base}
    for one in within:
        if one.info.network_kept and one.root.resolve() not in needed:
            gone = (
                NETWORK_FILES
                if one.info.settings.get("trainable") == "none"
                else (*NETWORK_FILES, STATE_FILE)
            )
            files = one.info.files.items()
            left = {name: digest for name, digest in files if name.partition("/")[0] not in gone}
            one.with_facts(files=left, network_kept=False).write_info()
            remove_files(one.root, gone)


class Curves:
    """Keeps history.csv and, in long trainings, plots/curves.png up to date while a network trains."""

    def __init__(self, root: Path) -> None:
        self._root, self._drawn = root, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """A state has been saved."""
        if not progress.history:
            return
        write_table(self._root / HISTORY_FILE, progress.history)
        if time.monotonic() - self._drawn > _REDRAW_SECONDS:
            draw_curves(self._root, progress)
            self._drawn = time.monotonic()


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write records of equal keys as CSV."""
    rows = list(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def finish(
    job: Job,
    run: Run,
    trained: Trained,
    *,
    facts: dict[str, Any],
    watcher: Watcher,
    plot_pool: Team | None = None,
) -> Run:
    """Predict, measure, draw, export, and complete the run.

    `facts` are what run.json is to say besides. A `plot_pool` draws while the network is exported.
    """
    networks, fit, images, split_codes = trained.networks, trained.fit, trained.images, trained.split_codes
    samples = images.samples
    probabilities = trained.probabilities
    if probabilities is None:
        probabilities = fit.predict(np.arange(len(samples)))
    write_answers(run.root / PREDICTIONS_FILE, samples, split_codes, probabilities, job.dataset.classes)
    write_origins(job, run)
    facts = {
        **facts_of(job, run.root),
        **facts,
        "size": list(networks.size),
        "parameters": networks.parameters,
        "kept_epoch": fit.progress.kept_epoch,
        "epochs_trained": fit.progress.epoch,
        "watched_test": watched_test(fit.progress.history),
        **accuracies(
            probabilities.argmax(axis=1) == fit.examples.labels,
            samples,
            split_codes,
            job.dataset.info.protocol,
        ),
    }
    preliminary = run.with_facts(**facts)
    write_figures(preliminary)
    with drawn(Drawing(preliminary, fit.progress), plot_pool):
        stored = networks.store(run.root, trained, watcher) if networks.is_saved else {"network_kept": False}
    return complete_run(run, {**facts, **stored})


def export_tflite(
    model: Any,
    images: Images,
    root: Path,
    watcher: Watcher,
    stem: str = "model",
    *,
    parts: Parts | None = None,
) -> dict[str, Any]:
    """STEM.tflite of a Keras model of RGB 0–255; returns what run.json says of it. Where it cannot be made,
    a warning says so."""
    exported = export(model, some_images(images), root, stem, parts=parts)
    if exported.error:
        watcher.warn(
            f"predict will have to start TensorFlow: no {stem}.tflite could be made ({exported.error})"
        )
    return exported.to_json()


def parts_of(extractor: Any, head: Any, images: Images) -> Parts:
    """What an export needs to know of a head on a frozen extractor, as some of the images have it."""
    features = extractor(some_images(images).astype(np.float32), training=False).numpy()
    return Parts(extractor, head, features)


def write_answers(
    path: Path,
    samples: Sequence[Sample],
    split_codes: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> None:
    """A table of predictions by probabilities (n, classes) of n samples, val first and then test."""
    shown = np.concatenate([np.flatnonzero(split_codes == VAL), np.flatnonzero(split_codes == TEST)])
    rows = [(samples[index], SPLITS[split_codes[index]]) for index in shown.tolist()]
    write_predictions(path, rows, probabilities[shown], classes, metadata=metadata_of(samples))


def keep_extractor(
    root: Path, extractor: Any, images: Images, watcher: Watcher, number: int | None = None
) -> dict[str, Any]:
    """Store what makes features of images, or one of several such, as .keras and .tflite; returns what
    run.json says of it."""
    stem = extractor_stem(number)
    save_model(extractor, root / f"{stem}.keras")
    return {"exports": {stem: export_tflite(extractor, images, root, watcher, stem)}}


def write_origins(job: Job, run: Run) -> None:
    """seen.csv, all that the run and those before it were made with, and recipe.toml."""
    rows = training_images_in(job.dataset.samples, job.split_codes, hashes_of(job.dataset, job.cache))
    if job.design.base:
        rows += from_elsewhere([load_run(job.design.base)], [row.sample for row in rows])
    write_training_images(run, rows)
    write_text(run.root / RECIPE_FILE, to_recipe(job.design, job.weights, job.design.fold))


def some_indices(images: Images) -> np.ndarray:
    """The positions (n,) of a few images, from all over the dataset."""
    return np.unique(np.linspace(0, len(images.samples) - 1, _CHECKED).astype(int))


def some_images(images: Images) -> np.ndarray:
    """These few images (n, height, width, 3)."""
    indices = some_indices(images)
    return np.asarray(next(images.batches(indices, len(indices))))


def facts_of(job: Job, root: Path) -> dict[str, Any]:
    """The facts of the data and the design that run.json holds beyond the settings."""
    info, base = job.dataset.info, job.design.base
    return {
        "backbone": job.backbone.name,
        "dataset": info.dataset,
        "protocol": info.protocol,
        "classes": list(job.dataset.classes),
        **job.dataset.positive_facts,
        "preparation": info.preparation,
        "data": TrainingData(
            job.dataset.hash, len(job.dataset.samples), os.path.relpath(job.dataset.root, root), info.subset
        ).to_json(),
        "leakage": {split: leak.to_json() for split, leak in job.leaks.items()},
        "seed": job.design.schedule.seed,
        **({"base": os.path.relpath(base, root)} if base else {}),
    }


def write_results(run: Run) -> None:
    """metrics.json and the plots of val and test, from the run's predictions."""
    write_figures(run)
    draw_results(run)


def write_figures(run: Run) -> None:
    """metrics.json of val and test, from the run's predictions."""
    predictions = read_any(run.root / PREDICTIONS_FILE, run.classes)
    present = [split for split in ("val", "test") if predictions and split in predictions.splits]
    measured = [figures_of(run, predictions, split) for split in present] if predictions else []
    write_json(run.root / METRICS_FILE, figures_json(measured))


def draw_network(root: Path, layers: Iterable[Any]) -> None:
    """model.png of Keras layers."""
    import keras

    from bccli.core.models.drawing import LayerBox, draw_layers

    boxes = [
        LayerBox(
            name=layer.name,
            kind=type(layer).__name__,
            output_shape=tuple(keras.tree.flatten(layer.output)[-1].shape),
            parameters=int(layer.count_params()),
            trainable=bool(layer.trainable_weights),
            layers=len(getattr(layer, "layers", [layer])),
        )
        for layer in layers
    ]
    with replacing(root / DIAGRAM_FILE) as stream:
        draw_layers(boxes, stream)
