"""From a patch run and a prepared dataset to a run of kind fusion: features once, a way to fuse, results."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import bccli
from bccli.core import interruption
from bccli.core.classifiers.run_files import CLASSIFIER
from bccli.core.data.image_batches import Images, ImageSource
from bccli.core.data.split_codes import TRAIN, VAL
from bccli.core.errors import DivergedError, TrainingError
from bccli.core.evaluation.overfitting import accuracies
from bccli.core.files import replacing_file
from bccli.core.fusion.bags import Bag, group, place_of
from bccli.core.fusion.fusion_file import Stored
from bccli.core.fusion.inputs import BagInputs
from bccli.core.fusion.methods import FUSIONS, Classified, Fuser, Geometry, Network, Rule
from bccli.core.fusion.networks import standardise_by
from bccli.core.fusion.patch_run import PatchNetwork, check_base, load_patch_network
from bccli.core.models import backend
from bccli.core.models.heads import OUTPUTS, units
from bccli.core.models.tflite_export import TOLERANCE, largest_difference
from bccli.core.runs.run_folder import STATE, Run, complete_run, load_run
from bccli.core.training.assembly import ModelCache
from bccli.core.training.checkpoint import Progress
from bccli.core.training.design import Job
from bccli.core.training.features import CHUNK, StoredFeatures, compute_features
from bccli.core.training.live_augmentation import with_augmented_copies
from bccli.core.training.loop import Examples, Fit
from bccli.core.training.network import RunContext
from bccli.core.training.run_contents import (
    Curves,
    draw_curves,
    draw_network,
    facts_of,
    keep_extractor,
    write_answers,
    write_origins,
    write_results,
)
from bccli.core.training.tensorboard import FOLDER, EventFile

# So many images are answered at a time.
_BATCH = 64

# The deviation of a feature counts as no smaller than this share of the mean one: a filter that is nearly
# always silent in train must not shout in test.
_QUIETEST = 0.01

# And as no smaller than this share of its own mean: what varies less is as much rounding as signal, and
# LiteRT rounds otherwise than Keras.
_STEADIEST = 1e-3


@dataclass(frozen=True)
class Material:
    """The images of a job as bags: `parts` and `labels` (images,) are theirs, `images` their patches."""

    job: Job
    images: Images
    inputs: BagInputs
    parts: np.ndarray
    labels: np.ndarray
    patch: PatchNetwork

    def bag(self, image: int, view: int = 0) -> Bag:
        """One image, or a view of it."""
        features = self.inputs.values[self.inputs.rows(image, view)]
        members = self.inputs.grouping.of(image).tolist()
        places = np.array([place_of(self.images.samples[member]) for member in members])
        return Bag(features, self.patch.head(features), places)

    @property
    def geometry(self) -> Geometry:
        """What classified ways make their vectors by."""
        patches = self.job.dataset.preparation.patches
        assert patches is not None
        of_train = self.inputs.grouping.members[self.parts == TRAIN]
        return Geometry(int((of_train >= 0).sum(axis=1).max()), patches.stride)


@dataclass(frozen=True)
class Learned:
    """A way to fuse after training: the fuser, what is stored of it, and its Keras layers."""

    fuser: Fuser
    stored: Stored
    layers: Sequence[Any] = ()
    parameters: int = 0
    progress: Progress | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def fuse(job: Job, run: Run, context: RunContext, models: ModelCache | None = None) -> Run:
    """Learn to fuse the patches of a job's images, and complete the run.

    Raises DataError where the patch run does not fit the data, and what `Fit.run` raises.
    """
    watcher, design = context.watcher, job.design
    assert design.fusing is not None
    used = np.flatnonzero(job.split_codes >= 0)
    images = context.open_images(job.dataset.root, [job.dataset.samples[place] for place in used])
    base = load_run(design.fusing.base)
    check_base(base, job, images.size, watcher)
    grouping = group(images.samples, job.split_codes[used])
    tf = backend.start(context.device, verbose=context.verbose)
    import keras

    watcher.note(
        f"bccli {bccli.__version__} train {design.head.kind} over {design.backbone}: TensorFlow "
        f"{tf.__version__} on {backend.describe_device(tf)}, {len(grouping.keys)} images of "
        f"{job.dataset.root} and the features of {base.root} → {run.root}"
    )
    keras.backend.clear_session()
    keras.utils.set_random_seed(design.schedule.seed)
    patch = load_patch_network(base)
    values, first = _features(job, images, job.split_codes[used], patch, context)
    inputs = BagInputs(values, grouping, first, design.views or 1, design.schedule.seed)
    labels = np.array([job.dataset.classes.index(images.samples[place].label) for place in grouping.first])
    material = Material(job, images, inputs, job.split_codes[used][grouping.first], labels, patch)
    way = FUSIONS[design.head.kind]
    learned = _LEARNERS[type(way)](way, material, run, context)
    return _finish(material, learned, run, context)


def _features(
    job: Job, images: Images, parts: np.ndarray, patch: PatchNetwork, context: RunContext
) -> tuple[np.ndarray | StoredFeatures, np.ndarray | None]:
    """A row of features per patch and behind them those of children, and the row of each patch's first."""

    def features(source: ImageSource) -> np.ndarray | StoredFeatures:
        return compute_features(source, patch.extractor, patch.key, job.cache, watcher=context.watcher)

    return with_augmented_copies(job.design, images, parts, context.workers, features)


