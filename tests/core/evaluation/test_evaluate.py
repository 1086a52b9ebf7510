"""What `evaluate` measures of groups, folds and levels is what a loop by hand gives."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bccli.core.evaluation.evaluate import Evaluation, evaluate
from bccli.core.evaluation.leaderboard import figures_json
from bccli.core.evaluation.subjects import subject_of_table
from bccli.core.evaluation.terms import Terms
from bccli.core.metrics.figures import Figures
from bccli.core.runs.aggregation import with_owners
from bccli.core.runs.predictions import Predictions, parse_predictions

CLASSES = ("benign", "malignant")


@st.composite
def tables(draw) -> Predictions:
    """Rows of images, patches or whole, of patients known or not, whose trait may vary within all of them."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 5),  # patient
                st.integers(0, 3),  # image of the patient
                st.sampled_from(("40", "100", "")),
                st.integers(0, 4),  # fold
                st.integers(1, 9),  # probability
            ),
            min_size=2,
            max_size=40,
        )
    )
    patched, known = draw(st.booleans()), draw(st.booleans())
    labels = draw(st.lists(st.integers(0, 1), min_size=6, max_size=6))
    positive = np.array([row[4] / 10 for row in rows])
    images = tuple(f"p{row[0]}/{row[1]}" for row in rows)
    probabilities = np.stack([1 - positive, positive], axis=1)
    numbers = tuple(str(number) for number in range(len(rows)))
    further = {"magnification": tuple(row[2] for row in rows), "fold": tuple(str(row[3]) for row in rows)}
    if patched:
        further |= {"row": numbers, "col": numbers}
    return Predictions(
        classes=CLASSES,
        splits=("",) * len(rows),
        patients=tuple(f"p{row[0]}" if known else "" for row in rows),
        labels=np.array([labels[row[0]] for row in rows]),
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        paths=tuple(f"{number}.png" for number in numbers),
        sources=images if patched else (),
        further=further,
    )


def by_hand(table: Predictions, level: str, keep: np.ndarray) -> tuple[int, float]:
    """How many cases the rows that are kept become, and their accuracy: a loop over rows."""
    cases: dict[str, list[int]] = {}
    for row in np.flatnonzero(keep).tolist():
        image = table.sources[row] if table.sources else table.paths[row]
        case = (table.patients[row] or image) if level == "patient" else image
        cases.setdefault(case, []).append(row)
    right = []
    for rows in cases.values():
        mean = sum(table.probabilities[row, 1] for row in rows) / len(rows)
        right.append((mean > 0.5 + 1e-9) == (table.labels[rows[0]] == 1) or abs(mean - 0.5) < 1e-9)
    return len(cases), sum(right) / len(right)


def measured(table: Predictions, **terms: object) -> Evaluation:
    return evaluate(subject_of_table(table, "t", None), Terms(rounds=0, **terms))  # type: ignore[arg-type]


@given(tables(), st.sampled_from(("image", "patient")))
@settings(max_examples=50, deadline=None)
def test_groups_are_filtered_first_and_merged_then(table: Predictions, level: str) -> None:
    values = np.array(table.further["magnification"])
    if not values.any():
        return
    found = measured(table, level=level, by="magnification").groups
    assert {group.group for group in found} == {f"magnification {value or 'unknown'}" for value in values}
    for group in found:
        value = str(group.group).removeprefix("magnification ").replace("unknown", "")
        keep = values == value
        count, _ = by_hand(table, level, keep)
        assert group.n == count
        alone = measured(table.where(keep), level=level).whole
        for name in ("accuracy", "roc_auc", "f1", "confusion_matrix", "patient_accuracy", "log_loss"):
            assert getattr(group, name) == (
                getattr(alone, name) if name == "confusion_matrix" else pytest.approx(getattr(alone, name))
            )


@given(tables(), st.sampled_from(("image", "patient")))
@settings(max_examples=50, deadline=None)
def test_levels_are_means_by_hand(table: Predictions, level: str) -> None:
    whole = measured(table, level=level)
    count, accuracy = by_hand(table, level, np.ones(len(table), bool))
    assert whole.whole.n == count
    if not (abs(whole.units.probabilities - 0.5) < 1e-9).any():
        assert whole.whole.accuracy == pytest.approx(accuracy)


