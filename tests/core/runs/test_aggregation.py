"""Patches become images, images become patients."""

import numpy as np
import pytest

from bccli.core.errors import UsageError
from bccli.core.runs.aggregation import at_level, has_several_per_image, mixed_patients, vote
from bccli.core.runs.predictions import Predictions


def patches(**changes) -> Predictions:
    """Two images of patient p with three patches each, and one of an unknown patient with one."""
    positive = np.array([0.9, 0.45, 0.45, 0.2, 0.8, 0.6, 0.7])
    values = {
        "classes": ("a", "b"),
        "splits": ("test",) * 7,
        "patients": ("p",) * 6 + ("",),
        "labels": np.array([1, 1, 1, 0, 0, 0, 1]),
        "predicted": (positive > 0.5).astype(int),
        "probabilities": np.stack([1 - positive, positive], axis=1),
        "paths": tuple(f"{k}.png" for k in range(7)),
        "sources": ("x", "x", "x", "y", "y", "y", "z"),
        "further": {"magnification": ("40",) * 3 + ("100",) * 4},
    }
    return Predictions(**{**values, **changes})


def test_an_image_has_the_mean_of_its_patches():
    images = at_level(patches(), "image", several_per_image=True)
    assert images.paths == ("x", "y", "z")
    assert images.probabilities[:, 1] == pytest.approx([0.6, 1.6 / 3, 0.7])
    assert images.labels.tolist() == [1, 0, 1]
    assert images.predicted.tolist() == [1, 1, 1]
    assert images.further["magnification"] == ("40", "100", "100")


def test_an_image_has_the_largest_of_its_patches_where_that_is_asked_for():
    images = at_level(patches(), "image", several_per_image=True, largest_of="b")
    assert images.paths == ("x", "y", "z")
    assert images.probabilities[:, 1].tolist() == [0.9, 0.8, 0.7]
    assert images.probabilities.sum(axis=1) == pytest.approx([1, 1, 1])
    assert images.predicted.tolist() == [1, 1, 1]
    patients = at_level(patches(), "patient", several_per_image=True, largest_of="b")
    assert patients.patients == ("p", "")
    assert patients.probabilities[:, 1] == pytest.approx([(0.9 + 0.8) / 2, 0.7])


def test_one_patch_of_the_class_is_enough_whichever_is_positive():
    labels = np.array([0, 0, 1, 0, 0, 0, 1])
    images = at_level(patches(labels=labels), "image", several_per_image=True, positive="a", largest_of="b")
    assert images.labels.tolist() == [1, 0, 1]
    shuffled = patches().taken(np.array([6, 5, 0, 3, 1, 4, 2]))
    images = at_level(shuffled, "image", several_per_image=True, largest_of="b")
    assert dict(zip(images.paths, images.probabilities[:, 1].tolist(), strict=True)) == {
        "z": 0.7, "y": 0.8, "x": 0.9,
    }  # fmt: skip


def test_a_majority_of_patches_can_say_otherwise_and_ties_go_by_probability():
    assert vote(patches()).predicted.tolist() == [0, 1, 1]
    tied = patches().where(np.array([1, 1, 0, 1, 1, 0, 0], bool))
    assert vote(tied).predicted.tolist() == [1, 0]  # means 0.675 and 0.5, of which the first class is taken


def test_a_patient_has_the_mean_of_all_and_the_most_serious_label():
    patients = at_level(patches(), "patient", several_per_image=True)
    assert patients.patients == ("p", "")
    assert patients.labels.tolist() == [1, 1]
    assert patients.probabilities[0, 1] == pytest.approx(3.4 / 6)
    assert mixed_patients(patches()) == 1


def test_children_of_an_image_are_images_of_their_own():
    variants = ("0", "0", "1", "0", "0", "0", "0")
    images = at_level(patches(further={"variant": variants}), "image", several_per_image=True)
    assert images.paths == ("x", "x#1", "y", "z")


def test_without_probabilities_the_most_frequent_class_counts():
    images = at_level(patches(probabilities=None), "image", several_per_image=True)
    assert images.predicted.tolist() == [0, 1, 1]
    assert images.probabilities is None


def test_whole_images_have_no_patches():
    assert has_several_per_image(patches())
    whole = patches(sources=())
    assert not has_several_per_image(whole)
    assert at_level(whole, "image", several_per_image=False) is whole
    with pytest.raises(UsageError, match="whole images"):
        at_level(whole, "patch", several_per_image=False)
    assert at_level(patches(), "patch", several_per_image=True).paths == patches().paths