def _follow(way: Rule, material: Material, run: Run, context: RunContext) -> Learned:
    """A rule needs nothing."""
    return Learned(way, _stored(material))


def _stored(material: Material, **learned: Any) -> Stored:
    return Stored(material.job.design.head.kind, material.patch.head, material.geometry, **learned)


def _classify(way: Classified, material: Material, run: Run, context: RunContext) -> Learned:
    """Fit a classifier to the vectors of train; who may not be separated stays together."""
    from bccli.core.classifiers.fitting import fit_classifier
    from bccli.core.classifiers.models import save_classifier

    schedule, geometry = material.job.design.schedule, material.geometry
    several, labels, groups = [], [], []
    for image in np.flatnonzero(material.parts == TRAIN).tolist():
        owner = material.images.samples[material.inputs.grouping.first[image]].owner
        for view in range(1, material.inputs.views + 1) if material.inputs.first is not None else (0,):
            vectors = way.vectors(material.bag(image, view), geometry)
            several.append(vectors)
            labels += [material.labels[image]] * len(vectors)
            groups += [owner] * len(vectors)
        interruption.stop_if_requested()
    context.watcher.note(f"fitting {way.kind} to {len(labels)} vectors of {several[0].shape[1]} numbers")
    classifier = fit_classifier(
        way.kind, np.concatenate(several), np.array(labels), len(material.job.dataset.classes),
        seed=schedule.seed, class_weights=schedule.class_weights, groups=groups,
    )  # fmt: skip
    save_classifier(run.root / CLASSIFIER, classifier)
    return Learned(way.fuser(classifier, geometry), _stored(material))


def _train(way: Network, material: Material, run: Run, context: RunContext) -> Learned:
    """Train a network, as any other."""
    import keras

    design, inputs = material.job.design, material.inputs
    classes, head = len(material.job.dataset.classes), design.head
    sizes = head.dense
    network = way.build(inputs.values.shape[1], sizes, head.dropout, units(head.output, classes))
    standardise_by(network, *_statistics(material))
    examples = Examples(
        inputs, material.labels, classes,
        np.flatnonzero(material.parts == TRAIN), np.flatnonzero(material.parts == VAL), design.augment_val,
    )  # fmt: skip
    fit = Fit(
        network, examples, design.schedule, run.root / STATE,
        watcher=context.watcher, on_state=Curves(run.root),
        on_epoch=EventFile(run.root / FOLDER) if context.tensorboard else None,
    )  # fmt: skip
    try:
        fit.run()
    except DivergedError as error:
        raise DivergedError(f"{run.root}: {error}", error.kept_epoch) from None
    arrays = way.arrays(network)
    fuser = way.fuser(arrays, len(sizes), head.output)
    _check(fuser, fit, material)
    whole = keras.Model(network.input, OUTPUTS[head.output](network.output), name="fusion")
    with replacing_file(run.root / "fusion.keras") as temporary:
        whole.save(temporary)
    stored = _stored(material, arrays=arrays, layers=len(sizes), output=head.output)
    facts = {"kept_epoch": fit.progress.kept_epoch, "epochs_trained": fit.progress.epoch}
    return Learned(fuser, stored, whole.layers, int(whole.count_params()), fit.progress, facts)


