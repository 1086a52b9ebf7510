"""A dense head on vectors that something else than Keras computes: a run of kind head."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bccli
from bccli.core.errors import DivergedError
from bccli.core.models import backend
from bccli.core.models.dense.dense_head import head_of, save_head
from bccli.core.models.heads import build_head
from bccli.core.progress import Watcher
from bccli.core.runs.run_folder import HEAD_FILE, HEAD_MODEL_FILE, STATE_FILE, Run
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import Job
from bccli.core.training.frozen.sources import FeatureSource, SourceData, source_of
from bccli.core.training.heads.beginning import TrainRows
from bccli.core.training.inputs import CopyFeatures, Features
from bccli.core.training.live_augmentation import with_augmented_copies
from bccli.core.training.loop import Fit
from bccli.core.training.network import RunContext, begin_head, examples_of, images_of
from bccli.core.training.run_contents import Curves, Trained, draw_network, finish
from bccli.core.training.tensorboard import FOLDER, EventFile
from bccli.core.weights.keras_saving import save_model

WIDE = 1024
"""For vectors of more numbers, logistic regression is suggested."""


@dataclass(frozen=True)
class HeadOnVectors:
    """A trained head, a Keras model from features to scores, and the source of its features."""

    head: Any
    output: str
    source: FeatureSource
    size: tuple[int, int]
    is_saved: bool = True

    @property
    def parameters(self) -> int | None:
        """Those of the head, and of what makes its features where that is known."""
        own = int(self.head.count_params())
        return own if self.source.parameters is None else own + self.source.parameters

    def store(self, root: Path, trained: Trained, watcher: Watcher) -> dict[str, Any]:
        """Store the head as head.npz and head.keras, draw it, and store what its source keeps."""
        save_head(root / HEAD_FILE, head_of(self.head, self.output))
        save_model(self.head, root / HEAD_MODEL_FILE)
        draw_network(root, self.head.layers)
        return self.source.store(root)


def train_head(job: Job, run: Run, context: RunContext, models: ModelCache | None = None) -> Run:
    """Train the dense head of a job on vectors of its images, and complete the run.

    Raises what `network.train` raises.
    """
    watcher, design = context.watcher, job.design
    used = np.flatnonzero(job.split_codes >= 0)
    samples = [job.dataset.samples[index] for index in used]
    images = images_of(job, samples, context)
    split_codes = job.split_codes[used]
    tf = context.start_tensorflow()
    source = source_of(job, SourceData(run, images, split_codes, context, models))
    import keras

    watcher.note(
        f"bccli {bccli.__version__} train {job.backbone.name}: {source.description}, and a head by "
        f"TensorFlow {tf.__version__} on {backend.describe_device(tf)}, {job.dataset.root} → {run.root}"
    )
    if (source.facts.get("card") or source.facts.get("vectors") or {}).get("width", 0) > WIDE:
        watcher.note(
            f"more than {WIDE:,} numbers of an image: consider --classifier logistic, whose ridge is chosen "
            "by patients left out"
        )
    values, first = with_augmented_copies(design, images, split_codes, context.workers, source.compute)
    inputs = (
        Features(values)
        if first is None
        else CopyFeatures(values, first, design.views or 1, design.schedule.seed)
    )
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(design.schedule.seed)
    head = build_head(design.head, values.shape[1], len(job.dataset.classes))
    examples = examples_of(job, images, split_codes, inputs)
    schedule, fitted = design.schedule, None
    if design.head.standardised:
        owners = [images.samples[index].owner for index in examples.train.tolist()]
        balanced = schedule.class_weights == "balanced"
        train = TrainRows(values, examples.train, examples.labels[examples.train], owners, balanced)
        schedule, fitted = begin_head(head, train, schedule, watcher)
    fit = Fit(
        head, examples, schedule, run.root / STATE_FILE,
        watcher=watcher, on_state=Curves(run.root),
        on_epoch=EventFile(run.root / FOLDER) if context.tensorboard else None,
    )  # fmt: skip
    _run(fit, run)
    fit.hand_over(head)
    network = HeadOnVectors(head, design.head.output, source, images.size, context.save_network)
    facts = {"recipe": context.recipe or None, **source.facts, "fitted": fitted}
    trained = Trained(network, fit, images, split_codes)
    return finish(job, run, trained, facts=facts, watcher=watcher, plot_pool=context.plot_pool)


def _run(fit: Fit, run: Run) -> None:
    try:
        fit.run()
    except DivergedError as error:
        raise DivergedError(f"{run.root}: {error}", error.kept_epoch) from None
