"""Vectors and images: which belongs to which, what is missing, what is left over, what the numbers are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data.manifest import Sample
from bccli.core.errors import DataError
from bccli.core.imaging.preparation import Patches, Preparation
from bccli.core.vectors.contents import NamedVectors, SlideVectors
from bccli.core.vectors.matching import (
    DATASET_FACT,
    Match,
    extra_sentence,
    match_vectors,
    missing_counts,
    missing_sentence,
)
from bccli.core.vectors.quality import inspect
from bccli.core.vectors.sources import Vectors, open_vectors

HASH = "ab" * 32


@dataclass(frozen=True)
class Prepared:
    """As much of a dataset as vectors are matched with."""

    samples: tuple[Sample, ...]
    patches: bool = False
    root: Path = Path("data")
    hash: str = HASH
    preparation: Preparation = field(init=False)

    def __post_init__(self) -> None:
        steps = Preparation(None, Patches(8, 8) if self.patches else None)
        object.__setattr__(self, "preparation", steps)


def images(*sources: str, **more: str) -> Prepared:
    """A dataset whose images have these sources, and paths of their own."""
    return Prepared(
        tuple(
            Sample(path=f"images/{number}.png", source=source, **more)  # type: ignore[arg-type]
            for number, source in enumerate(sources)
        )
    )


def vectors(*names: str, **facts: Any) -> Vectors:
    """A vector (number, 1) for each name."""
    values = np.stack([np.arange(len(names)), np.ones(len(names))], axis=1).astype(np.float32)
    pixels = facts.pop("pixels", ())
    return Vectors(Path("v.h5"), 2, (NamedVectors(Path("v.h5"), names, values, facts, pixels),))


def matched(found: Vectors, dataset: Prepared) -> Match:
    return match_vectors(found, dataset)  # type: ignore[arg-type]


def numbers(match: Match) -> list[int]:
    """The number of the vector that each row has, -1 where it has none."""
    return [int(row) if file >= 0 else -1 for file, row in zip(match.files, match.rows, strict=True)]


@pytest.mark.parametrize(
    "names",
    [
        ("images/1.png", "images/0.png", "images/2.png"),
        ("a/two.tif", "a/one.tif", "b/three.tif"),
        ("./a/two.tif", "a\\one.tif", "b/three.tif"),
        ("/mnt/x/two.tif", "/mnt/x/one.tif", "/mnt/y/three.tif"),
        ("two", "one", "three"),
        ("x/two.png", "images/0.png", "b/three.tif"),
    ],
)
def test_images_are_told_by_path_source_or_name(names: tuple[str, ...]) -> None:
    match = matched(vectors(*names), images("a/one.tif", "a/two.tif", "b/three.tif"))
    assert numbers(match) == [1, 0, 2]
    assert (match.values()[np.array([1, 0])] == [[0, 1], [1, 1]]).all()
    assert extra_sentence(match) == ""


def test_names_with_dots_keep_them() -> None:
    found = matched(vectors("TCGA.1.x", "TCGA.2.x"), images("TCGA.2.x.svs", "TCGA.1.x.svs"))
    assert numbers(found) == [1, 0]


def test_what_follows_a_dot_is_a_part_of_a_name_unless_it_is_an_ending() -> None:
    found = matched(vectors("S1.1", "S2.1", "S3.2"), images("S1.1", "S2.1.svs", "S3.1"))
    assert numbers(found) == [0, 1, -1]
    assert found.extra == ("S3.2",)


@pytest.mark.parametrize("name", ["one", "one.svs", "one.ome.tif", "x/one.h5", "one.svs.pt"])
def test_endings_of_images_and_of_vectors_do_not_count(name: str) -> None:
    assert numbers(matched(vectors("two", name), images("a/one.ome.tif", "two.SVS"))) == [1, 0]


def test_a_name_that_is_not_unique_tells_nothing() -> None:
    found = matched(vectors("one", "two"), images("a/one.tif", "b/one.tif", "c/two.tif"))
    assert numbers(found) == [-1, -1, 1]
    assert found.extra == ("one",)
    found = matched(vectors("x/one.png", "y/one.png", "two"), images("a/one.tif", "c/two.tif"))
    assert numbers(found) == [-1, 2]


def test_an_augmented_copy_has_not_the_vector_of_its_original() -> None:
    samples = images("one.tif").samples
    copy = Sample(path="images/0-1.png", source="one.tif", parent="images/0.png", variant=1)
    assert numbers(matched(vectors("one.tif"), Prepared((*samples, copy)))) == [0, -1]
    found = matched(vectors("images/0-1.png", "images/0.png"), Prepared((*samples, copy)))
    assert numbers(found) == [1, 0]


def test_paths_of_another_dataset_are_other_images() -> None:
    dataset = images("one.tif", "two.tif", sha256="cd" * 32)
    own = vectors("images/0.png", "images/1.png", **{DATASET_FACT: HASH})
    assert numbers(matched(own, dataset)) == [0, 1]
    with pytest.raises(DataError, match="vectors of other images"):
        matched(vectors("images/0.png", "images/1.png", **{DATASET_FACT: "00" * 32}), dataset)
    same_pixels = vectors("images/7.png", "images/8.png", pixels=("ef" * 32, "cd" * 32), **{DATASET_FACT: ""})
    assert numbers(matched(same_pixels, dataset)) == [1, 1]


def test_vectors_of_other_images_are_named_with_ours() -> None:
    with pytest.raises(DataError, match=r"v.h5: has vectors of other images \('x.png', …\) than data "):
        matched(vectors("x.png"), images("one.tif"))


def test_what_is_missing_and_left_over_is_counted() -> None:
    dataset = images("1.tif", "2.tif", "3.tif", "4.tif", "5.tif", "6.tif")
    found = matched(vectors("1", "a", "b", "c", "d"), dataset)
    codes = np.array([0, 0, 0, 1, 2, -1])
    assert missing_counts(found, codes) == {"train": 2, "val": 1, "test": 1}
    assert missing_sentence(found, codes) == (
        "4 of 5 images have no vector in v.h5, and are left out (2 of train, 1 of val, 1 of test): "
        "2.tif, 3.tif, 4.tif, …"
    )
    assert extra_sentence(found) == "4 vectors in v.h5 belong to no image of the dataset: a, b, c, …"
    assert missing_sentence(found, np.array([0, -1, -1, -1, -1, -1])) == ""


@given(order=st.permutations(range(9)), dropped=st.sets(st.integers(0, 8), max_size=8))
def test_each_vector_finds_its_image(order: list[int], dropped: set[int]) -> None:
    names = [f"{number}.png" for number in order if number not in dropped]
    dataset = images(*(f"folder/{number}.tif" for number in range(9)))
    found = matched(vectors(*names), dataset)
    expected = [names.index(f"{number}.png") if number not in dropped else -1 for number in range(9)]
    assert numbers(found) == expected


# Slides


def write_slide(path: Path, values: np.ndarray, places: Sequence[tuple[int, int]] | None = None) -> None:
    with h5py.File(path, "w") as content:
        content["features"] = values
        if places is not None:
            content["coords"] = np.array(places, np.int64).reshape(-1, 2)


def test_a_row_without_patches_has_all_vectors_of_its_slide(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(8, 3)
    write_slide(tmp_path / "s1.h5", values[:5])
    write_slide(tmp_path / "s2.h5", values[5:])
    write_slide(tmp_path / "s3.h5", values[:0])
    found = matched(open_vectors(tmp_path), images("slides/s2.svs", "slides/s1.svs", "slides/s3.svs"))
    assert found.of_slides
    assert found.there.tolist() == [True, True, False]
    assert found.slide(0).name == "s2"
    means = found.values()[np.arange(3)]
    assert means[:2].tolist() == [values[5:].mean(axis=0).tolist(), values[:5].mean(axis=0).tolist()]
    assert np.isnan(means[2]).all()


def test_a_patch_is_told_by_its_slide_and_its_place(tmp_path: Path) -> None:
    write_slide(tmp_path / "s1.h5", np.array([[0, 1], [2, 3], [4, 5]]), [(8, 0), (0, 0), (0, 8)])
    write_slide(tmp_path / "s2.h5", np.array([[6, 7]]), [(0, 0)])
    places = [("s1.tif", 0, 0), ("s1.tif", 0, 8), ("s1.tif", 8, 8), ("s2.tif", 0, 0), ("s4.tif", 0, 0)]
    samples = tuple(
        Sample(path=f"{number}.png", source=source, row=row, col=col)
        for number, (source, row, col) in enumerate(places)
    )
    found = matched(open_vectors(tmp_path), Prepared(samples, patches=True))
    assert found.there.tolist() == [True, True, False, True, False]
    assert found.values()[np.array([3, 1, 0])].tolist() == [[6, 7], [0, 1], [2, 3]]
    assert extra_sentence(found).startswith("1 vectors in")
    write_slide(tmp_path / "s2.h5", np.array([[6, 7], [8, 9]]), [(0, 0), (0, 0)])
    with pytest.raises(DataError, match="two of its vectors are of the patch at 0,0"):
        matched(open_vectors(tmp_path), Prepared(samples, patches=True))
    write_slide(tmp_path / "s2.h5", np.array([[6, 7]]))
    with pytest.raises(DataError, match="does not say where its patches lie"):
        matched(open_vectors(tmp_path), Prepared(samples, patches=True))


# The numbers


def of_values(values: Sequence[Sequence[float]]) -> Match:
    names = tuple(f"{number}.png" for number in range(len(values)))
    array = np.array(values, np.float32)
    found = Vectors(Path("v.h5"), array.shape[1], (NamedVectors(Path("v.h5"), names, array),))
    return matched(found, images(*names))


def test_numbers_that_are_none_are_named_by_their_image() -> None:
    nan, inf = float("nan"), float("inf")
    with pytest.raises(
        DataError, match=r"v.h5: 2 of 3 vectors have values that are no finite numbers \(images/1.png, im"
    ):
        inspect(of_values([[1, 2], [nan, 2], [1, inf]]))


def test_columns_that_say_nothing_are_counted() -> None:
    found = inspect(of_values([[1, 2, 7], [1, 3, 7], [1, 4, 7]]))
    assert found.constant == (0, 2)
    assert found.sentence(3) == (
        "2 of 3 numbers are the same in all vectors, and say nothing: 0, 2 (counted from 0)"
    )
    assert inspect(of_values([[1, 2], [2, 3]])).sentence(2) == ""
    with pytest.raises(DataError, match="all of its vectors are the same"):
        inspect(of_values([[1, 2], [1, 2]]))


def test_the_hash_is_that_of_the_vectors_and_not_of_their_files(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    dataset = images("0", "1", "2", "3")
    one = Vectors(tmp_path, 3, (NamedVectors(tmp_path, ("0", "1", "2", "3"), values),))
    halves = (("3", "0"), values[[3, 0]]), (("2", "1"), values[[2, 1]])
    two = Vectors(tmp_path, 3, tuple(NamedVectors(tmp_path, names, some) for names, some in halves))
    assert inspect(matched(one, dataset)) == inspect(matched(two, dataset))
    changed = Vectors(tmp_path, 3, (NamedVectors(tmp_path, ("0", "1", "2", "3"), values + 1),))
    assert inspect(matched(one, dataset)).hash != inspect(matched(changed, dataset)).hash


def test_slides_with_other_places_are_others() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)

    def of(places: list[list[int]]) -> str:
        slides = (SlideVectors(Path("s1.h5"), values, lambda: np.array(places)),)
        return inspect(matched(Vectors(Path("v"), 3, slides=slides), images("s1"))).hash

    assert of([[0, 0], [0, 8]]) == of([[0, 0], [0, 8]]) != of([[0, 0], [8, 0]])
