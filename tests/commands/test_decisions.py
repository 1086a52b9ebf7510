"""`evaluate --triage` and `--coverage` lock on val what `predict` then decides by."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.conftest import PATIENT, Bccli, draw, read_rows, rows_of, save
from tests.library import Library, bccli_in
from tests.sentences import refused

FROZEN = "--weights", "none", "--trainable", "none", "--epochs", 2, "--batch-size", 8


def write_table(path: Path, *, patients: int = 300, seed: int = 0, **changes: Any) -> Path:
    """Predictions of val and test: patients have one to four images, a third of them is malignant."""
    rng = np.random.default_rng(seed)
    rows = []
    for split in ("val", "test"):
        for number in range(patients):
            label = ("benign", "malignant")[number % 3 == 0]
            own = rng.normal(4 if label == "malignant" else 0, 1.2)
            for image in range(rng.integers(1, 5)):
                share = 1 / (1 + np.exp(1.5 - own - rng.normal(0, 0.5)))
                row = {
                    "path": f"{split}{number}_{image}.png", "split": split, "patient": f"{split}{number}",
                    "label": label, "p_benign": 1 - share, "p_malignant": share,
                }  # fmt: skip
                rows.append({**row, **changes})
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def highest(table: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The largest probability of each patient, and who is malignant."""
    found: dict[str, tuple[float, bool]] = {}
    for row in read_rows(table):
        if row["split"] == split:
            share, label = float(row["p_malignant"]), row["label"] == "malignant"
            before = found.get(row["patient"], (0.0, False))
            found[row["patient"]] = max(share, before[0]), label or before[1]
    values = list(found.values())
    return np.array([value[0] for value in values]), np.array([value[1] for value in values])


def figures_of(bccli: Bccli, *words: object) -> dict[str, Any]:
    (figures,) = json.loads(bccli("evaluate", *words, "--bootstrap", 0, "--format", "json").stdout)["runs"]
    return figures


def exact(right: int, count: int) -> float:
    """Clopper and Pearson's one-sided 95 % limit by SciPy."""
    return binomtest(right, count, alternative="greater").proportion_ci(0.95, "exact").low


