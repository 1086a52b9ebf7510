"""From patches to images and patients: rows of predictions that belong together become one."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from operator import lt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bccli.core.errors import DataError, UsageError
from bccli.core.runs.predictions import Predictions

Integers = NDArray[np.int64]


def has_several_per_image(predictions: Predictions) -> bool:
    """Whether several rows of a split are of one image, as they are where images were cut into patches."""
    keys = list(zip(image_keys(predictions), predictions.splits, strict=True))
    return len(set(keys)) < len(keys)


def holds_patches(predictions: Predictions) -> bool:
    """Whether rows say where in an image they lie, and several are of one image."""
    corners = (predictions.further.get(name, ()) for name in ("row", "col"))
    return all(any(values) for values in corners) and has_several_per_image(predictions)


def repeats(predictions: Predictions) -> bool:
    """Whether an image is there several times in a split, as it is in repeated folds."""
    keys = list(zip(predictions.paths, predictions.splits, strict=True))
    return len(set(keys)) < len(keys)


def refuse_contradictions(predictions: Predictions, where: str, *, labels: bool = True) -> None:
    """Raises DataError where rows of one image have different patients, or different `labels`."""
    names = [predictions.classes[number] for number in predictions.labels.tolist()]
    for what, values in (("patient", predictions.patients), *([("label", names)] if labels else ())):
        found: dict[str, str] = {}
        for key, value in zip(image_keys(predictions), values, strict=True):
            if (before := found.setdefault(key, value)) != value:
                raise DataError(
                    f"{where}: rows of the image {key} have the {what} {before or 'unknown'} and the {what} "
                    f"{value or 'unknown'}; correct them, or name its image in the column source of each row"
                )


def in_order(predictions: Predictions) -> Predictions:
    """The predictions sorted by what names a row of a table: in whatever order it has them, the last digit of
    a sum is the same, and so is what is drawn."""
    paths = predictions.paths
    if all(map(lt, paths, islice(paths, 1, None))):
        return predictions
    keys: Sequence[Any] = paths
    if len(set(paths)) < len(paths):
        corners = (predictions.further.get(name) for name in ("fold", "row", "col"))
        keys = list(zip(paths, *filter(None, (predictions.splits, *corners)), strict=True))
    return predictions.taken(np.array(sorted(range(len(keys)), key=lambda index: keys[index]), np.int64))


def with_owners(predictions: Predictions, *, several_per_image: bool) -> Predictions:
    """The predictions with the numbers of what may not be separated when intervals draw again.

    That is a patient; an image of an unknown one, with all its rows; and what the column `group` joins. They
    are numbered by their names: known patients first, then images.
    """
    own = _known(predictions.patients)
    unknown = np.flatnonzero(own < 0)
    if len(unknown):
        images = image_keys(predictions) if several_per_image else predictions.paths
        own[unknown] = own.max() + 1 + _numbered([images[index] for index in unknown.tolist()])
    groups = predictions.further.get("group", ())
    if any(groups):
        joint_groups = joined([own, _known(groups)])
        first = np.full(len(own), own.max() + 1)
        np.minimum.at(first, joint_groups, own)
        own = first[joint_groups]
    return replace(predictions, owners=own)


def drawn_again(predictions: Predictions) -> str:
    """What the numbers of `with_owners` are, in words."""
    patients = set(predictions.patients)
    grouped = any(predictions.further.get("group", ()))
    if patients <= {""}:
        return f"{'groups of like images' if grouped else 'images'}, as patients are unknown"
    words = "patients, and each image of an unknown one" if "" in patients else "patients"
    return f"{words}; those who share pictures count as one" if grouped else words


def joined(columns: Iterable[Integers]) -> Integers:
    """Numbers (n,) of rows that share a number in any of the columns (n,), directly or through others.

    Numbers below zero are shared with nobody.
    """
    columns = list(columns)
    owners = np.arange(len(columns[0]))
    while True:
        before = owners
        for column in columns:
            known = column >= 0
            least = np.full(int(column.max(initial=-1)) + 1, len(owners))
            np.minimum.at(least, column[known], owners[known])
            owners = owners.copy()
            owners[known] = least[column[known]]
        if (owners == before).all():
            return owners


def _numbered(names: Sequence[str]) -> Integers:
    """The ranks of names (n,) among all of them, sorted."""
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.fromiter(map(numbers.__getitem__, names), np.int64, len(names))


def _known(names: Sequence[str]) -> Integers:
    """The same of those that are known, -1 for an empty one, which is sorted first."""
    return _numbered(names) - ("" in names)


def merged_in_words(
    rows: Predictions,
    units: Predictions,
    level: str,
    *,
    several_per_image: bool,
    patches: bool,
    largest_of: str | None = None,
) -> str | None:
    """What became one case, such as "24 patches of 2 images"; None where nothing did.

    Also that an image has the largest probability `largest_of` a class, where it has.
    """
    if level == "patch" or len(rows) == len(units):
        return None
    one = "patches" if several_per_image and patches else "predictions" if several_per_image else "images"
    largest = f"; an image has the largest p_{largest_of} of its {one}"
    said = largest if largest_of and several_per_image else ""
    return f"{len(rows):,} {one} of {len(units):,} {words_of_level(level)}{said}"


def words_of_level(level: str | None) -> str:
    """What the cases of a level are called, such as `images`."""
    return "patches" if level == "patch" else f"{level or 'image'}s"


def at_level(
    predictions: Predictions,
    level: str,
    *,
    several_per_image: bool,
    positive: str | None = None,
    largest_of: str | None = None,
) -> Predictions:
    """The predictions of one split with a row per image, patch or patient, whose key is its path.

    `several_per_image` says that rows of one image are merged, as patches are. An image's probabilities are
    the mean over its patches, a patient's the mean over all of the patient's rows; without probabilities the
    most frequent class is predicted. With `largest_of`, a class, an image has those of the patch to which
    that class is the most probable, and a patient the mean over images. A patient of several classes has the
    gravest of them: the positive one of two, else the last in clinical order. An image of an unknown patient
    is a patient of its own. Raises UsageError where there are no patches.
    """
    if level == "patch":
        if not several_per_image:
            raise UsageError("--level patch: these are whole images; leave the option out")
        return predictions
    if largest_of is not None and several_per_image:
        predictions, several_per_image = _with_largest(predictions, largest_of), False
    if level == "image" and not several_per_image:
        return predictions
    images = image_keys(predictions) if several_per_image else predictions.paths
    if level == "image":
        return _merged(predictions, images, severe=severest(predictions.classes, positive))
    known = np.array([bool(patient) for patient in predictions.patients], bool)
    names = np.where(known, np.array(predictions.patients, object), np.array(images, object))
    severe = severest(predictions.classes, positive)
    return _merged(predictions, names.tolist(), apart=known.tolist(), severe=severe)


def _with_largest(patches: Predictions, name: str) -> Predictions:
    """A row per image, with the probabilities of the patch to which the class of this name is the most
    probable; an image is of that class where one of its patches is."""
    number, keys = patches.classes.index(name), image_keys(patches)
    images = _merged(patches, keys, severe=number)
    if patches.probabilities is None:
        return images
    members = group_rows(keys)[1]
    order = np.lexsort((patches.probabilities[:, number], members))
    last = np.cumsum(np.bincount(members, minlength=len(images))) - 1
    probabilities = patches.probabilities[order[last]]
    return replace(images, probabilities=probabilities, predicted=probabilities.argmax(axis=1))


def severest(classes: Sequence[str], positive: str | None) -> int:
    """The number of the class that a case has if one of its images has it: the positive one of two, else
    the last."""
    return classes.index(positive) if len(classes) == 2 and positive in classes else len(classes) - 1


def gravest_labels(labels: Integers, units: Integers, count: int, severe: int) -> Integers:
    """The gravest label of each unit (m,), where `severe` is the gravest class."""
    ranks = np.where(labels == severe, np.iinfo(np.int64).max, labels)
    found = np.full(count, -1)
    np.maximum.at(found, units, ranks)
    return np.where(found == np.iinfo(np.int64).max, severe, found)


def vote(patches: Predictions) -> Predictions:
    """A row per image, labelled by the majority of its patches, and at ties by their mean probability."""
    images = _merged(patches, image_keys(patches))
    counts = _counts(group_rows(image_keys(patches))[1], patches.predicted, len(patches.classes))
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
    """What all patches of an image have in common: its source, and the number of its augmented copy."""
    sources = predictions.sources or ("",) * len(predictions)
    copies = predictions.further.get("variant") or ("",) * len(predictions)
    return [image_key(*row) for row in zip(sources, copies, predictions.paths, strict=True)]


def image_key(source: str, copy: str, path: str) -> str:
    """The name of the image that a patch is of, or that an image is itself where its source is unknown."""
    return f"{source}#{copy}" if source and copy not in ("", "0") else source or path


def group_rows(keys: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each key, in order of appearance, and the number of each row's key."""
    numbers: dict[Hashable, int] = {}
    members = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    return np.unique(members, return_index=True)[1], members


def _counts(members: np.ndarray, columns: np.ndarray, width: int) -> np.ndarray:
    count = int(members.max(initial=-1)) + 1
    return np.bincount(members * width + columns, minlength=count * width).reshape(count, width)


def _merged(
    predictions: Predictions,
    keys: Sequence[str],
    *,
    apart: Sequence[bool] | None = None,
    severe: int | None = None,
) -> Predictions:
    """A row for each key, with what its first row says of split, patient and further columns.

    Rows that differ in `apart` are not merged though their keys are equal: a patient and an image of an
    unknown one may have the same number.
    """
    first, members = group_rows(keys if apart is None else list(zip(keys, apart, strict=True)))
    mask = np.zeros(len(predictions), bool)
    mask[first] = True
    severe = len(predictions.classes) - 1 if severe is None else severe
    labels = gravest_labels(predictions.labels, members, len(first), severe)
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
        paths=tuple(keys[index] for index in first.tolist()),
    )
