"""From a prepared dataset to a run: parts, audit, network, training, and everything the folder holds."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.auditing import audit, refuse_leakage
from bccli.core.catalog import Backbone, find_backbone
from bccli.core.errors import DataError, UsageError
from bccli.core.evaluation import figures_json, figures_of
from bccli.core.features import FeatureKey, compute_features
from bccli.core.files import read_json, replacing, replacing_file, to_toml, write_json, write_text
from bccli.core.images import open_images
from bccli.core.leakage import Leak, leak_sentences
from bccli.core.metrics import Figures
from bccli.core.models import backend
from bccli.core.models.backbones import build_backbone, build_extractor, check_size
from bccli.core.models.heads import Head, assemble, build_head, find_loss, units
from bccli.core.models.weights import Weights, find_weights
from bccli.core.predictions import read_predictions, write_predictions
from bccli.core.prepared import Dataset
from bccli.core.records import SPLITS, Sample
from bccli.core.runs import STATE, Run, complete_run, load_run, open_run
from bccli.core.training import Examples, Features, Fit, Progress, Schedule
from bccli.core.watching import SILENT, Watcher

TRAIN, VAL, TEST = range(len(SPLITS))


@dataclass(frozen=True)
class Design:
    """What is trained and how: all that decides a run's result, besides the data."""

    backbone: str = "cnn-15"
    weights: str | None = None
    trainable: str | None = None
    head: Head = field(default_factory=Head)
    schedule: Schedule = field(default_factory=Schedule)
    fold: int | None = None
    allow_leakage: bool = False

    def to_json(self, weights: Weights) -> dict[str, Any]:
        """The settings by which two runs are the same."""
        settings = {
            "backbone": self.backbone,
            "weights": weights.name if weights.name in ("imagenet", "none") else "file",
            "weights_hash": weights.hash,
            "trainable": self.trainable,
            **asdict(self.head),
            **asdict(self.schedule),
            "fold": self.fold,
        }
        return json.loads(json.dumps(settings))


def resolve(design: Design) -> tuple[Design, Backbone, Weights]:
    """Fill in what depends on the backbone, and find its weights before any data is read.

    Raises UsageError, WeightsError.
    """
    backbone = find_backbone(design.backbone)
    weights = find_weights(backbone, design.weights or ("imagenet" if backbone.weights else "none"))
    trainable = design.trainable or ("all" if weights.file is None else "none")
    find_loss(design.schedule.loss, design.head.output)
    return replace(design, weights=weights.name, trainable=trainable), backbone, weights


@dataclass(frozen=True)
class Job:
    """One network to train: the design resolved, the data, and which image has which part in it."""

    design: Design
    backbone: Backbone
    weights: Weights
    dataset: Dataset
    parts: np.ndarray
    leaks: dict[str, Leak]
    cache: Path

    def positions(self, part: int) -> np.ndarray:
        """The images of a part, in manifest order."""
        return np.flatnonzero(self.parts == part)


def train(
    design: Design,
    dataset: Dataset,
    root: Path,
    *,
    cache: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    verbose: bool = False,
    watcher: Watcher = SILENT,
    log: Callable[[Path], Any],
) -> Run:
    """Train one network, or continue or recognise the run `root`.

    `log` opens the run's log.txt for what the watcher hears. Raises LeakageError, DataError,
    TrainingError, SettingsError, and Stopped after a signal.
    """
    job = plan_job(design, dataset, cache or default_cache(dataset, root), watcher)
    settings = {**job.design.to_json(job.weights), "data": dataset.hash}
    with open_run(root, "network", settings, overwrite=overwrite) as run:
        if run is None:
            watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        with log(root / "log.txt"):
            return _train_network(job, run, device, verbose, watcher)


def stored_figures(run: Run) -> list[Figures]:
    """The figures in a run's metrics.json."""
    return [Figures(**row) for row in read_json(run.root / "metrics.json")["runs"]]


def preview(design: Design, dataset: Dataset, fold: int | str | None) -> list[dict[str, Any]]:
    """The table of a dry run: images and patients per part and class."""
    first = replace(design, fold=0) if fold == "all" else design
    parts = _parts(dataset, first.fold)
    _check_parts(dataset, parts)
    rows = []
    for part, name in enumerate(SPLITS):
        for label in dataset.classes:
            here = [
                sample
                for sample, code in zip(dataset.samples, parts, strict=True)
                if code == part and sample.label == label
            ]
            patients = {sample.patient for sample in here if sample.patient}
            rows.append(
                {"part": name, "label": label, "images": len(here), "patients": len(patients) or None}
            )
    return rows


def default_cache(dataset: Dataset, root: Path) -> Path:
    """DATA/.cache, or RUN/.cache where DATA cannot be written."""
    import os

    return (dataset.root if os.access(dataset.root, os.W_OK) else root) / ".cache"