def test_a_threshold_is_the_last_before_the_first_that_fails(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    facts = figures_of(bccli, table, "--triage", "npv=0.95")["triage"]
    scores, malignant = highest(table, "val")
    threshold = None
    for candidate in np.sort(scores)[1:]:
        below = scores < candidate
        if below.sum() >= 59:  # 0.95^58 > 0.05
            if exact(int((~malignant[below]).sum()), int(below.sum())) < 0.95:
                break
            threshold = candidate
    (rule,) = facts["rules"]
    assert rule["threshold"] == pytest.approx(threshold, abs=1e-12)
    assert rule["bound"] == pytest.approx(exact(rule["count"] - rule["misses"], rule["count"]), abs=1e-9)
    scores, malignant = highest(table, "test")
    found, below = facts["measured"]["npv=0.95"], scores < rule["threshold"]
    assert found["set_aside"] == pytest.approx(below.mean())
    assert found["npv"] == pytest.approx((~malignant[below]).mean())
    assert found["sensitivity"] == pytest.approx((~below)[malignant].mean())
    assert found["ppv"] == pytest.approx(malignant[~below].mean())
    assert found["ci"]["npv"] == pytest.approx(
        list(binomtest(int((~malignant[below]).sum()), int(below.sum())).proportion_ci(0.95, "wilson"))
    )
    assert facts["optimistic"] is None


def test_sensitivity_is_promised_whatever_the_prevalence(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    words = "--triage", "sensitivity=0.9", "--prevalence", "0.01"
    found = figures_of(bccli, table, *words)["triage"]["measured"]["sensitivity=0.9"]
    sensitivity, specificity = found["sensitivity"], found["specificity"]
    aside = specificity * 0.99 + (1 - sensitivity) * 0.01
    assert found["at_prevalence"]["npv"] == pytest.approx(specificity * 0.99 / aside)
    text = bccli("evaluate", table, *words, "--bootstrap", 0).stderr
    text += bccli("evaluate", table, *words, "--bootstrap", 0, "--format", "table").stdout
    assert "at 0.01 they are NPV" in text
    assert "hold for a prevalence of 0.333" in text


@pytest.mark.pictures
def test_what_deciding_is_worth_is_drawn(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    words = "--triage", "npv=0.95", "--triage", "ppv=0.8", "--bootstrap", 0, "--format", "table"
    text = bccli("evaluate", table, *words, "--output", tmp_path / "out").stdout
    assert "is set aside where no image has" in text
    assert "is flagged where an image has" in text
    assert (tmp_path / "out" / "triage.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "triage.svg").read_text().startswith("<?xml")
    bccli("evaluate", table, "--bootstrap", 0, "--output", tmp_path / "plain")
    assert not (tmp_path / "plain" / "triage.png").exists()


def test_several_promises_stand_side_by_side(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    facts = figures_of(bccli, table, "--triage", "npv=0.95", "--triage", "ppv=0.8")["triage"]
    assert [rule["rule"] for rule in facts["rules"]] == ["npv", "ppv"]
    curve = facts["decision_curve"]
    assert len(curve["model"]) == len(curve["thresholds"]) == len(curve["all"])
    scores, malignant = highest(table, "test")
    treated = scores >= 0.2
    benefit = (treated & malignant).mean() - (treated & ~malignant).mean() * 0.25
    assert curve["model"][curve["thresholds"].index(0.2)] == pytest.approx(benefit)
    assert 0 < facts["risk_coverage"]["area"] < 0.5


@pytest.mark.parametrize(
    ("changes", "words", "sentence"),
    [
        ({"patients": 100}, ("npv=0.98",), "149 patients in val, all of them right, and there are 100"),
        ({"patient": ""}, ("npv=0.9",), "unknown patients"),
        ({"split": ""}, ("npv=0.9",), "has no images of val"),
        ({"seed": 5, "patients": 200}, ("ppv=0.999",), "needs at least"),
    ],
)  # fmt: skip
def test_what_val_cannot_bear_is_refused(
    bccli: Bccli, tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...], sentence: str
) -> None:
    table = write_table(tmp_path / "t.csv", **changes)
    options = [word for rule in words for word in ("--triage", rule)]
    assert sentence in refused(bccli("evaluate", table, *options, "--bootstrap", 0, exit=3))


def test_a_positive_class_that_nobody_names_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    plain = table.read_text().replace("benign", "left").replace("malignant", "right")
    table.write_text(plain)
    words = "evaluate", table, "--triage", "npv=0.9", "--bootstrap", 0
    assert "add --positive left or --positive right" in refused(bccli(*words, exit=3))
    bccli(*words, "--positive", "right")


def test_a_prevalence_alone_says_nothing(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    result = bccli("evaluate", table, "--prevalence", "0.1", exit=2)
    assert "--prevalence is about --triage" in refused(result)


def test_sets_hold_the_true_class_as_often_as_asked(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv")
    facts = figures_of(bccli, table, "--coverage", "0.9")["conformal"]
    assert facts["by_class"]
    assert facts["approximate"]
    assert facts["measured"]["ci"][0] <= 0.9 <= facts["measured"]["ci"][1]
    held: dict[str, list[bool]] = {}
    for row in read_rows(table):
        if row["split"] == "test":
            inside = float(row[f"p_{row['label']}"]) >= facts["limits"][row["label"]]
            held.setdefault(row["patient"], []).append(inside)
    expected = np.mean([np.mean(values) for values in held.values()])
    assert facts["measured"]["coverage"] == pytest.approx(expected)
    few = write_table(tmp_path / "few.csv", patients=8)
    sentence = refused(bccli("evaluate", few, "--coverage", "0.9", exit=3))
    assert "needs at least 9 patients in val, and there are 8" in sentence


# With a run


def fill(root: Path) -> None:
    for patient in range(48):
        label = ("benign", "malignant")[patient % 2]
        for number in range(2):
            pixels = draw(patient % 2, patient * 10 + number, (32, 32))
            save(root / "raw" / label / f"p{patient}_{number}.png", pixels)
    data = root / "data"
    bccli_in("prepare", "folder", root / "raw", data, *PATIENT, "--ratios", "1/2/1")
    bccli_in("train", data, root / "run", *FROZEN)


@pytest.fixture
def run(library: Library, tmp_path: Path) -> Path:
    """A run of one's own, with 24 patients in val."""
    return Path(shutil.copytree(library.folder("decisions", fill) / "run", tmp_path / "run"))


@pytest.fixture
def raw(library: Library) -> Path:
    return library.folder("decisions", fill) / "raw"


SIX_DIGITS = 1e-6
"""What predict's CSV may differ by from the probability that decides."""


@pytest.mark.exports
def test_predict_decides_by_what_was_locked(bccli: Bccli, run: Path, raw: Path) -> None:
    before = rows_of(bccli("predict", run, raw, "--format", "csv").stdout)
    assert list(before[0])[-2:] == ["p_malignant", "error"]
    words = "--triage", "sensitivity=0.6", "--coverage", "0.8"
    figures = figures_of(bccli, run, *words)
    assert figures["triage"]["optimistic"] is True
    (rule,) = figures["triage"]["rules"]
    limits = figures["conformal"]["limits"]
    after = rows_of(bccli("predict", run, raw, "--format", "csv").stdout)
    assert list(after[0])[-4:] == ["p_malignant", "decision", "set", "error"]
    for row, plain in zip(after, before, strict=True):
        assert {name: row[name] for name in plain} == plain
        share = float(row["p_malignant"])
        if abs(share - rule["threshold"]) > SIX_DIGITS:
            assert row["decision"] == ("negative" if share < rule["threshold"] else "refer")
        if all(abs(float(row[f"p_{name}"]) - limits[name]) > SIX_DIGITS for name in ("benign", "malignant")):
            members = [name for name in ("benign", "malignant") if float(row[f"p_{name}"]) >= limits[name]]
            assert row["set"] == "|".join(members)
    assert {row["decision"] for row in after} <= {"negative", "refer"}
    counts = Counter(row["decision"] for row in after).most_common()
    said = bccli("predict", run, raw, "--format", "csv").stderr
    assert f"decisions: {', '.join(f'{count} {name}' for name, count in counts)}" in said
    flipped = bccli("predict", run, raw, "--format", "csv", "--tta")
    assert "decision" not in rows_of(flipped.stdout)[0]
    assert "locked without --tta" in flipped.stderr
    several = bccli("predict", run, raw, "--format", "csv", "--ensemble", run).stdout
    assert "decision" not in rows_of(several)[0]


@pytest.mark.exports
def test_what_was_locked_at_another_temperature_is_left_out(bccli: Bccli, run: Path, raw: Path) -> None:
    bccli("evaluate", run, "--triage", "sensitivity=0.6", "--bootstrap", 0)
    bccli("evaluate", run, "--calibrate", "--bootstrap", 0)
    result = bccli("predict", run, raw, "--format", "csv")
    assert "decision" not in rows_of(result.stdout)[0]
    assert "was locked at another temperature" in result.stderr
    bccli("evaluate", run, "--triage", "sensitivity=0.6", "--bootstrap", 0)
    assert "decision" in rows_of(bccli("predict", run, raw, "--format", "csv").stdout)[0]


@pytest.mark.exports
def test_one_threshold_sets_aside_and_another_flags(bccli: Bccli, run: Path, raw: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    info["triage"] = {
        "positive": "malignant", "temperature": None,
        "rules": [
            {"rule": "npv", "target": 0.9, "threshold": 0.45},
            {"rule": "ppv", "target": 0.9, "threshold": 0.55},
        ],
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(info))
    for row in rows_of(bccli("predict", run, raw, "--format", "csv").stdout):
        share = float(row["p_malignant"])
        expected = "negative" if share < 0.45 else "positive" if share >= 0.55 else "refer"
        assert row["decision"] == expected


def test_val_that_shares_patients_with_train_promises_nothing(bccli: Bccli, run: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    info["leakage"]["val"] = {**(info["leakage"].get("val") or {}), "patients": 3}
    (run / "run.json").write_text(json.dumps(info))
    for words in (("--triage", "sensitivity=0.6"), ("--coverage", "0.8")):
        assert "shares 3 patients with train" in refused(bccli("evaluate", run, *words, exit=3))


@pytest.mark.exports
def test_the_mean_of_folds_is_not_decided_by_what_single_ones_answered(
    bccli: Bccli, raw: Path, tmp_path: Path
) -> None:
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, "--folds", 3, "--size", "32x32")
    run = tmp_path / "run"
    bccli("train", tmp_path / "data", run, "--fold", "all", *FROZEN)
    words = "--triage", "sensitivity=0.6", "--coverage", "0.8", "--bootstrap", 0, "--format", "json"
    result = bccli("evaluate", run, *words)
    assert "promise nothing" in result.stderr
    (figures,) = json.loads(result.stdout)["runs"]
    assert figures["triage"]["rules"]
    assert figures["conformal"]["limits"]
    info = json.loads((run / "run.json").read_text())
    assert info.get("triage") is None
    assert info.get("conformal") is None
    row = rows_of(bccli("predict", run, raw, "--format", "csv").stdout)[0]
    assert not {"decision", "set", "unlike"} & set(row)


@pytest.mark.parametrize("option", ["--prevalence", "--coverage"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_what_is_no_number_is_refused(bccli: Bccli, tmp_path: Path, option: str, value: str) -> None:
    words = "--triage", "sensitivity=0.9", f"{option}={value}"
    assert value in refused(bccli("evaluate", write_table(tmp_path / "table.csv"), *words, exit=2))


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("triage", {"positive": "nobody", "rules": [{"rule": "npv", "target": 0.9, "threshold": 0.5}]}),
        ("triage", {"positive": "malignant", "rules": []}),
        ("conformal", {"coverage": 0.9, "limits": {}}),
        ("conformal", {"coverage": 0.9, "limits": {"benign": 0.5}}),
        ("conformal", {"coverage": 0.9, "limits": {"benign": 0.5, "other": 0.5}}),
    ],
)
def test_decisions_about_other_classes_are_no_decisions(
    bccli: Bccli, run: Path, raw: Path, name: str, facts: dict[str, Any]
) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, name: {**facts, "temperature": None}}))
    assert f"'{name}' is not what bccli writes" in refused(bccli("predict", run, raw, exit=3))


@pytest.mark.parametrize("words", [("--triage", "sensitivity=0.6"), ("--coverage", "0.8")])
def test_a_table_whose_val_shares_patients_with_train_promises_nothing(
    bccli: Bccli, tmp_path: Path, words: tuple[str, str]
) -> None:
    table = write_table(tmp_path / "table.csv")
    rows = read_rows(table)
    of_val = [row for row in rows if row["split"] == "val"]
    alike = [
        {**row, "path": f"t{row['path']}", "split": "train"} for row in of_val if row["patient"] < "val2"
    ]
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, *alike])
    named = len({row["patient"] for row in alike})
    assert f"shares {named} patients with train" in refused(bccli("evaluate", table, *words, exit=3))


# What is unlike train


@pytest.fixture(scope="module")
def guarded(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a run beside it that knows what its training images are like."""
    root = tmp_path_factory.mktemp("guarded")
    shutil.copytree(library.folder("decisions", fill), root, dirs_exist_ok=True)
    bccli_in("evaluate", root / "run", "--coverage", "0.8", "--bootstrap", 0)
    return root


@pytest.mark.exports
def test_predict_names_images_that_are_unlike_train(bccli: Bccli, guarded: Path, tmp_path: Path) -> None:
    known = rows_of(bccli("predict", guarded / "run", guarded / "raw", "--format", "csv").stdout)
    assert list(known[0])[-4:] == ["p_malignant", "set", "unlike", "error"]
    assert np.mean([row["unlike"] != "" for row in known]) < 0.1
    rng = np.random.default_rng(0)
    save(tmp_path / "new" / "dark.png", draw(0, 3, (32, 32)) // 12)
    save(tmp_path / "new" / "green.png", draw(0, 4, (32, 32)) * np.array([0, 1, 0], np.uint8))
    save(tmp_path / "new" / "noise.png", rng.integers(0, 2, (32, 32, 3)).astype(np.uint8) * 255)
    found = rows_of(bccli("predict", guarded / "run", tmp_path / "new", "--format", "csv").stdout)
    said = bccli("predict", guarded / "run", tmp_path / "new", "--format", "csv").stderr
    assert "3 of 3 images are unlike those of training" in said
    dark, green, noise = (row["unlike"].split("|") for row in found)
    assert "brightness" in dark
    assert "stain" in green
    assert "features" in noise or "brightness" in noise
    both = guarded / "run", tmp_path / "new", "--ensemble", guarded / "run"
    several = bccli("predict", *both, "--format", "csv")
    assert "unlike" not in rows_of(several.stdout)[0]


def test_without_its_data_a_run_cannot_learn_what_they_are_like(bccli: Bccli, run: Path) -> None:
    result = bccli("evaluate", run, "--coverage", "0.8", "--bootstrap", 0)
    assert "predict will not say which images are unlike train" in result.stderr
    assert not (run / "unlike.npz").exists()


@pytest.mark.exports
def test_a_damaged_guard_is_named(bccli: Bccli, guarded: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(guarded / "run", tmp_path / "run"))
    (run / "unlike.npz").write_bytes(b"junk")
    assert "unlike.npz" in refused(bccli("predict", run, guarded / "raw", exit=3))


def test_a_run_that_learns_more_forgets_what_its_images_were_like(
    bccli: Bccli, guarded: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(guarded / "run", tmp_path / "run"))
    bccli("train", guarded / "data", run, *FROZEN[:4], "--epochs", 3, "--batch-size", 8)
    info = json.loads((run / "run.json").read_text())
    assert info.get("conformal") is None
    assert not (run / "unlike.npz").exists()
    assert "unlike.npz" not in info["files"]
