"""From a design and a prepared dataset to a run: features where the backbone is frozen, training, results."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import bccli
from bccli.core.designs import LATER, TRAIN, VAL, Design, Job, default_cache, plan_job
from bccli.core.errors import DivergedError
from bccli.core.features import FeatureKey, compute_features
from bccli.core.files import replacing_file
from bccli.core.images import Images, open_images
from bccli.core.inputs import Features, FeatureViews, Inputs
from bccli.core.live import live_images, stored_views
from bccli.core.models import backend
from bccli.core.models.backbones import build_backbone, standardising
from bccli.core.models.extractors import build_features
from bccli.core.models.heads import HEADS, assemble, build_head
from bccli.core.models.weights import Weights
from bccli.core.norms import Norm, learn_norm
from bccli.core.prepared import Dataset
from bccli.core.results import Curves, Networks, finish
from bccli.core.runs import STATE, Run, load_run, open_run
from bccli.core.tensorboard import FOLDER, EventFile
from bccli.core.training import Examples, Fit
from bccli.core.watching import SILENT, Watcher


@dataclass(frozen=True)
class Surroundings:
    """Where and how a run is made, none of which changes its results.

    `log` opens a run's log.txt for what the watcher hears; `workers` processes augment images.
    """

    log: Callable[[Path], Any]
    watcher: Watcher = SILENT
    device: str = "auto"
    workers: int = 1
    verbose: bool = False
    overwrite: bool = False
    recipe: str = ""
    tensorboard: bool = False


def train(
    design: Design, dataset: Dataset, root: Path, surroundings: Surroundings, *, cache: Path | None = None
) -> Run:
    """Train one network, or continue or recognise the run `root`.

    Raises LeakageError, DataError, TrainingError, SettingsError, and Stopped after a signal.
    """
    watcher, overwrite = surroundings.watcher, surroundings.overwrite
    job = plan_job(design, dataset, cache or default_cache(dataset, root), watcher)
    settings = {**job.design.to_json(job.weights), "data": dataset.hash}
    extendable = job.design.schedule.extendable
    with open_run(root, "network", settings, overwrite=overwrite, extendable=extendable, later=LATER) as run:
        if run is None:
            watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        with surroundings.log(root / "log.txt"):
            return _train_network(job, run, surroundings)


def _train_network(job: Job, run: Run, surroundings: Surroundings) -> Run:
    watcher, design = surroundings.watcher, job.design
    tf = backend.start(surroundings.device, verbose=surroundings.verbose)
    import keras

    watcher.note(
        f"bccli {bccli.__version__} train {design.backbone}: TensorFlow {tf.__version__} on "
        f"{backend.describe_device(tf)}, {job.dataset.root} → {run.root}"
    )
    keras.backend.clear_session()
    keras.utils.set_random_seed(design.schedule.seed)
    used = np.flatnonzero(job.parts >= 0)
    images = open_images(job.dataset.root, [job.dataset.samples[place] for place in used])
    parts = job.parts[used]
    norm = _input_norm(job, images, parts)
    built = _build(job, images.size, job.weights, norm)
    labels = np.array([job.dataset.classes.index(sample.label) for sample in images.samples])
    with _inputs(job, images, parts, built, norm, surroundings) as inputs:
        examples = Examples(
            inputs,
            labels,
            len(job.dataset.classes),
            np.flatnonzero(parts == TRAIN),
            np.flatnonzero(parts == VAL),
            design.augment_val,
        )
        trainee = built.head if job.stored else built.scoring
        fit = Fit(
            _twin(job, images.size, trainee, norm), examples, design.schedule, run.root / STATE,
            watcher=watcher, on_state=Curves(run.root),
            on_epoch=EventFile(run.root / FOLDER) if surroundings.tensorboard else None,
        )  # fmt: skip
        try:
            fit.run()
        except DivergedError as error:
            raise _with_good_weights(error, job, run, built, fit, trainee) from None
        fit.hand_over(trainee)
        networks = Networks(built.scoring, assemble(built.extractor, built.head, design.head.output))
        return finish(job, run, networks, fit, images, parts, recipe=surroundings.recipe, watcher=watcher)


def _with_good_weights(
    error: DivergedError, job: Job, run: Run, built: "_Built", fit: Fit, trainee: Any
) -> DivergedError:
    """The same error; the weights of the best epoch before are in model.keras, if there was one."""
    if not error.kept_epoch:
        return DivergedError(f"{run.root}: {error}")
    fit.hand_over(trainee)
    whole = assemble(built.extractor, built.head, job.design.head.output)
    with replacing_file(run.root / "model.keras") as temporary:
        whole.save(temporary)
    return DivergedError(
        f"{run.root}: {error} (model.keras has the weights of epoch {error.kept_epoch})", error.kept_epoch
    )


@dataclass(frozen=True)
class _Built:
    """The Keras models of a job; `scoring` is from images to scores."""

    extractor: Any
    head: Any
    scoring: Any


def _build(job: Job, size: tuple[int, int], weights: Weights, norm: Norm | None) -> _Built:
    import keras

    network = build_backbone(job.backbone, size, weights)
    frozen = job.design.trainable == "none"
    extractor = build_features(
        job.backbone, network, HEADS[job.design.head.kind].features,
        preprocess=standardising(norm.mean, norm.deviation) if norm else None, frozen=frozen,
    )  # fmt: skip
    head = build_head(job.design.head, extractor.output_shape[-1], len(job.dataset.classes))
    network.trainable = not frozen
    return _Built(extractor, head, keras.Model(extractor.input, head(extractor.output)))


def _input_norm(job: Job, images: Images, parts: np.ndarray) -> Norm | None:
    """The mean and deviation of train's pixels, where they take the place of the backbone's own."""
    if job.design.input_norm == "backbone":
        return None
    return learn_norm([images.samples[place] for place in np.flatnonzero(parts == TRAIN)], images, job.cache)


@contextmanager
def _inputs(
    job: Job, images: Images, parts: np.ndarray, built: _Built, norm: Norm | None, surroundings: Surroundings
) -> Iterator[Inputs]:
    """What the trainee is fed: images, fresh children of them, or the features of a frozen backbone."""
    design = job.design
    features = partial(
        compute_features,
        extractor=built.extractor,
        key=_feature_key(job, images.size, norm),
        cache=job.cache,
        watcher=surroundings.watcher,
    )
    if design.augment is None:
        yield Features(features(images)) if job.stored else images
        return
    seed = design.schedule.seed
    with live_images(images, design.augment, seed=seed, workers=surroundings.workers) as live:
        if not job.stored:
            yield live
            return
        augmented = (parts == TRAIN) | ((parts == VAL) & design.augment_val)
        views, first = stored_views(live, np.flatnonzero(augmented), design.views or 1)
        yield FeatureViews(features(views), first, design.views or 1, seed)


def _feature_key(job: Job, size: tuple[int, int], norm: Norm | None) -> FeatureKey:
    preprocessing = f"{norm}" if norm else job.backbone.preprocessing
    kind = HEADS[job.design.head.kind].features
    return FeatureKey(job.backbone.name, _weights_identity(job), preprocessing, size, kind)


def _twin(job: Job, size: tuple[int, int], trainee: Any, norm: Norm | None) -> Any:
    """What is trained in the place of `trainee`: itself, or with --mixed-precision its like in float16.

    What is kept, exported and measured afterwards is always in float32.
    """
    import keras

    if not job.design.schedule.mixed_precision:
        return trainee
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        built = _build(job, size, Weights("none"), norm)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    twin = built.head if job.stored else built.scoring
    twin.set_weights(trainee.get_weights())
    return twin


def _weights_identity(job: Job) -> str:
    """What tells one set of backbone weights from another: the file, or the seed of random ones."""
    return job.weights.hash or f"random {job.design.schedule.seed}"
