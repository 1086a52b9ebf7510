"""How many children each image gets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.augmentation.child_counts import Amount, children_of, units_of
from bccli.core.errors import UsageError


def give(
    amount: Amount, labels: list[int], parts: list[int] | None = None, names: list[str] | None = None
) -> np.ndarray:
    """Children of each image, all of which are concerned."""
    numbers = np.array(labels)
    names = names or [f"{place}.png" for place in range(len(labels))]
    places = np.zeros(len(labels), int) if parts is None else np.array(parts)
    units = units_of(names, numbers, places, np.ones(len(labels), bool), seed=0)
    return children_of(amount, units, "train of data")[units.of]


def sizes_of(children: np.ndarray, labels: list[int]) -> dict[int, int]:
    """Originals and children of each class."""
    return {label: int((children[np.array(labels) == label] + 1).sum()) for label in set(labels)}


LABELS = st.lists(st.integers(0, 2), min_size=1, max_size=60)


@given(LABELS, st.integers(0, 500))
def test_a_total_is_reached_and_even(labels: list[int], more: int) -> None:
    total = len(labels) + more
    children = give(Amount(total=total), labels)
    sizes = sizes_of(children, labels)
    assert sum(sizes.values()) == total
    grown = [size for label, size in sizes.items() if size > labels.count(label)]
    fair = total / len(sizes)
    assert all(size <= fair + 1 for size in grown)
    assert not grown or max(grown) - min(grown) <= 1
    assert not grown or min(sizes.values()) >= min(grown) - 1
    for label in sizes:
        of_class = children[np.array(labels) == label]
        assert of_class.max() - of_class.min() <= 1  # every image gets its turn


@given(LABELS, st.lists(st.integers(0, 2), min_size=60, max_size=60))
def test_balance_brings_each_class_to_the_largest_of_its_split(labels: list[int], parts: list[int]) -> None:
    parts = parts[: len(labels)]
    children = give(Amount(balance=True), labels, parts)
    for part in set(parts):
        here = np.array(parts) == part
        sizes = sizes_of(children[here], np.array(labels)[here].tolist())
        assert len(set(sizes.values())) == 1
        assert children[here].min() == 0


def test_children_per_image() -> None:
    assert (give(Amount(per_image=3), [0, 1, 1]) == 3).all()


def test_the_patches_of_an_image_get_children_together() -> None:
    names = ["a"] * 4 + ["b"] * 4 + ["c"] * 3
    children = give(Amount(total=30), [0] * 8 + [1] * 3, names=names)
    assert [len(set(children[np.array(names) == name])) for name in "abc"] == [1, 1, 1]
    sizes = sizes_of(children, [0] * 8 + [1] * 3)
    assert 30 - 4 - 3 < sum(sizes.values()) <= 30


def test_whose_turn_it_is_does_not_depend_on_the_order() -> None:
    names = [f"{place}.png" for place in range(20)]
    forward = dict(zip(names, give(Amount(total=27), [0] * 20, names=names).tolist(), strict=True))
    backward = dict(
        zip(names[::-1], give(Amount(total=27), [0] * 20, names=names[::-1]).tolist(), strict=True)
    )
    assert forward == backward
    assert sorted(forward.values()) == [0] * 13 + [1] * 7


def test_a_total_below_the_originals() -> None:
    with pytest.raises(UsageError, match=r"--total 2: train of data has 3 originals"):
        give(Amount(total=2), [0, 0, 1])


def test_a_total_of_the_originals_needs_no_children() -> None:
    assert give(Amount(total=3), [0, 0, 1]).tolist() == [0, 0, 0]
