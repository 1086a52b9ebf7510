"""Figures, predictions and thresholds of breasts and examinations, against loops by hand."""

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from bccli.core.evaluation.breasts.view_fusion import CANDIDATES
from tests.conftest import Bccli, read_rows
from tests.sentences import refused

Row = dict[str, Any]


def films(patients: int = 24, seed: int = 0) -> list[Row]:
    """Up to four films of each woman: some breasts lack a view, some women differ between their breasts."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        for side in ("LEFT", "RIGHT"):
            ill = patient % 2 and (side == "LEFT" or patient % 5 == 0)
            for view in ("CC", "MLO"):
                if rng.random() < 0.2 or (side == "RIGHT" and patient % 7 == 2):
                    continue
                score = round(float(np.clip(rng.normal(0.62 if ill else 0.4, 0.2), 0.01, 0.99)), 4)
                rows.append(
                    {
                        "path": f"{patient}_{side}_{view}.png", "label": ("benign", "malignant")[bool(ill)],
                        "split": ("val", "test")[patient // 2 % 2], "patient": f"p{patient}",
                        "p_benign": round(1 - score, 4), "p_malignant": score, "Side": side, "view": view,
                    }
                )  # fmt: skip
    return rows


def text_of(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def joint(rule: str, values: Sequence[float]) -> float:
    """What several views say together, by hand."""
    if rule == "max":
        return max(values)
    if rule == "noisy-or":
        return 1 - math.prod(1 - value for value in values)
    power = 1.0 if rule == "mean" else float(rule)
    return float((sum(value**power for value in values) / len(values)) ** (1 / power))


Case = tuple[int, float]


def by_hand(rows: Sequence[Row], level: str, rule: str, split: str) -> dict[tuple[str, ...], Case]:
    """The label and the probability of each breast or exam, by a plain loop."""
    breasts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["split"] == split:
            breasts.setdefault((row["patient"], row["Side"][0]), []).append(row)
    found: dict[tuple[str, ...], list[Case]] = {}
    for key, members in breasts.items():
        label = max(int(row["label"] == "malignant") for row in members)
        value = joint(rule, [row["p_malignant"] for row in members])
        found.setdefault(key if level == "breast" else key[:1], []).append((label, value))
    return {
        key: (max(label for label, _ in parts), joint(rule, [value for _, value in parts]))
        for key, parts in found.items()
    }


def figures(bccli: Bccli, text: str, *arguments: object) -> dict[str, Any]:
    told = json.loads(bccli("evaluate", "-", *arguments, "--format", "json", input=text).stdout)
    entry: dict[str, Any] = told["runs"][0]
    return entry


@pytest.mark.parametrize("level", ["breast", "exam"])
@pytest.mark.parametrize("rule", ["mean", "max", "noisy-or"])
def test_breasts_and_exams_equal_a_loop_by_hand(bccli: Bccli, tmp_path: Path, level: str, rule: str) -> None:
    rows = films()
    text = text_of(rows)
    out = tmp_path / "figures"
    entry = figures(bccli, text, "--level", level, "--fuse-views", rule, "--output", out)
    expected = by_hand(rows, level, rule, "test")
    labels, values = zip(*expected.values(), strict=True)
    assert (entry["level"], entry["n"], entry["patients"]) == (level, len(expected), 12)
    assert entry["roc_auc"] == pytest.approx(roc_auc_score(labels, values))
    right = [label == (value > 0.5) for label, value in expected.values()]
    assert entry["accuracy"] == pytest.approx(np.mean(right))
    assert entry["resampled"] == "patients"
    sizes = [int(number) * count for number, count in entry["views"]["images"].items()]
    assert sum(sizes) == sum(row["split"] == "test" for row in rows)
    assert (
        "1" in entry["views"]["images" if level == "breast" else "breasts"]
    )  # a view or a breast is missing
    written = read_rows(out / "predictions.csv")
    for key, (label, value) in expected.items():
        (row,) = (row for row in written if row["path"] == " ".join(key))
        assert row["label"] == ("benign", "malignant")[label]
        assert float(row["p_malignant"]) == pytest.approx(value, abs=1e-8)
    again = json.loads(bccli("evaluate", out / "predictions.csv", "--format", "json").stdout)["runs"][0]
    for name, limits in entry["ci"].items():
        assert (name, again["ci"][name]) == (name, pytest.approx(limits, abs=1e-7) if limits else None)


def test_the_rule_and_the_threshold_are_chosen_on_val_at_the_level(bccli: Bccli) -> None:
    rows = films(patients=40, seed=3)
    entry = figures(
        bccli, text_of(rows), "--level", "breast", "--fuse-views", "learned", "--threshold", "sensitivity=0.9"
    )
    names = {str(rule): str(rule.power or rule.name).replace("power mean", "") for rule in CANDIDATES}
    losses = {}
    for shown, rule in names.items():
        labels, values = zip(*by_hand(rows, "breast", rule, "val").values(), strict=True)
        losses[shown] = log_loss(labels, values)
    best = min(losses, key=lambda name: losses[name])
    assert (entry["views"]["rule"], entry["views"]["chosen_on"]) == (best, "val")
    val = by_hand(rows, "breast", names[best], "val")
    ill = sorted((value for label, value in val.values() if label), reverse=True)
    needed = ill[math.ceil(0.9 * len(ill) - 1e-9) - 1]
    assert entry["threshold"]["value"] == pytest.approx(needed)
    test = by_hand(rows, "breast", names[best], "test").values()
    found = [value >= needed for label, value in test if label]
    assert entry["tpr"] == pytest.approx(np.mean(found))


def test_women_whose_breasts_differ_are_said(bccli: Bccli) -> None:
    rows = films()
    mixed = 0
    for patient in {row["patient"] for row in rows if row["split"] == "test"}:
        mixed += len({row["label"] for row in rows if row["patient"] == patient}) > 1
    result = bccli("evaluate", "-", "--level", "exam", "--format", "markdown", input=text_of(rows))
    assert mixed > 1
    assert f"{mixed} exams have images of several classes; malignant counts" in result.stderr
    assert "exams by the mean: 3 of 1 breast, 9 of 2 breasts" in result.stdout
    assert "| exam " in result.stdout
    table = bccli(
        "evaluate", "-", "--level", "exam", "--by", "view", "--format", "table", input=text_of(rows)
    )
    assert re.search(r"run\W+exams\W+accuracy", table.stdout)


def test_three_classes_stay_probabilities_and_the_gravest_is_last(bccli: Bccli, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows: list[Row] = []
    for patient in range(12):
        for view in ("CC", "MLO"):
            shares = rng.dirichlet(np.ones(3)).round(4).tolist()
            shares[0] = 1 - sum(shares[1:])
            rows.append(
                {"path": f"{patient}{view}", "label": ("normal", "benign", "cancer")[patient % 3],
                 "patient": f"p{patient}", "side": "L",
                 **dict(zip(("p_normal", "p_benign", "p_cancer"), shares, strict=True))}
            )  # fmt: skip
    for rule in ("max", "noisy-or", "mean"):
        bccli(
            "evaluate", "-", "--level", "breast", "--fuse-views", rule, "--output", tmp_path / rule,
            input=text_of(rows),
        )  # fmt: skip
        for patient, row in enumerate(read_rows(tmp_path / rule / "predictions.csv")):
            values = [float(row[f"p_{name}"]) for name in ("normal", "benign", "cancer")]
            assert sum(values) == pytest.approx(1)
            assert min(values) >= -1e-9
            number = int(row["patient"][1:])
            two = [one for one in rows if one["patient"] == f"p{number}"]
            at_least = [[one["p_benign"] + one["p_cancer"], one["p_cancer"]] for one in two]
            assert values[1] + values[2] == pytest.approx(joint(rule, [one[0] for one in at_least]))
            assert values[2] == pytest.approx(joint(rule, [one[1] for one in at_least]))
            assert patient < 12


def test_a_positive_class_that_stands_first_is_the_gravest_one(bccli: Bccli, tmp_path: Path) -> None:
    rows = films()
    renamed = [
        {**{key: value for key, value in row.items() if not key.startswith("p_")},
         "label": "a" if row["label"] == "malignant" else "b",
         "p_a": row["p_malignant"], "p_b": row["p_benign"]}
        for row in rows
    ]  # fmt: skip
    plain = figures(bccli, text_of(rows), "--level", "breast", "--fuse-views", "max")
    turned = figures(bccli, text_of(renamed), "--level", "breast", "--fuse-views", "max", "--positive", "a")
    assert (turned["n"], turned["roc_auc"], turned["tpr"]) == (plain["n"], plain["roc_auc"], plain["tpr"])
    patient = figures(bccli, text_of(renamed), "--level", "patient", "--positive", "a")
    known = figures(bccli, text_of(rows), "--level", "patient")
    assert patient["roc_auc"] == pytest.approx(known["roc_auc"])
    said = bccli("evaluate", "-", "--level", "breast", "--fuse-views", "max", input=text_of(renamed), exit=2)
    refused(said, "--fuse-views max", "--positive a or --positive b")


def without(rows: Sequence[Row], *names: str) -> list[Row]:
    return [{key: value for key, value in row.items() if key not in names} for row in rows]


def test_wrong_moves(bccli: Bccli) -> None:
    rows = films()
    said = bccli("evaluate", "-", "--level", "breast", input=text_of(without(rows, "Side")), exit=3)
    refused(said, "does not say which breast", "--level exam")
    refused(bccli("evaluate", "-", "--fuse-views", "max", input=text_of(rows), exit=2), "--level breast")
    test = [row for row in without(rows, "split") if row]
    said = bccli("evaluate", "-", "--level", "exam", "--fuse-views", "learned", input=text_of(test), exit=3)
    refused(said, "no probabilities of val")
    healthy = [{**row, "label": "benign"} if row["split"] == "val" else row for row in rows]
    said = bccli(
        "evaluate", "-", "--level", "exam", "--fuse-views", "learned", input=text_of(healthy), exit=3
    )
    refused(said, "val has exams of one class only")


def test_images_of_an_unknown_breast_count_alone(bccli: Bccli) -> None:
    rows = films()
    chosen = [row for row in rows if row["split"] == "test"]
    for row in chosen[:3]:
        row["Side"] = "?"
    entry = figures(bccli, text_of(rows), "--level", "breast")
    expected = len({(row["patient"], row["Side"]) for row in chosen if row["Side"] != "?"}) + 3
    assert entry["n"] == expected
    assert entry["views"]["apart"] == 3
    assert any("3 images are of an unknown breast and count alone" in text for text in entry["remarks"])


@pytest.mark.parametrize("column", ["study_id", "Exam ID", "StudyInstanceUID"])
def test_examinations_of_a_patient_are_told_apart(bccli: Bccli, column: str) -> None:
    rows = [{**row, column: f"s{row['view']}"} for row in films()]
    entry = figures(bccli, text_of(rows), "--level", "exam")
    pairs = {(row["patient"], row[column]) for row in rows if row["split"] == "test"}
    assert entry["n"] == len(pairs)


def test_one_examination_is_numbered_in_several_ways(bccli: Bccli) -> None:
    rows = [{**row, "study": ("7", "007", "7.0")[index % 3]} for index, row in enumerate(films())]
    entry = figures(bccli, text_of(rows), "--level", "exam")
    assert entry["n"] == len({row["patient"] for row in rows if row["split"] == "test"})


@pytest.mark.parametrize("column", ["ImageLaterality", "image laterality", "Left or right breast"])
def test_others_say_the_side_under_another_name(bccli: Bccli, column: str) -> None:
    rows = films()
    renamed = [{**without([row], "Side")[0], column: row["Side"]} for row in rows]
    entry = figures(bccli, text_of(renamed), "--level", "breast")
    assert entry["n"] == len(by_hand(rows, "breast", "mean", "test"))


def test_what_several_folds_say_of_a_film_is_no_further_view(bccli: Bccli) -> None:
    rows = films()
    lower = {row["path"]: round(row["p_malignant"] * 0.8, 4) for row in rows}
    twice = [{**row, "fold": 0} for row in rows] + [
        {**row, "fold": 1, "p_malignant": lower[row["path"]], "p_benign": round(1 - lower[row["path"]], 4)}
        for row in rows
    ]
    means = [{**row, "p_malignant": (row["p_malignant"] + lower[row["path"]]) / 2} for row in rows]
    rules = ("--level", "breast", "--fuse-views", "noisy-or", "--threshold", "0.6")
    entry = figures(bccli, text_of(twice), *rules)
    once = figures(bccli, text_of(rows), *rules)
    assert entry["views"] == once["views"]
    labels, values = zip(*by_hand(means, "breast", "noisy-or", "test").values(), strict=True)
    assert entry["roc_auc"] == pytest.approx(roc_auc_score(labels, values))
    right = [label == (value >= 0.6) for label, value in zip(labels, values, strict=True)]
    assert entry["accuracy"] == pytest.approx(np.mean(right))


def test_predictions_of_a_table_without_probabilities(bccli: Bccli) -> None:
    rows = [
        {**row, "predicted": ("benign", "malignant")[row["p_malignant"] > 0.5]}
        for row in without(films(), "split")
    ]
    rows = without(rows, "p_benign", "p_malignant")
    entry = figures(bccli, text_of(rows), "--level", "breast", "--fuse-views", "max")
    breasts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        breasts.setdefault((row["patient"], row["Side"]), []).append(row)
    right = [
        any(row["predicted"] == "malignant" for row in members) == (members[0]["label"] == "malignant")
        for members in breasts.values()
    ]
    assert entry["accuracy"] == pytest.approx(np.mean(right))
    assert entry["roc_auc"] is None


def test_a_run_knows_its_breasts(bccli: Bccli, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    bccli("prepare", "phantom", "mammography", data, "--sample", 48, "--size", "32x32")
    bccli("train", data, run, "--epochs", 1, "--trainable", "none", "--batch-size", 8)
    told = json.loads(bccli("evaluate", run, "--level", "breast", "--format", "json").stdout)["runs"][0]
    rows = [row for row in read_rows(run / "predictions.csv") if row["split"] == "test"]
    assert told["n"] == len({(row["patient"], row["side"]) for row in rows})
    report = tmp_path / "report.html"
    bccli("evaluate", run, "--level", "exam", "--report", report, "--without-images", "--checklist", "claim")
    assert "exams" in report.read_text()