@given(tables())
@settings(max_examples=40, deadline=None)
def test_folds_have_the_mean_and_the_deviation_of_each_by_itself(table: Predictions) -> None:
    names = sorted(set(table.further["fold"]))
    figures = measured(table).whole
    if len(names) < 2:
        assert figures.folds is None
        return
    alone = [measured(table.where(np.array(table.further["fold"]) == name)).whole for name in names]
    assert figures.folds["names"] == names
    for name in ("accuracy", "roc_auc", "f1"):
        values = [getattr(entry, name) for entry in alone]
        if None in values:
            assert name not in figures.folds["measures"]
        else:
            spread = figures.folds["measures"][name]
            assert spread["values"] == pytest.approx(values)
            assert spread["mean"] == pytest.approx(np.mean(values))
            assert spread["sd"] == pytest.approx(np.std(values, ddof=1))


def figures_of(text: str, **terms: object) -> Figures:
    return measured(parse_predictions(io.StringIO(text), "t"), **terms).whole


def test_a_patient_is_in_each_group_that_it_has_images_of() -> None:
    """Every patient has one image at each magnification, of which one alone is told right."""
    rows = [
        f"{patient}-{number}.png,{CLASSES[patient % 2]},p{patient},{m},{int(wrong)},{int(not wrong)}"
        for patient in range(10)
        for number, m in enumerate((40, 100, 200, 400))
        for wrong in [(patient % 2 == 1) == (m != 400)]
    ]
    text = "\n".join(["path,label,patient,magnification,p_benign,p_malignant", *rows])
    found = measured(parse_predictions(io.StringIO(text), "t"), level="patient", by="magnification")
    assert [(group.group, group.n, group.accuracy) for group in found.groups] == [
        ("magnification 40", 10, 0.0), ("magnification 100", 10, 0.0), ("magnification 200", 10, 0.0),
        ("magnification 400", 10, 1.0),
    ]  # fmt: skip
    assert (found.whole.n, found.whole.accuracy) == (10, 0.0)


def test_log_loss_and_loss_take_rounded_shares_alike() -> None:
    figures = figures_of("path,label,p_a,p_b,p_c\n1,a,0.33,0.33,0.33\n2,b,0.17,0.66,0.16\n")
    assert figures.log_loss == pytest.approx(figures.loss)
    assert figures.loss == pytest.approx(-(np.log(1 / 3) + np.log(0.66 / 0.99)) / 2)


@st.composite
def shuffled(draw) -> tuple[Predictions, Predictions]:
    """A table with val and test, whose patients and groups may be unknown, and its rows in another order."""
    table = draw(tables())
    rows = len(table)
    several = st.lists(st.sampled_from(("", "g1", "g2")), min_size=rows, max_size=rows)
    known = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    images = table.sources or table.paths
    hidden = {image for image, is_known in zip(images, known, strict=True) if not is_known}
    pairs = zip(images, table.patients, strict=True)
    table = replace(
        table,
        splits=tuple(draw(st.lists(st.sampled_from(("val", "test")), min_size=rows, max_size=rows))),
        patients=tuple("" if image in hidden else patient for image, patient in pairs),
        further={**table.further, "group": tuple(draw(several))},
    )
    return table, table.taken(np.array(draw(st.permutations(range(rows)))))


def measured_as_json(table: Predictions, terms: Terms) -> dict:
    subject = subject_of_table(table, "table", None, level=terms.level)
    return figures_json(evaluate(replace(subject, val=table.of_split("val")), terms).figures)


@pytest.mark.parametrize(
    "terms",
    [Terms("image", by="magnification"), Terms("patient"), Terms("image", calibrate=True)],
    ids=["groups", "patients", "calibrated"],
)
@given(tables=shuffled())
@settings(max_examples=30)
def test_the_order_of_rows_changes_no_digit(tables: tuple[Predictions, Predictions], terms: Terms) -> None:
    assume("val" in tables[0].splits)
    assume(not terms.by or any(tables[0].further[terms.by]))
    first, second = (measured_as_json(table, replace(terms, rounds=20)) for table in tables)
    assert first == second


