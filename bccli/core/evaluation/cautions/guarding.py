"""Learning what images of train are like, so that `predict` can say which ones are not."""

import io
from collections.abc import Sequence

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import pixels_of
from bccli.core.data.manifest import Sample
from bccli.core.data.patients import known_patient
from bccli.core.errors import BccliError, DataError
from bccli.core.evaluation.cautions.run_dataset import dataset_of, some_of
from bccli.core.metrics.decisions.likeness import FEWEST, Likeness, Points, learn_likeness
from bccli.core.models.runtimes import Network, start_engine
from bccli.core.prediction.maps.features import features_of, points_of
from bccli.core.runs.locks import locked
from bccli.core.runs.run_folder import UNLIKE_FILE, Run, load_run, replace_file
from bccli.core.runs.training_images import training_images_of

MOST_OF_TRAIN, MOST_OF_VAL, _STEP = 2_000, 1_000, 8


def store_guard(run: Run) -> str:
    """Store with a run what its images of train are like; why there is nothing to store, else nothing."""
    try:
        dataset = dataset_of(run)
        dataset.require_images()
    except DataError as error:
        return str(error)
    try:
        features = features_of(run, start_engine("cpu", tflite=True))
        if features is None:
            return "it is not a single network on whole images, or has no .tflite."
        learned = _learned(run, dataset, features)
    except (BccliError, OSError) as error:
        return f"{error}."
    if learned is None:
        return f"it takes {FEWEST} known patients in val."
    stream = io.BytesIO()
    np.savez(stream, **learned.to_arrays())  # type: ignore[arg-type]
    with locked(run.root):
        replace_file(load_run(run.root), UNLIKE_FILE, stream.getvalue())
    return ""


def _learned(run: Run, dataset: Dataset, features: Network) -> Likeness | None:
    by_path = {sample.path: sample for sample in dataset.samples}
    used: dict[str, list[Sample]] = {"train": [], "val": []}
    for image in training_images_of(run):
        if (sample := by_path.get(image.sample.path)) and not sample.parent:
            used[image.split].append(sample)
    train, val = some_of(used["train"], MOST_OF_TRAIN), some_of(used["val"], MOST_OF_VAL)
    patients = [known_patient(sample.patient) for sample in val]
    if len(train) < FEWEST or len(set(patients) - {""}) < FEWEST or not all(patients):
        return None
    return learn_likeness(_points(dataset, train, features), _points(dataset, val, features), patients)


def _points(dataset: Dataset, samples: Sequence[Sample], features: Network) -> Points:
    found = []
    for start in range(0, len(samples), _STEP):
        batch = [pixels_of(dataset.root, sample) for sample in samples[start : start + _STEP]]
        found.append(points_of(features, np.stack(batch)))
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