def plan_job(design: Design, dataset: Dataset, cache: Path, watcher: Watcher) -> Job:
    """Decide the parts, check them, and audit them. Raises DataError, UsageError, LeakageError."""
    design, backbone, weights = resolve(design)
    parts = _parts(dataset, design.fold)
    units(design.head.output, len(dataset.classes))
    _check_parts(dataset, parts)
    used = [sample for sample, part in zip(dataset.samples, parts.tolist(), strict=True) if part >= 0]
    check_size(backbone, open_images(dataset.root, used).size)
    design = replace(design, schedule=_without_val(design.schedule, parts, watcher))
    leaks = audit(dataset, parts, cache)
    refuse_leakage(leaks, dataset, allowed=design.allow_leakage)
    for sentence in leak_sentences({part: leak.to_json() for part, leak in leaks.items()}):
        watcher.warn(sentence)
    return Job(design, backbone, weights, dataset, parts, leaks, cache)


def _parts(dataset: Dataset, fold: int | None) -> np.ndarray:
    """0 train, 1 val, 2 test, -1 unused for every image.

    With folds, fold k is tested, fold k+1 validated, and the rest trained on, but for the augmented
    children of what is not trained on.
    """
    if dataset.folds == 0:
        if fold is not None:
            raise UsageError(
                "--fold: this dataset has splits, not folds; leave it out or prepare with --folds"
            )
        return np.array([SPLITS.index(sample.split) if sample.split else -1 for sample in dataset.samples])
    if fold is None:
        raise UsageError(
            f"the dataset has {dataset.folds} folds; say --fold 0 … {dataset.folds - 1} or --fold all"
        )
    if not 0 <= fold < dataset.folds:
        raise UsageError(f"--fold {fold}: the folds are 0 … {dataset.folds - 1}")
    roles = {fold: TEST, (fold + 1) % dataset.folds: VAL}
    parts = np.array(
        [roles.get(sample.fold, TRAIN) if sample.fold is not None else -1 for sample in dataset.samples]
    )
    part_of = {sample.path: part for sample, part in zip(dataset.samples, parts.tolist(), strict=True)}
    for place, sample in enumerate(dataset.samples):
        if sample.parent and (parts[place] != TRAIN or part_of.get(sample.parent) != TRAIN):
            parts[place] = -1
    return parts


def _check_parts(dataset: Dataset, parts: np.ndarray) -> None:
    labels = np.array([sample.label for sample in dataset.samples])
    trained = set(labels[parts == TRAIN].tolist())
    if not trained:
        raise DataError(f"{dataset.root}: no image is in train; prepare it with other --ratios")
    for label in dataset.classes:
        if label not in trained:
            raise DataError(
                f"{dataset.root}: train has no image of class {label}; "
                "add patients of that class or part the dataset otherwise"
            )


def _without_val(schedule: Schedule, parts: np.ndarray, watcher: Watcher) -> Schedule:
    if (parts == VAL).any():
        return schedule
    if schedule.patience is not None or schedule.stop_at:
        raise DataError(
            "there are no val images to stop by; prepare some, or leave --patience and --stop-at out"
        )
    watcher.warn("there are no val images: the last epoch's training loss decides which weights are kept")
    return replace(schedule, monitor="loss")


def _train_network(job: Job, run: Run, device: str, verbose: bool, watcher: Watcher) -> Run:
    import bccli

    tf = backend.start(device, verbose=verbose)
    import keras

    watcher.note(
        f"bccli {bccli.__version__} train {job.design.backbone}: TensorFlow {tf.__version__} on "
        f"{backend.describe_device(tf)}, {job.dataset.root} → {run.root}"
    )
    keras.backend.clear_session()
    keras.utils.set_random_seed(job.design.schedule.seed)
    used = np.flatnonzero(job.parts >= 0)
    images = open_images(job.dataset.root, [job.dataset.samples[place] for place in used])
    network = build_backbone(job.backbone, images.size, job.weights)
    extractor = build_extractor(job.backbone, network)
    head = build_head(job.design.head, extractor.output_shape[-1], len(job.dataset.classes))
    frozen = job.design.trainable == "none"
    labels = np.array([job.dataset.classes.index(sample.label) for sample in images.samples])
    parts = job.parts[used]
    if frozen:
        network.trainable = False
        key = FeatureKey(job.backbone.name, _weights_identity(job), job.backbone.preprocessing, images.size)
        inputs: Any = Features(compute_features(images, extractor, key, job.cache, watcher=watcher))
        trainee = head
    else:
        inputs, trainee = images, keras.Model(extractor.input, head(extractor.output))
    examples = Examples(
        inputs, labels, len(job.dataset.classes), np.flatnonzero(parts == TRAIN), np.flatnonzero(parts == VAL)
    )
    fit = Fit(
        trainee, examples, job.design.schedule, run.root / STATE,
        watcher=watcher, on_state=lambda progress: _write_history(run.root, progress),
    )  # fmt: skip
    progress = fit.run()
    whole = assemble(extractor, head, job.design.head.output)
    return _finish(job, run, whole, fit, progress, parts, images.samples)


def _weights_identity(job: Job) -> str:
    """What tells one set of backbone weights from another: the file, or the seed of random ones."""
    return job.weights.hash or f"random {job.design.schedule.seed}"


