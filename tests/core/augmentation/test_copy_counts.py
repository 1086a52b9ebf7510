"""The number of augmented copies of each image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.augmentation.copy_counts import Amount, count_copies, units_of
from bccli.core.errors import UsageError


def give(
    amount: Amount, labels: list[int], codes: list[int] | None = None, names: list[str] | None = None
) -> np.ndarray:
    """The copies of each image, all of which are concerned."""
    numbers = np.array(labels)
    names = names or [f"{index}.png" for index in range(len(labels))]
    split_codes = np.zeros(len(labels), int) if codes is None else np.array(codes)
    units = units_of(names, numbers, split_codes, np.ones(len(labels), bool), seed=0)
    return count_copies(amount, units, "train of data")[units.of]


def sizes_of(copies: np.ndarray, labels: list[int]) -> dict[int, int]:
    """Originals and copies of each class."""
    return {label: int((copies[np.array(labels) == label] + 1).sum()) for label in set(labels)}


LABELS = st.lists(st.integers(0, 2), min_size=1, max_size=60)


@given(LABELS, st.integers(0, 500))
def test_a_total_is_reached_and_even(labels: list[int], more: int) -> None:
    total = len(labels) + more
    copies = give(Amount(total=total), labels)
    sizes = sizes_of(copies, labels)
    assert sum(sizes.values()) == total
    grown = [size for label, size in sizes.items() if size > labels.count(label)]
    fair = total / len(sizes)
    assert all(size <= fair + 1 for size in grown)
    assert not grown or max(grown) - min(grown) <= 1
    assert not grown or min(sizes.values()) >= min(grown) - 1
    for label in sizes:
        of_class = copies[np.array(labels) == label]
        assert of_class.max() - of_class.min() <= 1  # every image gets its turn


@given(LABELS, st.lists(st.integers(0, 2), min_size=60, max_size=60))
def test_balance_brings_each_class_to_the_largest_of_its_split(labels: list[int], codes: list[int]) -> None:
    codes = codes[: len(labels)]
    copies = give(Amount(balance=True), labels, codes)
    for code in set(codes):
        here = np.array(codes) == code
        sizes = sizes_of(copies[here], np.array(labels)[here].tolist())
        assert len(set(sizes.values())) == 1
        assert copies[here].min() == 0


def test_copies_per_image() -> None:
    assert (give(Amount(per_image=3), [0, 1, 1]) == 3).all()


def test_the_patches_of_an_image_get_equally_many_copies() -> None:
    names = ["a"] * 4 + ["b"] * 4 + ["c"] * 3
    copies = give(Amount(total=30), [0] * 8 + [1] * 3, names=names)
    assert [len(set(copies[np.array(names) == name])) for name in "abc"] == [1, 1, 1]
    sizes = sizes_of(copies, [0] * 8 + [1] * 3)
    assert 30 - 4 - 3 < sum(sizes.values()) <= 30


def test_whose_turn_it_is_does_not_depend_on_the_order() -> None:
    names = [f"{index}.png" for index in range(20)]
    forward = dict(zip(names, give(Amount(total=27), [0] * 20, names=names).tolist(), strict=True))
    backward = dict(
        zip(names[::-1], give(Amount(total=27), [0] * 20, names=names[::-1]).tolist(), strict=True)
    )
    assert forward == backward
    assert sorted(forward.values()) == [0] * 13 + [1] * 7


def test_a_total_below_the_originals() -> None:
    with pytest.raises(UsageError, match=r"--total 2: train of data has 3 originals"):
        give(Amount(total=2), [0, 0, 1])


def test_a_total_of_the_originals_needs_no_copies() -> None:
    assert give(Amount(total=3), [0, 0, 1]).tolist() == [0, 0, 0]
