"""Images by their metadata: counted against a plain loop, and which columns are chosen for a picture."""

from collections import Counter

import numpy as np
import pytest

from bccli.core.evaluation.breakdown.columns import (
    MOST_COLUMNS,
    MOST_ROWS,
    MOST_VALUES,
    Chosen,
    Strata,
    association,
    choose,
    in_words,
)

CLASSES = ("benign", "malignant")


def counted(columns, count=400, seed=0):
    """Random images with a text of each column, by what `columns` make of a generator and a class number."""
    rng, strata, rows = np.random.default_rng(seed), Strata(), []
    for _ in range(count):
        label = int(rng.integers(2))
        metadata = tuple((name, text) for name, make in columns.items() if (text := make(rng, label)))
        strata.add(metadata, CLASSES[label])
        rows.append((dict(metadata), CLASSES[label]))
    return strata, rows


def chosen_of(columns, positive="malignant", **options) -> tuple[Chosen, list]:
    strata, rows = counted(columns, **options)
    return choose(strata, Counter(label for _, label in rows), positive), rows


def number(values):
    return lambda rng, label: str(rng.integers(1, values + 1))


def test_values_are_counted_as_in_a_plain_loop_and_unknown_ones_too():
    columns = {
        "density": lambda rng, label: ("1", "2", "10", "", "NA")[rng.integers(5)],
        "age": lambda rng, label: str(rng.integers(20, 95)),
    }
    chosen, rows = chosen_of(columns)
    density, age = sorted(chosen.columns, key=lambda column: column.name, reverse=True)
    assert density.values == ("1", "2", "10", "unknown")
    assert age.values == ("below 40", "40–49", "50–59", "60–69", "70 and over")
    texts = [row.get("density", "") for row, _ in rows]
    wanted = [texts.count("1"), texts.count("2"), texts.count("10"), texts.count("") + texts.count("NA")]
    assert list(density.images) == wanted
    old = [label for row, label in rows if int(row["age"]) >= 70]
    assert (age.images[-1], age.positive[-1]) == (len(old), old.count("malignant"))
    for column in chosen.columns:
        assert sum(column.images) == len(rows)
        assert sum(column.positive) == [label for _, label in rows].count("malignant")
    assert not chosen.left_out


def test_rare_values_are_put_together():
    chosen, rows = chosen_of({"type": lambda rng, label: f"t{min(int(rng.exponential(4)), 30)}"})
    (column,) = chosen.columns
    texts = Counter(row["type"] for row, _ in rows)
    frequent = {text for text, _ in texts.most_common(MOST_ROWS - 1)}
    assert len(column.values) == MOST_ROWS
    assert column.values[-1] == f"{len(texts) - MOST_ROWS + 1} others"
    assert set(column.values[:-1]) <= set(texts)
    assert min(column.images[:-1]) >= max(count for text, count in texts.items() if text not in column.values)
    assert column.images[-1] == sum(texts.values()) - sum(texts[text] for text in column.values[:-1])
    assert len(frequent) == MOST_ROWS - 1


def test_what_tells_nothing_is_named_and_left_out():
    columns = {
        "exam": lambda rng, label: f"e{rng.integers(10**9)}",
        "even": number(MOST_VALUES // 2),
        "maker": lambda rng, label: "one",
        "density": number(4),
    }
    chosen, _ = chosen_of(columns)
    assert [column.name for column in chosen.columns] == ["density"]
    assert in_words(chosen.left_out) == "exam, even (too many values); maker (one value)"


def test_of_many_columns_those_stay_whose_classes_differ_most():
    plain = {f"plain {index}": number(3) for index in range(MOST_COLUMNS)}
    told = {"birads": lambda rng, label: str(rng.integers(3) + 2 * label)}
    chosen, _ = chosen_of({**plain, **told}, count=2000)
    names = [column.name for column in chosen.columns]
    assert len(names) == MOST_COLUMNS
    assert names[-1] == "birads"
    assert names == sorted(names, key=[*plain, *told].index)
    (left,) = chosen.left_out["classes differ less among their values"]
    assert left in plain
    least = min(chosen.columns, key=lambda column: column.association)
    assert least.association >= 0


def test_a_column_without_end_is_not_kept_in_memory():
    strata, _ = counted({"exam": lambda rng, label: f"e{rng.integers(10**9)}"}, count=3000)
    assert strata.columns == {}
    assert list(strata.many) == ["exam"]


def test_no_metadata_is_nothing_to_show():
    assert choose(Strata(), {"benign": 3}, "benign") == Chosen((), {})


@pytest.mark.parametrize("rows", [2, 5])
@pytest.mark.parametrize("columns", [2, 3])
def test_the_association_is_none_by_chance_and_whole_where_values_are_classes(rows, columns):
    rng = np.random.default_rng(0)
    chance = [association(rng.multinomial(30, np.full(columns, 1 / columns), rows)) for _ in range(400)]
    assert np.mean(np.square(chance)) < 0.02
    assert association(np.eye(columns, dtype=int) * 40) == pytest.approx(1)
    assert association([[5, 0]] * rows) == 0
    assert association([[0, 0], [1, 1]]) == 0


def test_the_association_is_that_of_scipy_but_for_the_correction():
    from scipy.stats.contingency import association as reference

    table = np.random.default_rng(0).integers(5000, 9000, (4, 3))
    assert association(table) == pytest.approx(reference(table), abs=0.01)