def _write_history(root: Path, progress: Progress) -> None:
    if progress.history:
        write_table(root / "history.csv", progress.history)


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write records of equal keys as CSV."""
    rows = list(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def _finish(
    job: Job,
    run: Run,
    whole: Any,
    fit: Fit,
    progress: Progress,
    parts: np.ndarray,
    samples: tuple[Sample, ...],
) -> Run:
    """Predict, measure, draw, and complete the run."""
    classes, labels = job.dataset.classes, fit.examples.labels
    shown = np.concatenate([np.flatnonzero(parts == VAL), np.flatnonzero(parts == TEST)])
    rows = [(samples[place], SPLITS[parts[place]]) for place in shown]
    write_predictions(run.root / "predictions.csv", rows, fit.predict(shown), classes)
    accuracy = {
        split: float((fit.predict(chosen).argmax(axis=1) == labels[chosen]).mean()) if len(chosen) else None
        for split, chosen in (
            ("train", np.flatnonzero(parts == TRAIN)),
            ("val", np.flatnonzero(parts == VAL)),
        )
    }
    with replacing_file(run.root / "model.keras") as temporary:
        whole.save(temporary)
    write_text(run.root / "recipe.toml", _recipe(job))
    facts = {
        "backbone": job.backbone.name,
        "dataset": job.dataset.info["dataset"],
        "protocol": job.dataset.info["protocol"],
        "classes": list(classes),
        "positive": job.dataset.info["positive"] if len(classes) == 2 else None,
        "preparation": job.dataset.info["preparation"],
        "data": {"hash": job.dataset.hash, "images": len(job.dataset.samples)},
        "size": list(fit.examples.inputs.size)
        if hasattr(fit.examples.inputs, "size")
        else list(whole.input_shape[2:0:-1]),
        "kept_epoch": progress.kept_epoch,
        "epochs_trained": progress.epoch,
        "train_accuracy": accuracy["train"],
        "val_accuracy": accuracy["val"],
        "leakage": {part: leak.to_json() for part, leak in job.leaks.items()},
        "parameters": int(whole.count_params()),
        "seed": job.design.schedule.seed,
    }
    preliminary = Run(run.root, {**run.info, **facts})
    write_results(preliminary)
    _draw(preliminary, whole, progress)
    return complete_run(run, facts)


def write_results(run: Run) -> None:
    """metrics.json and the plots of val and test, from the run's predictions."""
    from bccli.core.plots import plot_confusion, plot_roc

    predictions = read_predictions(run.root / "predictions.csv", run.classes)
    present = [split for split in ("val", "test") if split in predictions.splits]
    write_json(
        run.root / "metrics.json", figures_json([figures_of(run, predictions, split) for split in present])
    )
    (run.root / "plots").mkdir(exist_ok=True)
    for split in present:
        part = predictions.of_split(split)
        scores = np.asarray(part.probabilities)
        figures = figures_of(run, predictions, split)
        with replacing(run.root / "plots" / f"confusion_{split}.png") as stream:
            plot_confusion(figures.confusion_matrix or [], run.classes, stream, title=f"{run.name}, {split}")
        with replacing(run.root / "plots" / f"roc_{split}.png") as stream:
            plot_roc(
                part.labels, scores, run.classes, stream,
                positive=figures.positive, title=f"{run.name}, {split}",
            )  # fmt: skip


def _draw(run: Run, whole: Any, progress: Progress) -> None:
    from bccli.core.models.drawing import LayerBox, draw_layers
    from bccli.core.plots import plot_curves

    with replacing(run.root / "plots" / "curves.png") as stream:
        plot_curves(progress.history, stream, kept_epoch=progress.kept_epoch)
    boxes = [
        LayerBox(
            name=layer.name,
            kind=type(layer).__name__,
            output_shape=tuple(layer.output.shape),
            parameters=int(layer.count_params()),
            trainable=bool(layer.trainable_weights),
            layers=len(getattr(layer, "layers", [layer])),
        )
        for layer in whole.layers
    ]
    with replacing(run.root / "model.png") as stream:
        draw_layers(boxes, stream)


def _weights_choice(weights: Weights) -> str:
    """--weights as a recipe repeats it: a file by its full path, as recipes start from their own folder."""
    return weights.name if weights.name in ("imagenet", "none") else str(Path(weights.name).resolve())


def _recipe(job: Job) -> str:
    """The [train] table that repeats this run."""
    design, schedule = job.design, job.design.schedule
    values = {
        "backbone": design.backbone,
        "weights": _weights_choice(job.weights),
        "trainable": design.trainable,
        "dense": list(design.head.dense),
        "dropout": design.head.dropout,
        "output": design.head.output,
        "loss": schedule.loss,
        "optimizer": schedule.optimizer,
        "lr": schedule.lr,
        "batch-size": schedule.batch_size,
        "epochs": schedule.epochs,
        "patience": schedule.patience,
        "monitor": schedule.monitor,
        "stop-at": f"{schedule.stop_at[0]}={schedule.stop_at[1]}" if schedule.stop_at else None,
        "class-weights": schedule.class_weights,
        "fold": design.fold,
        "seed": schedule.seed,
        "allow-leakage": design.allow_leakage or None,
    }
    return to_toml("train", values)
