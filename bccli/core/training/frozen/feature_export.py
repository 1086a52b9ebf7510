"""`train --features-only`: the vectors that a frozen network makes of all images of a dataset, as a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

import bccli
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import Images
from bccli.core.errors import UsageError
from bccli.core.models import backend
from bccli.core.runs.run_folder import Run
from bccli.core.training.design import Design, Job, check_image_size, resolve
from bccli.core.training.frozen.sources import SourceData, source_of
from bccli.core.training.heads.surroundings import with_surroundings
from bccli.core.training.network import RunContext
from bccli.core.vectors.contents import Rows
from bccli.core.vectors.feature_file import write_features, written_width
from bccli.core.vectors.matching import DATASET_FACT


def export_features(
    design: Design, dataset: Dataset, out: Path, context: RunContext, cache: Path
) -> dict[str, Any]:
    """Write the vectors of all images of a dataset to `out`, unless they are there; returns what is there.

    Raises DataError for images of several sizes, SettingsError where the file has others, WeightsError.
    """
    job, watcher = _job(design, dataset, cache), context.watcher
    images = context.open_images(dataset.root, dataset.samples, watcher)
    check_image_size(job.design, job.backbone, images.size, dataset.root)
    facts = _facts(job)
    if not context.overwrite and (width := written_width(out, facts)):
        watcher.note(f"{out} is complete; nothing to do")
    else:
        values = _values(job, images, out, context)
        width = int(values.shape[1])
        write_features(out, values, images.samples, {**facts, "width": width})
    return {"file": str(out), "backbone": job.backbone.name, "images": len(images.samples), "width": width}


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
        design.backbone, design.weights, None if design.from_files else "none", design.head, design.schedule,
        card=design.card, joined=design.joined,
    )  # fmt: skip
    resolved, backbone, weights = resolve(frozen)
    resolved = replace(resolved, head=with_surroundings(resolved.head, dataset))
    return Job(resolved, backbone, weights, dataset, np.zeros(len(dataset.samples), np.int64), {}, cache)


def _facts(job: Job) -> dict[str, str]:
    """What tells the vectors of a file from others; also what the file says about itself."""
    return {
        "backbone": job.backbone.name,
        "weights": job.weights.name,
        "weights_hash": job.weights_identity,
        "head": job.design.head.kind,
        **({"context": f"{context:g}"} if (context := job.design.head.context) else {}),
        DATASET_FACT: job.dataset.hash,
    }


def _values(job: Job, images: Images, out: Path, context: RunContext) -> Rows:
    by = ""
    if job.design.extracts_by_keras:
        tf = context.start_tensorflow()
        by = f"TensorFlow {tf.__version__} on {backend.describe_device(tf)}"
    nowhere = cast(Run, None)  # sources store themselves in runs, and this is none
    source = source_of(job, SourceData(nowhere, images, job.split_codes, context))
    context.watcher.note(
        f"bccli {bccli.__version__} train {job.backbone.name}: {by or source.description}, "
        f"{job.dataset.root} → {out}"
    )
    values: Rows = source.compute(images)
    return values
