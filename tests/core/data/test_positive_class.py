"""The positive class and the order of classes, against lists written by hand from the field's words."""

import doctest
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data import positive_class as positive
from bccli.core.data.positive_class import (
    BENIGN,
    GIVEN,
    KNOWN,
    MALIGNANT,
    NORMAL,
    UNKNOWN,
    class_order,
    find_positive,
    gravest,
    most_harmless,
    positive_of,
    positive_sentence,
    severity,
)

# A few of the words of each severity, as folders are called; they stand in the order of severity.
FIELD = (
    ("normal", "Healthy", "NEGATIVE", "no_tumor", "non-cancer", "without IDC", "Non_Malignant", "no tumour"),
    ("benign", "fibroadenoma", "Phyllodes Tumor", "tubular_adenoma", "adenosis"),
    ("atypical", "ADH", "flat-epithelial-atypia"),
    ("in situ", "InSitu", "DCIS", "LCIS", "carcinoma_in_situ", "Ductal Carcinoma In Situ"),
    ("malignant", "Cancer", "carcinoma", "invasive", "IDC", "ilc", "tumour", "Tumors", "positive"),
)
# Names that hold a word of the field, or a number, and say nothing as a whole.
OTHERS = (
    "0",
    "1",
    "class0",
    "grade 2",
    "zebra",
    "abnormal",
    "nottingham",
    "benignity",
    "idc_2",
    "préparé",
    "",
)

ranks = st.integers(0, len(FIELD) - 1)
words = st.sampled_from([word for row in FIELD for word in row])
names = st.one_of(words, st.sampled_from(OTHERS), st.text(max_size=8))
several = st.lists(names, min_size=2, max_size=6, unique=True)


def rank_of(word: str) -> int:
    return next(rank for rank, row in enumerate(FIELD) if word in row)


@given(words, st.sampled_from([str.upper, str.lower, str.title, str.swapcase]), st.sampled_from("_- ./"))
def test_case_and_separators_do_not_matter(word, spelling, separator):
    spelled = spelling(word.replace("_", separator).replace("-", separator).replace(" ", separator))
    assert severity(spelled) == rank_of(word)
    assert severity(f" {spelled}_") == rank_of(word)


@pytest.mark.parametrize("name", OTHERS)
def test_only_whole_names_count(name):
    assert severity(name) is None


@given(words, st.sampled_from(["x", "2", "not quite "]))
def test_a_word_with_something_before_it_is_no_word(word, more):
    assert severity(more + word) is None


@given(st.lists(words, min_size=2, unique=True).filter(lambda found: len({rank_of(w) for w in found}) > 1))
def test_known_classes_stand_in_the_order_of_severity(found):
    order = class_order(found)
    assert sorted(order) == sorted(found)
    assert [rank_of(word) for word in order] == sorted(rank_of(word) for word in found)
    assert find_positive(order).origin == KNOWN
    assert rank_of(find_positive(order).name) == max(rank_of(word) for word in found)


@given(several, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_that_of_the_files(found, rng: random.Random):
    shuffled = list(found)
    rng.shuffle(shuffled)
    assert class_order(shuffled) == class_order(found)
    assert sorted(class_order(found)) == sorted(found)


@given(several)
def test_normal_comes_first(found):
    normal = [severity(name) == NORMAL for name in class_order(found)]
    if positive_of(found) is None or any(normal):
        assert normal == sorted(normal, reverse=True)


@given(words.filter(lambda word: rank_of(word) <= BENIGN), st.sampled_from(OTHERS), st.booleans())
def test_beside_a_harmless_class_the_other_one_is_positive(harmless, other, swapped):
    pair = [other, harmless] if swapped else [harmless, other]
    assert class_order(pair) == (harmless, other)
    assert positive_of(pair) == other
    assert find_positive(pair).origin == KNOWN


@pytest.mark.parametrize(
    ("pair", "order"),
    [
        (("b", "a"), ("a", "b")),
        (("1", "0"), ("0", "1")),
        (("class10", "class9"), ("class9", "class10")),
        (("malignant", "stroma"), ("malignant", "stroma")),
        (("IDC", "ILC"), ("IDC", "ILC")),
        (("fibroadenoma", "adenosis"), ("adenosis", "fibroadenoma")),
    ],
)
def test_names_that_say_nothing_of_which_is_positive(pair, order):
    assert class_order(pair) == order
    assert find_positive(order) == positive.Positive(order[-1], UNKNOWN)
    assert find_positive(order, pair[1]) == positive.Positive(pair[1], GIVEN)
    assert "--positive" in positive_sentence(order, find_positive(order))


@given(st.lists(st.integers(0, 10**30), min_size=2, unique=True), st.sampled_from(["", "class", "Grade "]))
def test_numbers_sort_as_numbers(numbers, prefix):
    order = class_order([f"{prefix}{number}" for number in numbers])
    assert order == tuple(f"{prefix}{number}" for number in sorted(numbers))


@given(several, st.data())
def test_the_alarm_goes_to_the_gravest_class_and_never_to_a_normal_one(found, data):
    chosen = data.draw(st.sampled_from([None, *found]))
    alarm = gravest(found, chosen)
    severities = [severity(name) for name in found]
    if any(rank != NORMAL for rank in severities):
        assert severity(alarm) != NORMAL
    if MALIGNANT in severities:
        assert severity(alarm) == MALIGNANT
    assert most_harmless(found, chosen) != alarm
    if NORMAL in severities and len(set(severities)) > 1:
        assert severity(most_harmless(found, chosen)) == NORMAL


def test_classes_that_are_equally_grave_leave_the_alarm_to_the_positive_one():
    assert gravest(["a", "b"], "a") == "a"
    assert gravest(["a", "b"]) == "b"
    assert gravest(["IDC", "ILC", "benign"], "IDC") == "IDC"
    assert gravest(["normal", "benign"], "normal") == "benign"
    assert gravest(["malignant", "benign"]) == "malignant"


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(positive).failed == 0
    assert doctest.testmod(positive).attempted > 1
