"""`train --features-only`: the vectors that a frozen network makes of all images of a dataset, as a file."""

from pathlib import Path
from typing import Any

import numpy as np

import bccli
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import Images
from bccli.core.errors import UsageError
from bccli.core.models import backend
from bccli.core.models.cards.card_files import find_files
from bccli.core.training.assembly import build
from bccli.core.training.design import Design, Job, check_image_size, resolve
from bccli.core.training.features import compute_features, key_of
from bccli.core.training.frozen.sources import card_source
from bccli.core.training.network import RunContext
from bccli.core.vectors.contents import Rows
from bccli.core.vectors.feature_file import is_written, write_features
from bccli.core.vectors.matching import DATASET_FACT


def export_features(design: Design, dataset: Dataset, out: Path, context: RunContext, cache: Path) -> None:
    """Write the vectors of all images of a dataset to `out`, unless they are there.

    Raises DataError for images of several sizes, SettingsError where the file has others, WeightsError.
    """
    job, watcher = _job(design, dataset, cache), context.watcher
    images = context.open_images(dataset.root, dataset.samples, watcher)
    check_image_size(job.design, job.backbone, images.size, dataset.root)
    facts = _facts(job)
    if not context.overwrite and is_written(out, facts):
        watcher.note(f"{out} is complete; nothing to do")
        return
    values = _values(job, images, out, context)
    write_features(out, values, images.samples, {**facts, "width": int(values.shape[1])})
    watcher.note(
        f"{out}: vectors of {values.shape[1]:,} numbers of {len(images.samples):,} images; train on them "
        f"with --features {out}"
    )


def _job(design: Design, dataset: Dataset, cache: Path) -> Job:
    """A job of all images, which nobody divides. Raises UsageError for what only training has a use for."""
    dataset.require_images()
    if design.augment:
        raise UsageError("--augment: --features-only writes vectors of images as they are; leave it out")
    if design.input_norm != "backbone":
        raise UsageError("--input-norm train is learned from train, and --features-only knows no splits")
    if design.trainable == "all":
        raise UsageError("--trainable all: --features-only is about a frozen backbone; leave it out")
    frozen = Design(
        design.backbone, design.weights, None if design.card else "none", design.head, design.schedule,
        card=design.card,
    )  # fmt: skip
    resolved, backbone, weights = resolve(frozen)
    return Job(resolved, backbone, weights, dataset, np.zeros(len(dataset.samples), np.int64), {}, cache)


def _facts(job: Job) -> dict[str, str]:
    """What tells the vectors of a file from others; also what the file says about itself."""
    return {
        "backbone": job.backbone.name,
        "weights": job.weights.name,
        "weights_hash": job.weights_identity,
        "head": job.design.head.kind,
        DATASET_FACT: job.dataset.hash,
    }


def _values(job: Job, images: Images, out: Path, context: RunContext) -> Rows:
    if card := job.design.card:
        source = card_source(card, find_files(card), job, context.device, context.watcher)
        context.watcher.note(
            f"bccli {bccli.__version__} train {card.name}: {source.description}, {job.dataset.root} → {out}"
        )
        return source.compute(images)
    tf = context.start_tensorflow()
    import keras

    context.watcher.note(
        f"bccli {bccli.__version__} train {job.backbone.name}: TensorFlow {tf.__version__} on "
        f"{backend.describe_device(tf)}, {job.dataset.root} → {out}"
    )
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(job.design.schedule.seed)
    built = build(job, images.size, job.weights, None)
    key = key_of(job.backbone, job.weights_identity, images.size, head=job.design.head.kind)
    values: Any = compute_features(images, built.extractor, key, job.cache, watcher=context.watcher)
    return values
