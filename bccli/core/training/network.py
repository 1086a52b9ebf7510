"""From a design and a prepared dataset to a run: features where the backbone is frozen, training, results."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import bccli
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import Images, ImageSource, open_images
from bccli.core.data.manifest import Sample
from bccli.core.data.split_codes import TEST, TRAIN, VAL
from bccli.core.errors import DivergedError, UsageError
from bccli.core.evaluation.reused_runs import check_test_is_new
from bccli.core.files import write_text
from bccli.core.kinds import KINDS, imported
from bccli.core.models import backend
from bccli.core.models.heads import HEADS
from bccli.core.preparation.estimate import space_words
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.run_folder import (
    ACTIVATIONS_FOLDER,
    LOG_FILE,
    MODEL_FILE,
    STATE_FILE,
    Run,
    follow_run,
    load_run,
    open_run,
)
from bccli.core.runs.shard import WHOLE, Shard
from bccli.core.training.assembly import Built, ModelCache, build, built_key, take_over, weights_hash
from bccli.core.training.design import (
    DENSE,
    Design,
    Job,
    default_cache,
    plan_job,
)
from bccli.core.training.features import FeatureKey, compute_features, forget_features, key_of
from bccli.core.training.heads.beginning import TrainRows, fit_held_out, standardise
from bccli.core.training.input_norm import Norm, learn_norm
from bccli.core.training.inputs import CopyFeatures, Features, Inputs
from bccli.core.training.live_augmentation import live_images, with_augmented_copies
from bccli.core.training.loop import Examples, Fit
from bccli.core.training.parallel.choice import SINGLE, Strategy
from bccli.core.training.parallel.replicas import Replicas, synchronise_batch_norms
from bccli.core.training.run_contents import Curves, Networks, Trained, finish
from bccli.core.training.settings import HELD_OUT, Schedule
from bccli.core.training.tensorboard import FOLDER, EventFile
from bccli.core.vectors.given import RowsOnly
from bccli.core.weights.copying import copy_weights
from bccli.core.weights.keras_saving import save_model
from bccli.core.weights.pretrained import Weights
from bccli.core.workers import Team

# Activations of frozen layers are stored where they take no more than this share of the free disk.
_DISK_SHARE = 0.5
_STORED, _LIVE = "stored", "live"


@dataclass(frozen=True)
class RunContext:
    """Where and how a run is made, none of which changes its results but by their last digits.

    `log` opens a run's log.txt for the watcher's messages; `workers` processes augment images;
    `open_images` gives the prepared images, which several runs may share. Where a head on a frozen backbone
    is trained and not `save_network`, its figures and its state stay, but no network; where not
    `export_tflite`, its model.tflite is made afterwards. Plots are drawn in the `plot_pool` if there is one.
    What holds several runs may be the work of several tasks: this one does a `shard` of it.
    """

    log: Callable[[Path], Any]
    watcher: Watcher = SILENT
    device: str = "auto"
    deterministic: bool = True
    tf32: bool = True
    workers: int = 1
    verbose: bool = False
    overwrite: bool = False
    recipe: str = ""
    tensorboard: bool = False
    open_images: Callable[[Path, Sequence[Sample], Watcher], Images] = open_images
    save_network: bool = True
    export_tflite: bool = True
    plot_pool: Team | None = None
    shard: Shard = WHOLE
    strategy: Strategy = SINGLE

    @property
    def inner(self) -> "RunContext":
        """That of a run within another one, which nobody shares and which is not replaced."""
        return replace(self, overwrite=False, shard=WHOLE)

    def start_tensorflow(self) -> Any:
        """Import TensorFlow for the device and return it; that results will not be the same again is said."""
        if not self.deterministic:
            self.watcher.note("without determinism: the same run again differs in its last digits, and more")
        tf = backend.start(
            self.device, deterministic=self.deterministic, tf32=self.tf32, verbose=self.verbose
        )
        self.strategy.prepare(tf, self.watcher)
        return tf


Trainer = Callable[[Job, Run, RunContext, ModelCache | None], Run]
"""What makes a run of a job."""


def train(
    design: Design,
    dataset: Dataset,
    root: Path,
    context: RunContext,
    *,
    cache: Path | None = None,
    models: ModelCache | None = None,
) -> Run:
    """Train one network, or continue or recognise the run `root`; `models` are shared with other runs.

    Raises LeakageError, DataError, TrainingError, SettingsError, and Stopped after a signal.
    """
    watcher, overwrite = context.watcher, context.overwrite
    said_by = watcher if context.strategy.leads else SILENT
    job = checked_job(design, dataset, cache or default_cache(dataset, root), said_by)
    settings = {**job.design.to_json(job.weights), "data": dataset.hash}
    extendable = job.design.schedule.extendable
    kind = _kind(design)
    context.strategy.check(kind, job.design.schedule.batch_size)
    make: Trainer = imported(KINDS[kind].trainer)
    with ExitStack() as stack:
        if context.strategy.cluster:
            followed = follow_run(root, kind, settings, overwrite=overwrite, extendable=extendable)
            if followed:
                context.start_tensorflow()  # so that nobody waits for one who cannot open the run
                stack.enter_context(context.strategy.watching(watcher))
            if not context.strategy.leads:
                silent = replace(context, watcher=SILENT)
                return make(job, followed, silent, models) if followed else load_run(root)
        run = stack.enter_context(open_run(root, kind, settings, overwrite=overwrite, extendable=extendable))
        if run is None:
            watcher.note(f"{root} is complete; nothing to do")
            return load_run(root)
        with context.log(root / LOG_FILE):
            return make(job, run, context, models)


def checked_job(design: Design, dataset: Dataset, cache: Path, watcher: Watcher = SILENT) -> Job:
    """The job of a design, whose test images are new to all that it learns from and builds upon.

    Raises LeakageError, DataError, UsageError.
    """
    if design.fold is not None:
        design = design.of_fold(design.fold)
    job = plan_job(design, dataset, cache, watcher)
    if job.design.base:
        allowed = design.allow_leakage or dataset.allows_leakage
        base = load_run(job.design.base)
        check_test_is_new(base, dataset, job.split_codes, allowed=allowed, watcher=watcher)
    return job


def images_of(job: Job, samples: Sequence[Sample], context: RunContext) -> Any:
    """The prepared images of these samples; rows about them where vectors come from a file."""
    if job.design.vectors:
        return RowsOnly(tuple(samples))
    return context.open_images(job.dataset.root, samples, context.watcher)


def _kind(design: Design) -> str:
    """The kind of run that a design makes."""
    if design.fuses:
        return "fusion"
    if design.classifier != DENSE:
        return "classifier"
    if HEADS[design.head.kind].locates:
        return "detector"
    return "head" if design.from_files else "network"


def train_network(job: Job, run: Run, context: RunContext, models: ModelCache | None = None) -> Run:
    """Train the network of a job and fill its run. Raises what `train` raises."""
    watcher, design = context.watcher, job.design
    announce(job, run, context)
    replicas = _replicas(job, run, context)
    used = np.flatnonzero(job.split_codes >= 0)
    samples = [job.dataset.samples[index] for index in used]
    images = context.open_images(job.dataset.root, samples, context.watcher)
    split_codes = job.split_codes[used]
    norm = input_norm(job, images, split_codes)
    if models is None or models.built(built_key(job, images.size, norm)) is None:
        begin_weights(design.schedule.seed)
    built = build(job, images.size, job.weights, norm, models)
    if design.tuning:
        take_over(design.tuning, built)
    # The worker that leads decides, and the others hear of it.
    stores = replicas.wants(replicas.leads and stores_features(job, built, images, run, watcher))
    with inputs_of(job, images, split_codes, built if stores else None, norm, run, context) as inputs:
        schedule, fitted = _begin_head(job, built, inputs, images, split_codes, norm, run, context)
        trainee = built.tail if stores else built.live
        twin, depths = _twin(job, images.size, built, norm, stores, replicas)
        fit = Fit(
            twin, examples_of(job, images, split_codes, inputs), schedule, run.root / STATE_FILE,
            watcher=watcher, on_state=Curves(run.root),
            on_epoch=EventFile(run.root / FOLDER) if context.tensorboard and replicas.leads else None,
            depths=[depths.get(id(variable), 0) for variable in twin.trainable_variables],
            compiled=built.compiled if twin is trainee else None, replicas=replicas,
        )  # fmt: skip
        try:
            fit.run()
        except DivergedError as error:
            raise with_good_weights(error, job, run, built, fit, trainee) from None
        if not replicas.leads:
            return run
        fit.hand_over(trainee)
        if models is not None and design.trainable == "none" and not design.tuning:
            models.keep_network(run.root, built.extractor, built.head)
        is_frozen = stores and not design.tuning
        networks = Networks(
            built.scoring,
            built.whole,
            is_saved=context.save_network or not stores,
            is_exported=context.export_tflite,
            extractor=built.extractor if is_frozen else None,
            head=built.head if is_frozen else None,
            saver=built.saver,
        )
        facts = {
            "recipe": context.recipe or None,
            "norm": asdict(norm) if norm else None,
            "fitted": fitted,
            "replicas": replicas.count if replicas.count > 1 else None,
        }
        trained = Trained(networks, fit, images, split_codes)
        done = finish(job, run, trained, facts=facts, watcher=watcher, plot_pool=context.plot_pool)
    if stores and design.tuning:
        forget_features(feature_key(job, images.size, norm, built, run), job.cache)
    return done


def _replicas(job: Job, run: Run, context: RunContext) -> Replicas:
    """The replicas that learn together, once all workers are sure to do the same.

    Raises UsageError where one would do something else, or where a batch has too few images.
    """
    replicas, size = context.strategy.replicas(context.watcher), job.design.schedule.batch_size
    facts = [os.path.abspath(run.root), job.design.to_json(job.weights), job.dataset.hash, replicas.count]
    replicas.agree("settings, a dataset or a run", json.dumps(facts))
    if replicas.count > size:
        raise UsageError(
            f"--batch-size {size}: has no image for each of {replicas.count} devices; try a larger one, "
            "which is that of all devices together"
        )
    return replicas


def announce(job: Job, run: Run, context: RunContext) -> None:
    """Start TensorFlow, and say what is trained where."""
    tf = context.start_tensorflow()
    command = "finetune" if job.design.tuning else "train"
    context.watcher.note(
        f"bccli {bccli.__version__} {command} {job.design.backbone}: TensorFlow {tf.__version__} on "
        f"{backend.describe_device(tf)}, {job.dataset.root} → {run.root}"
    )


def begin_weights(seed: int) -> None:
    """Let Keras name layers and draw weights as in a process of its own; TensorFlow then prepares compiled
    steps anew."""
    import keras

    keras.backend.clear_session(free_memory=False)  # `build` frees memory where it builds a backbone
    keras.utils.set_random_seed(seed)


def examples_of(job: Job, images: Images, split_codes: np.ndarray, inputs: Inputs) -> Examples:
    """The examples of train and val among the images, and those of test where it is watched."""
    return Examples(
        inputs,
        np.array([job.dataset.classes.index(sample.label) for sample in images.samples]),
        len(job.dataset.classes),
        np.flatnonzero(split_codes == TRAIN),
        np.flatnonzero(split_codes == VAL),
        job.design.augment_val,
        np.flatnonzero((split_codes == TEST) & job.design.watch_test),
    )


def with_good_weights(
    error: DivergedError, job: Job, run: Run, built: Built, fit: Fit, trainee: Any
) -> DivergedError:
    """The same error; the weights of the best epoch before are in model.keras, if there was one."""
    if not error.kept_epoch or not fit.replicas.leads:
        return DivergedError(f"{run.root}: {error}")
    fit.hand_over(trainee)
    save_model(built.whole, run.root / MODEL_FILE)
    return DivergedError(
        f"{run.root}: {error} (model.keras has the weights of epoch {error.kept_epoch})", error.kept_epoch
    )


def input_norm(job: Job, images: Images, split_codes: np.ndarray) -> Norm | None:
    """The mean and deviation of train's pixels, where they replace the backbone's own."""
    if job.design.tuning:
        return job.design.tuning.norm
    if job.design.input_norm == "backbone":
        return None
    return learn_norm(images, np.flatnonzero(split_codes == TRAIN), job.cache)


def stores_features(job: Job, built: Built, images: Images, run: Run, watcher: Watcher) -> bool:
    """Whether the features of the frozen layers are computed once and stored.

    Where a fine-tuning could do so and does not, the reason is logged. A run that is continued does what
    it did before, whatever room there is by now: its state is that of the layers that were trained.
    """
    if built.stored is None or not job.fixed:
        if built.stored is not None and job.design.tuning:
            watcher.note("the frozen layers run in each step: augmentation shows them new images every time")
        return False
    if not job.design.tuning:
        return True
    choice = run.root / ACTIVATIONS_FOLDER
    if not choice.is_file():
        stored = f"{_STORED} {os.urandom(8).hex()}"
        write_text(choice, stored if _fits(job, built, images, watcher) else _LIVE)
    return choice.read_text("ascii").startswith(_STORED)


def _mark(run: Run) -> str:
    """The word that marks the stored activations of a fine-tuning as its own."""
    return (run.root / ACTIVATIONS_FOLDER).read_text("ascii").removeprefix(_STORED).strip()


def _fits(job: Job, built: Built, images: Images, watcher: Watcher) -> bool:
    """Whether there is room for the activations at γ; the answer is logged."""
    assert job.design.tuning is not None
    wanted = len(images.samples) * built.stored.output_shape[-1] * 4
    folder = next(path for path in (job.cache, *job.cache.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    what = f"activations at layer {job.design.tuning.from_layer} take {space_words(wanted)}"
    if wanted > free * _DISK_SHARE:
        watcher.note(f"the frozen layers run in each step: {what}, and {folder} has {space_words(free)} free")
        return False
    watcher.note(f"the frozen layers run once: {what} in {job.cache} until the run is complete")
    return True


@contextmanager
def inputs_of(
    job: Job,
    images: Images,
    split_codes: np.ndarray,
    stored: Built | None,
    norm: Norm | None,
    run: Run,
    context: RunContext,
) -> Iterator[Inputs]:
    """The inputs of the trainee: images, fresh augmented copies, or the `stored` activations of either."""
    design = job.design

    def features(source: ImageSource) -> Any:
        assert stored is not None
        key = feature_key(job, images.size, norm, stored, run)
        return compute_features(source, stored.stored, key, job.cache, watcher=context.watcher)

    seed, workers = design.schedule.seed, context.workers
    if stored:
        values, first = with_augmented_copies(design, images, split_codes, workers, features)
        yield Features(values) if first is None else CopyFeatures(values, first, design.views or 1, seed)
    elif design.augment is None:
        yield images
    else:
        with live_images(images, design.augment, seed=seed, workers=workers) as live:
            yield live


def _begin_head(
    job: Job,
    built: Built,
    inputs: Inputs,
    images: Images,
    split_codes: np.ndarray,
    norm: Norm | None,
    run: Run,
    context: RunContext,
) -> tuple[Schedule, dict[str, Any] | None]:
    """Let a head that standardises take train's mean and deviation out of its features; the schedule with its
    weight decay as a number, and what run.json says of how it was found, None where it was given.

    Train's images count as they are, whatever augmentation makes of them.
    """
    design, positions = job.design, np.flatnonzero(split_codes == TRAIN)
    schedule, rows = design.schedule, positions
    if design.tuning or not design.head.standardised:
        return schedule, None
    samples = [images.samples[index] for index in positions.tolist()]
    if isinstance(inputs, Features):
        values = inputs.values
    else:  # no features are stored, as each copy is a fresh one
        source = context.open_images(job.dataset.root, samples, context.watcher)
        key = feature_key(job, images.size, norm, built, run)
        values = compute_features(source, built.stored, key, job.cache, watcher=context.watcher)
        rows = np.arange(len(samples))
    labels = np.array([job.dataset.classes.index(sample.label) for sample in samples])
    owners = [sample.owner for sample in samples]
    train = TrainRows(values, rows, labels, owners, schedule.class_weights == "balanced")
    return begin_head(built.head, train, schedule, context.watcher)


def begin_head(
    head: Any, train: TrainRows, schedule: Schedule, watcher: Watcher
) -> tuple[Schedule, dict[str, Any] | None]:
    """Standardise a head; the schedule with its weight decay as a number, and what run.json says of how it
    was found, None where it was given."""
    standardise(head, train)
    if schedule.weight_decay != HELD_OUT:
        return schedule, None
    fitted = fit_held_out(head, train, seed=schedule.seed, watcher=watcher)
    return replace(schedule, weight_decay=fitted["weight_decay"]), fitted


def feature_key(job: Job, size: tuple[int, int], norm: Norm | None, built: Built, run: Run) -> FeatureKey:
    """The key under which the features of a job's frozen layers are stored; activations that only one run has
    a use for are its own."""
    tuning = job.design.tuning
    return key_of(
        job.backbone,
        weights_hash(built.stored) if tuning else job.weights_identity,
        size,
        head=job.design.head.kind,
        norm=norm,
        before_layer=tuning.from_layer if tuning else None,
        private_to=_mark(run) if tuning else "",
        context=job.design.head.context,
    )


def _twin(
    job: Job, size: tuple[int, int], built: Built, norm: Norm | None, stores: bool, replicas: Replicas
) -> tuple[Any, dict[int, int]]:
    """The trained network: the tail or the whole itself; with --mixed-precision its copy in 16 bits, and on
    several devices a copy that is on all of them.

    Also returns the depths of its variables. The network that is stored, exported and measured is in
    float32, on one device.
    """
    import keras

    trainee = built.tail if stores else built.live
    schedule = job.design.schedule
    if not schedule.mixed_precision and replicas.count == 1:
        return trainee, built.depths
    policy = keras.mixed_precision.dtype_policy()
    if schedule.mixed_precision:
        keras.mixed_precision.set_dtype_policy(f"mixed_{schedule.mixed_type}")
    try:
        with replicas.scope():
            again = build(job, size, Weights("none"), norm)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    twin = again.tail if stores else again.live
    copy_weights(trainee, twin)
    if replicas.count > 1:
        synchronise_batch_norms(twin)
    return twin, again.depths
