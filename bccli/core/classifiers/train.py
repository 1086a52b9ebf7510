"""Training a run of kind classifier: it is fitted to features of a frozen backbone or to visual words."""

from typing import Any

import numpy as np

import bccli
from bccli.core import interruption
from bccli.core.classifiers.fitting import fit_classifier
from bccli.core.classifiers.models import Classifier, save_classifier
from bccli.core.classifiers.visual_words import learn_vocabulary, load_vocabulary, save_vocabulary
from bccli.core.data.image_batches import Images
from bccli.core.data.split_codes import TRAIN
from bccli.core.errors import DataError
from bccli.core.metrics.overfitting import accuracies
from bccli.core.models import backend
from bccli.core.runs.run_folder import CLASSIFIER_FILE, PREDICTIONS_FILE, VOCABULARY_FILE, Run, complete_run
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import WORDS, Job
from bccli.core.training.features import CHUNK, FeatureKey, compute_vectors
from bccli.core.training.frozen.sources import FeatureSource, SourceData, source_of
from bccli.core.training.live_augmentation import with_augmented_copies
from bccli.core.training.network import RunContext, images_of
from bccli.core.training.run_contents import (
    facts_of,
    write_answers,
    write_origins,
    write_results,
)
from bccli.core.vectors.contents import Rows

# What fits the words of a bag: it wants no more examples than there are images.
_OF_WORDS = "svm"


def classify(job: Job, run: Run, context: RunContext, models: ModelCache | None = None) -> Run:
    """Fit a classifier to the features of a job's images, and complete the run.

    Raises DataError where a class has too few images.
    """
    design = job.design
    used = np.flatnonzero(job.split_codes >= 0)
    samples = [job.dataset.samples[index] for index in used]
    images = images_of(job, samples, context)
    split_codes = job.split_codes[used]
    if design.classifier == WORDS:
        extractor = _learn_words(job, images, split_codes, run, context)
    else:
        extractor = _open_source(job, SourceData(run, images, split_codes, context, models))
    values, first = with_augmented_copies(design, images, split_codes, context.workers, extractor.compute)
    interruption.stop_if_requested()
    classifier = _fit(job, images, split_codes, values, first, context)
    interruption.stop_if_requested()
    chunks = (
        np.arange(start, min(start + CHUNK, len(split_codes))) for start in range(0, len(split_codes), CHUNK)
    )
    answers = np.concatenate([classifier.probabilities(values[chunk]) for chunk in chunks])
    write_answers(run.root / PREDICTIONS_FILE, images.samples, split_codes, answers, job.dataset.classes)
    stored: dict[str, Any] = {"network_kept": False}
    if context.save_network:
        save_classifier(run.root / CLASSIFIER_FILE, classifier)
        stored = extractor.store(run.root)
    write_origins(job, run)
    labels = np.array([job.dataset.classes.index(sample.label) for sample in images.samples])
    facts = {
        **facts_of(job, run.root),
        "recipe": context.recipe or None,
        "size": list(images.size),
        "parameters": _parameters(extractor, classifier),
        "fitted": dict(classifier.settings),
        **extractor.facts,
        **stored,
        **accuracies(
            answers.argmax(axis=1) == labels, images.samples, split_codes, job.dataset.info.protocol
        ),
    }
    write_results(run.with_facts(**facts))
    return complete_run(run, facts)


def _parameters(source: FeatureSource, classifier: Classifier) -> int | None:
    own = sum(array.size for array in classifier.arrays.values())
    return None if source.parameters is None else source.parameters + own


def _open_source(job: Job, data: SourceData) -> FeatureSource:
    """The features of the backbone, or of several that are joined."""
    watcher, design = data.context.watcher, job.design
    by = ""
    if design.extracts_by_keras:
        tf = data.context.start_tensorflow()
        by = f"TensorFlow {tf.__version__} on {backend.describe_device(tf)}"
    source = source_of(job, data)
    watcher.note(
        f"bccli {bccli.__version__} train {design.classifier} on {job.backbone.name}: "
        f"{by or source.description}, {job.dataset.root} → {data.run.root}"
    )
    return source


def _learn_words(
    job: Job, images: Images, split_codes: np.ndarray, run: Run, context: RunContext
) -> FeatureSource:
    """The words of train's images, learned once: a run that goes on finds them in its folder."""
    watcher = context.watcher
    watcher.note(f"bccli {bccli.__version__} train {WORDS}: {job.dataset.root} → {run.root}")
    path = run.root / VOCABULARY_FILE
    try:
        vocabulary = load_vocabulary(path)
    except DataError:
        watcher.note("learning the words of train's images")
        vocabulary = learn_vocabulary(images, np.flatnonzero(split_codes == TRAIN), job.design.schedule.seed)
        save_vocabulary(path, vocabulary)
    key = FeatureKey(WORDS, vocabulary.hash, "none", images.size, "words")
    return FeatureSource(
        lambda source: compute_vectors(source, vocabulary, key, job.cache, watcher=watcher),
        lambda root: {},  # they are in the run already
        vocabulary.centres.size,
    )


def _fit(
    job: Job,
    images: Images,
    split_codes: np.ndarray,
    values: Rows,
    first: np.ndarray | None,
    context: RunContext,
) -> Classifier:
    """Fit to train, or to its augmented copies; images that may not be separated stay in one fold."""
    design, watcher = job.design, context.watcher
    train, copies = np.flatnonzero(split_codes == TRAIN), design.views or 1
    origin = np.repeat(train, copies)
    rows = origin if first is None else first[origin] + np.tile(np.arange(copies), len(train))
    samples = [images.samples[index] for index in origin.tolist()]
    labels = np.array([job.dataset.classes.index(sample.label) for sample in samples])
    patients = {sample.patient for sample in samples if sample.patient}
    kind = _OF_WORDS if design.classifier == WORDS else design.classifier
    watcher.note(f"fitting {kind} to {len(labels)} vectors of {values.shape[1]} numbers")
    classifier = fit_classifier(
        kind, values[rows], labels, len(job.dataset.classes),
        seed=design.schedule.seed, class_weights=design.schedule.class_weights,
        groups=[sample.owner for sample in samples],
    )  # fmt: skip
    if patients and classifier.settings.get("folds") == "images":
        watcher.warn(
            f"train has too few patients of each class for {kind} to be tuned on whole ones; it was tuned on "
            "other images of the same patients"
        )
    return classifier
