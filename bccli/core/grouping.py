"""From patches to images and patients: rows of predictions that belong together become one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bccli.core.errors import UsageError
from bccli.core.predictions import Predictions

LEVELS = ("image", "patch", "patient")


def holds_pieces(predictions: Predictions) -> bool:
    """Whether several rows of a split are of one image, as they are where images were cut into patches."""
    keys = list(zip(image_keys(predictions), predictions.splits, strict=True))
    return len(set(keys)) < len(keys)


def at_level(predictions: Predictions, level: str, *, pieces: bool) -> Predictions:
    """The predictions of one split with a row per image, patch or patient, whose key is its path.

    `pieces` says that rows are patches. An image's probabilities are the mean over its patches, a patient's
    the mean over all of the patient's rows; without probabilities the most frequent class is predicted. A
    patient of several classes has the last of them, the most serious one in clinical order. An image of an
    unknown patient is a patient of its own. Raises UsageError where there are no patches.
    """
    if level == "patch":
        if not pieces:
            raise UsageError("--level patch: these are whole images; leave the option out")
        return predictions
    if level == "image" and not pieces:
        return predictions
    images = image_keys(predictions) if pieces else predictions.paths
    if level == "image":
        return _merged(predictions, images)
    return _merged(
        predictions, [who or image for who, image in zip(predictions.patients, images, strict=True)]
    )


def vote(pieces: Predictions) -> Predictions:
    """A row per image, decided by the majority of its patches, ties by their mean probability."""
    images = _merged(pieces, image_keys(pieces))
    counts = _counts(_places(image_keys(pieces))[1], pieces.predicted, len(pieces.classes))
    ties = counts if images.probabilities is None else counts + images.probabilities / 2
    return replace(images, predicted=ties.argmax(axis=1))


def mixed_patients(predictions: Predictions) -> int:
    """How many patients have images of several classes."""
    classes: dict[str, set[int]] = {}
    for patient, label in zip(predictions.patients, predictions.labels.tolist(), strict=True):
        if patient:
            classes.setdefault(patient, set()).add(label)
    return sum(len(labels) > 1 for labels in classes.values())


def image_keys(predictions: Predictions) -> list[str]:
    """What all patches of an image have in common: its source, and for augmented ones their variant."""
    sources = predictions.sources or ("",) * len(predictions)
    variants = predictions.traits.get("variant") or ("",) * len(predictions)
    return [image_key(*row) for row in zip(sources, variants, predictions.paths, strict=True)]


def image_key(source: str, variant: str, path: str) -> str:
    """The name of the image that a patch is of, or that an image is itself where its source is unknown."""
    return f"{source}#{variant}" if source and variant not in ("", "0") else source or path


def _places(keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each key, in order of appearance, and the number of each row's key."""
    numbers: dict[str, int] = {}
    members = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    return np.unique(members, return_index=True)[1], members


def _counts(members: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
    count = int(members.max(initial=-1)) + 1
    return np.bincount(members * width + columns, minlength=count * width).reshape(count, width)


def _merged(predictions: Predictions, keys: Sequence[str]) -> Predictions:
    """A row for each key, with what its first row says of split, patient and traits."""
    first, members = _places(keys)
    mask = np.zeros(len(predictions), bool)
    mask[first] = True
    labels = np.zeros(len(first), np.int64)
    np.maximum.at(labels, members, predictions.labels)
    probabilities = None
    if predictions.probabilities is None:
        predicted = _counts(members, predictions.predicted, len(predictions.classes)).argmax(axis=1)
    else:
        sizes = np.bincount(members, minlength=len(first))
        probabilities = np.stack(
            [np.bincount(members, column, len(first)) / sizes for column in predictions.probabilities.T],
            axis=1,
        )
        predicted = probabilities.argmax(axis=1)
    return replace(
        predictions.where(mask),
        labels=labels,
        predicted=predicted,
        probabilities=probabilities,
        paths=tuple(keys[place] for place in first.tolist()),
    )