def _statistics(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (width,) of the features of train's patches, read a chunk at a time."""
    members = material.inputs.grouping.members[material.parts == TRAIN]
    rows = members[members >= 0]
    values, width = material.inputs.values, material.inputs.values.shape[1]
    sums, squares = np.zeros(width), np.zeros(width)
    chunks = np.array_split(rows, -(-len(rows) // CHUNK))
    for chunk in chunks:
        sums += values[chunk].sum(axis=0, dtype=np.float64)
    mean = sums / len(rows)
    for chunk in chunks:
        squares += ((values[chunk] - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / len(rows))
    deviation = np.maximum(deviation, np.maximum(_QUIETEST * deviation.mean(), _STEADIEST * np.abs(mean)))
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)


def _check(fuser: Fuser, fit: Fit, material: Material) -> None:
    """What predict computes is what was trained. Raises TrainingError."""
    few = np.unique(np.linspace(0, len(material.labels) - 1, _BATCH).astype(int))
    expected = fit.predict(few)
    found = fuser([material.bag(image) for image in few.tolist()])
    if (difference := largest_difference(found, expected)) > TOLERANCE:
        raise TrainingError(
            f"the fusion in NumPy differs from Keras's by {difference:.1e}; try a smaller --lr"
        )


_LEARNERS: dict[type, Callable[..., Learned]] = {Rule: _follow, Classified: _classify, Network: _train}


def _finish(material: Material, learned: Learned, run: Run, context: RunContext) -> Run:
    """Answer for images and patches, measure, draw, export, and complete the run."""
    job, patch = material.job, material.patch
    grouping, samples = material.inputs.grouping, material.images.samples
    answers = list(_answers(material, learned.fuser))
    fused = np.concatenate([of_images for of_images, _ in answers])
    patches = np.empty((len(samples), fused.shape[1]))
    of_patches = (rows for _, several in answers for rows in several)
    for image, rows in enumerate(of_patches):
        patches[grouping.of(image)] = rows
    images = [
        replace(samples[place], path=key, row=None, col=None)
        for key, place in zip(grouping.keys, grouping.first.tolist(), strict=True)
    ]
    of_patch = np.empty(len(samples), int)
    for image, part in enumerate(material.parts.tolist()):
        of_patch[grouping.of(image)] = part
    write_answers(run.root / "predictions.csv", images, material.parts, fused, job.dataset.classes)
    write_answers(run.root / "patches.csv", samples, of_patch, patches, job.dataset.classes)
    learned.stored.write(run.root)
    kept = keep_extractor(run.root, patch.extractor, material.images, context.watcher)
    write_origins(job, run)
    protocol = job.dataset.info["protocol"]
    of_samples = np.array([job.dataset.classes.index(sample.label) for sample in samples])
    facts = {
        **facts_of(job, run.root),
        "recipe": context.recipe or None,
        "size": list(material.images.size),
        "images": len(images),
        "parameters": int(patch.extractor.count_params()) + learned.parameters,
        **kept,
        "patches": accuracies(patches.argmax(axis=1) == of_samples, samples, of_patch, protocol),
        **accuracies(fused.argmax(axis=1) == material.labels, images, material.parts, protocol),
        **learned.facts,
    }
    write_results(Run(run.root, {**run.info, **facts}))
    if learned.progress:
        draw_curves(run.root, learned.progress)
    draw_network(run.root, [*patch.extractor.layers, *learned.layers])
    return complete_run(run, facts)


def _answers(material: Material, fuser: Fuser) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Probabilities (n, classes) of some images, and (patches, classes) of each one's patches."""
    for start in range(0, len(material.labels), _BATCH):
        images = range(start, min(start + _BATCH, len(material.labels)))
        bags = [material.bag(image) for image in images]
        yield fuser(bags), [bag.probabilities for bag in bags]
        interruption.stop_if_requested()
