"""Learning to fuse patches: a rule needs nothing, a classifier is fitted, a network is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.data.split_codes import TEST, TRAIN, VAL
from bccli.core.errors import DataError, DivergedError, TrainingError
from bccli.core.fusion.fusion_data import FusionData
from bccli.core.fusion.fusion_file import Stored
from bccli.core.fusion.methods import FUSIONS, Classified, Fuser, Geometry, Network, Rule
from bccli.core.metrics.watched_test import watched_test
from bccli.core.models.heads import OUTPUTS, units
from bccli.core.models.inference_mode import standardise_by
from bccli.core.models.tflite_export import TOLERANCE, largest_difference
from bccli.core.runs.run_folder import CLASSIFIER_FILE, FUSION_MODEL_FILE, STATE_FILE, Run
from bccli.core.training.heads.statistics import statistics
from bccli.core.training.loop import Examples, Fit, Progress
from bccli.core.training.network import RunContext
from bccli.core.training.run_contents import Curves
from bccli.core.training.tensorboard import FOLDER, EventFile
from bccli.core.weights.keras_saving import save_model

# The vectors of a classified way are held in memory, and again as float64 while it is fitted.
_ROOM = 1 << 32

# The network in NumPy is compared with Keras's on so many images.
_COMPARED = 64


@dataclass(frozen=True)
class Learned:
    """A way to fuse after training: the fuser, what is stored of it, and its Keras layers."""

    fuser: Fuser
    stored: Stored
    layers: Sequence[Any] = ()
    parameters: int = 0
    progress: Progress | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def learn(data: FusionData, run: Run, context: RunContext) -> Learned:
    """Learn the way to fuse that a job's design names. Raises what `Fit.run` raises."""
    way = FUSIONS[data.job.design.head.kind]
    return _LEARNERS[type(way)](way, data, run, context)


def _follow(way: Rule, data: FusionData, run: Run, context: RunContext) -> Learned:
    """A rule needs nothing."""
    return Learned(way, _stored(data))


def _stored(data: FusionData, **learned: Any) -> Stored:
    return Stored(data.job.design.head.kind, data.patch.head, data.geometry, **learned)


def _classify(way: Classified, data: FusionData, run: Run, context: RunContext) -> Learned:
    """Fit a classifier to the vectors of train; those of one patient stay in one fold."""
    from bccli.core.classifiers.fitting import fit_classifier
    from bccli.core.classifiers.models import save_classifier

    schedule, geometry = data.job.design.schedule, data.geometry
    _check_room(way, data, geometry)
    several, labels, groups = [], [], []
    for image in np.flatnonzero(data.split_codes == TRAIN).tolist():
        owner = data.images[image].owner
        for copy in range(1, data.inputs.copies + 1) if data.inputs.first is not None else (0,):
            vectors = way.vectors(data.bag(image, copy), geometry)
            several.append(vectors)
            labels += [data.labels[image]] * len(vectors)
            groups += [owner] * len(vectors)
        interruption.stop_if_requested()
    context.watcher.note(f"fitting {way.kind} to {len(labels)} vectors of {several[0].shape[1]} numbers")
    classifier = fit_classifier(
        way.kind, np.concatenate(several), np.array(labels), len(data.job.dataset.classes),
        seed=schedule.seed, class_weights=schedule.class_weights, groups=groups,
    )  # fmt: skip
    save_classifier(run.root / CLASSIFIER_FILE, classifier)
    return Learned(way.fuser(classifier, geometry), _stored(data))


def _check_room(way: Classified, data: FusionData, geometry: Geometry) -> None:
    """Raises DataError where the vectors of train would not fit into memory."""
    width, train = data.inputs.values.shape[1], np.flatnonzero(data.split_codes == TRAIN).tolist()
    counts = [way.numbers(data.count(image), geometry) for image in train]
    total = sum(counts) * width * 4 * data.inputs.copies
    if total > _ROOM:
        raise DataError(
            f"--head {data.job.design.head.kind}: its vectors of {len(train)} images with up to "
            f"{geometry.patches:,} patches take {total:,} bytes; take --head attention, or a plain head on "
            "the mean of each"
        )


def _train(way: Network, data: FusionData, run: Run, context: RunContext) -> Learned:
    """Train a network, as any other."""
    import keras

    design, inputs = data.job.design, data.inputs
    classes, head = len(data.job.dataset.classes), design.head
    sizes = head.dense
    network = way.build(inputs.values.shape[1], sizes, head.dropout, units(head.output, classes))
    standardise_by(network, *_statistics(data))
    examples = Examples(
        inputs,
        data.labels,
        classes,
        np.flatnonzero(data.split_codes == TRAIN),
        np.flatnonzero(data.split_codes == VAL),
        design.augment_val,
        np.flatnonzero((data.split_codes == TEST) & design.watch_test),
    )
    fit = Fit(
        network, examples, design.schedule, run.root / STATE_FILE,
        watcher=context.watcher, on_state=Curves(run.root),
        on_epoch=EventFile(run.root / FOLDER) if context.tensorboard else None,
    )  # fmt: skip
    try:
        fit.run()
    except DivergedError as error:
        raise DivergedError(f"{run.root}: {error}", error.kept_epoch) from None
    arrays = way.arrays(network)
    fuser = way.fuser(arrays, len(sizes), head.output)
    _check(fuser, fit, data)
    whole = keras.Model(network.input, OUTPUTS[head.output](network.output), name="fusion")
    save_model(whole, run.root / FUSION_MODEL_FILE)
    stored = _stored(data, arrays=arrays, layers=len(sizes), output=head.output)
    facts = {
        "kept_epoch": fit.progress.kept_epoch,
        "epochs_trained": fit.progress.epoch,
        "watched_test": watched_test(fit.progress.history),
    }
    return Learned(fuser, stored, whole.layers, int(whole.count_params()), fit.progress, facts)


def _statistics(data: FusionData) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (width,) of the features of train's patches."""
    members = data.inputs.grouping.members[data.split_codes == TRAIN]
    return statistics(data.inputs.values, members[members >= 0])


def _check(fuser: Fuser, fit: Fit, data: FusionData) -> None:
    """Check that `predict` computes what was trained. Raises TrainingError where it does not."""
    few = np.unique(np.linspace(0, len(data.labels) - 1, _COMPARED).astype(int))
    expected = fit.predict(few)
    found = np.concatenate([fuser([data.bag(image)]) for image in few.tolist()])
    if (difference := largest_difference(found, expected)) > TOLERANCE:
        raise TrainingError(
            f"the fusion in NumPy differs from Keras's by {difference:.1e}; try a smaller --lr"
        )


_LEARNERS: dict[type, Callable[..., Learned]] = {Rule: _follow, Classified: _classify, Network: _train}
