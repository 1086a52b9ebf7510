"""From a design and a prepared dataset to a run: features where the backbone is frozen, training, results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import bccli
from bccli.core.designs import LATER, TRAIN, VAL, Design, Job, default_cache, plan_job
from bccli.core.features import FeatureKey, compute_features
from bccli.core.images import open_images
from bccli.core.models import backend
from bccli.core.models.backbones import build_backbone
from bccli.core.models.extractors import build_features
from bccli.core.models.heads import HEADS, assemble, build_head
from bccli.core.models.weights import Weights
from bccli.core.prepared import Dataset
from bccli.core.results import Networks, finish, write_history
from bccli.core.runs import STATE, Run, load_run, open_run
from bccli.core.training import Examples, Features, Fit
from bccli.core.watching import SILENT, Watcher


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
    extendable = job.design.schedule.extendable
    with open_run(root, "network", settings, overwrite=overwrite, extendable=extendable, later=LATER) as run:
        if run is None:
            watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        with log(root / "log.txt"):
            return _train_network(job, run, device, verbose, watcher)


def _train_network(job: Job, run: Run, device: str, verbose: bool, watcher: Watcher) -> Run:
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
    network, extractor, head, scoring = _build(job, images.size, job.weights)
    frozen = job.design.trainable == "none"
    labels = np.array([job.dataset.classes.index(sample.label) for sample in images.samples])
    parts = job.parts[used]
    if frozen:
        network.trainable = False
        key = FeatureKey(
            job.backbone.name, _weights_identity(job), job.backbone.preprocessing, images.size,
            HEADS[job.design.head.kind].features,
        )  # fmt: skip
        inputs: Any = Features(compute_features(images, extractor, key, job.cache, watcher=watcher))
        trainee = head
    else:
        inputs, trainee = images, scoring
    examples = Examples(
        inputs, labels, len(job.dataset.classes), np.flatnonzero(parts == TRAIN), np.flatnonzero(parts == VAL)
    )
    fit = Fit(
        _twin(job, images.size, trainee, frozen), examples, job.design.schedule, run.root / STATE,
        watcher=watcher, on_state=lambda progress: write_history(run.root, progress),
    )  # fmt: skip
    fit.run()
    fit.hand_over(trainee)
    networks = Networks(scoring, assemble(extractor, head, job.design.head.output))
    return finish(job, run, networks, fit, images, parts, watcher)


def _build(job: Job, size: tuple[int, int], weights: Weights) -> tuple[Any, Any, Any, Any]:
    """Backbone, extractor, head, and the model from images to scores."""
    import keras

    network = build_backbone(job.backbone, size, weights)
    extractor = build_features(job.backbone, network, HEADS[job.design.head.kind].features)
    head = build_head(job.design.head, extractor.output_shape[-1], len(job.dataset.classes))
    return network, extractor, head, keras.Model(extractor.input, head(extractor.output))


def _twin(job: Job, size: tuple[int, int], trainee: Any, frozen: bool) -> Any:
    """What is trained in the place of `trainee`: itself, or with --mixed-precision its like in float16.

    What is kept, exported and measured afterwards is always in float32.
    """
    import keras

    if not job.design.schedule.mixed_precision:
        return trainee
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        _, _, head, scoring = _build(job, size, Weights("none"))
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    twin = head if frozen else scoring
    twin.set_weights(trainee.get_weights())
    return twin


def _weights_identity(job: Job) -> str:
    """What tells one set of backbone weights from another: the file, or the seed of random ones."""
    return job.weights.hash or f"random {job.design.schedule.seed}"