def test_clusters_are_numbered_by_their_names() -> None:
    table = Predictions(
        classes=CLASSES,
        splits=("",) * 5,
        patients=("q", "", "p", "", "q"),
        labels=np.zeros(5, np.int64),
        predicted=np.zeros(5, np.int64),
        probabilities=None,
        paths=("1.png", "c.png", "2.png", "b.png", "3.png"),
    )
    assert with_owners(table, several_per_image=False).owners.tolist() == [1, 3, 0, 2, 1]
    grouped = replace(table, further={"group": ("", "x", "", "", "x")})
    assert with_owners(grouped, several_per_image=False).owners.tolist() == [1, 1, 0, 2, 1]


def test_groups_of_images_are_drawn_as_one() -> None:
    rows = [
        f"{k}.png,{'ab'[k % 2]},g{k // 4},{0.9 if k % 3 else 0.3},{0.1 if k % 3 else 0.7}" for k in range(48)
    ]
    table = parse_predictions(io.StringIO("\n".join(["path,label,group,p_a,p_b", *rows])), "t")
    found = evaluate(subject_of_table(table, "t", None), Terms(rounds=200))
    assert len(np.unique(found.units.owners)) == 12
    assert found.whole.resampled == "groups of like images, as patients are unknown"
    known = replace(table, patients=tuple(f"p{k // 8}" for k in range(48)))
    found = evaluate(subject_of_table(known, "t", None), Terms(rounds=200))
    assert len(np.unique(found.units.owners)) == 6
    assert found.whole.patients == 6


def group_by_hand(rows: list[dict[str, str]], trait: str, value: str) -> tuple[int, float]:
    """Patients that have images of a trait, and the share told right by the mean of these images."""
    of: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row[trait] == value:
            of.setdefault(row["patient"], []).append(row)
    right = 0
    for images in of.values():
        mean = np.mean([float(row["p_malignant"]) for row in images])
        label = max(CLASSES.index(row["label"]) for row in images)
        right += (mean > 0.5) == (label == 1)
    return len(of), right / len(of)


def with_answers(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same with probabilities that a patient's images have partly in common."""
    rng = np.random.default_rng(0)
    effects = {row["patient"]: rng.normal() for row in rows}
    found = []
    for row in rows:
        score = 1.5 * (CLASSES.index(row["label"]) - 0.5) + effects[row["patient"]] + rng.normal()
        positive = round(float(1 / (1 + np.exp(-score))), 6)
        found.append({**row, "p_benign": f"{1 - positive:.6f}", "p_malignant": f"{positive:.6f}"})
    return found


def check_groups(rows: list[dict[str, str]], trait: str) -> None:
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    table = parse_predictions(io.StringIO("\n".join(lines)), "t")
    groups = measured(table, level="patient", by=trait).groups
    assert len(groups) == len({row[trait] for row in rows})
    for group in groups:
        count, accuracy = group_by_hand(rows, trait, str(group.group).removeprefix(f"{trait} "))
        assert group.n == count
        assert group.accuracy == pytest.approx(accuracy)


# BreakHis, 82 slides of 7,909 images: images of a class at 40, 100, 200 and 400×, and the class's slides.
BREAKHIS = {"benign": (24, (625, 644, 623, 588)), "malignant": (58, (1370, 1437, 1390, 1232))}


def test_magnifications_of_breakhis_are_told_as_by_hand() -> None:
    rows = [
        {"path": f"{label}-{m}-{number}.png", "label": label, "patient": f"{label}-{number % slides}",
         "magnification": str(m)}
        for label, (slides, images) in BREAKHIS.items()
        for m, count in zip((40, 100, 200, 400), images, strict=True)
        for number in range(count)
    ]  # fmt: skip
    assert len(rows) == 7909
    check_groups(with_answers(rows), "magnification")


def test_views_of_mini_ddsm_are_told_as_by_hand(real_data: Path) -> None:
    with (real_data / "mini-ddsm" / "full-index.csv").open(newline="") as stream:
        index = list(csv.DictReader(stream))
    rows = [
        {"path": row["fullPath"], "label": CLASSES[row["Status"] == "Cancer"], "view": row["View"],
         "patient": "/".join(row["fullPath"].split("/")[1:3]), "side": row["Side"]}
        for row in index
    ]  # fmt: skip
    assert len(rows) == 7808
    for trait in ("view", "side"):
        check_groups(with_answers(rows), trait)
