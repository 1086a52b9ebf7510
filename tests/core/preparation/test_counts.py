"""Counts of a stream of samples, against counts of the whole."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from bccli.core.data.manifest import Sample
from bccli.core.preparation.counts import MOST_SIZES, Census, Sizes


def census_of(samples):
    census = Census()
    for split, sample in samples:
        census.add(sample, split)
    return census


def test_a_census_counts_parts_classes_patients_and_sizes():
    census = census_of(
        [
            ("train", Sample(label="a", patient="1", width=30, height=20)),
            ("train", Sample(label="a", patient="1", width=30, height=20)),
            ("test", Sample(label="b", patient="2", width=20, height=30)),
            ("test", Sample(label="a")),
        ]
    )
    assert census.images == {("train", "a"): 2, ("test", "b"): 1, ("test", "a"): 1}
    assert census.patients == {"1": 2, "2": 1}
    assert (census.patients_of("train", "a"), census.patients_of("test", "a")) == (1, 0)
    assert (census.patients_of("test", "a", "b"), census.patients_of("val", "a")) == (1, 0)
    assert census.unknown == 1
    assert census.sizes.counts == {(30, 20): 2, (20, 30): 1}


def test_splits_come_in_their_order_and_folds_by_number():
    assert census_of((split, Sample()) for split in ("test", "train", "val")).splits == [
        "train",
        "val",
        "test",
    ]
    folds = [f"fold {number}" for number in range(12)]
    assert census_of((split, Sample()) for split in sorted(folds)).splits == folds


def test_few_sizes_are_exact():
    sizes = Sizes()
    for number in range(MOST_SIZES):
        sizes.add(1000 + number, 7)
    assert sizes.step == 1
    assert len(sizes.counts) == MOST_SIZES


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 4), st.integers(0, 99))
def test_many_sizes_are_rounded_to_the_same_steps_in_any_order(times, seed):
    images = [(50 + number, 9 + number * 7 % 997) for number in range(times * MOST_SIZES)]
    sizes, again = Sizes(), Sizes()
    for size in images:
        sizes.add(*size)
    random.Random(seed).shuffle(images)
    for size in images:
        again.add(*size)
    step = sizes.step
    assert step > 1
    assert sizes.counts == Counter((w // step * step, h // step * step) for w, h in images)
    assert len(sizes.counts) <= MOST_SIZES
    assert (again.step, again.counts) == (step, sizes.counts)
