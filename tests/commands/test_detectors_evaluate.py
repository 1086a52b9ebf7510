"""`bccli evaluate` of detectors: how well their boxes find lesions, beside the figures of whole images."""

import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.commands.lesion_films import TRAIN, draw_lesion_films
from tests.commands.test_strangers_files import forge
from tests.conftest import Bccli, forget, read_rows, rows_of
from tests.library import Library, bccli_in
from tests.sentences import refused

RATES = "0.25", "0.5", "1", "2", "4"
FROZEN = "--head", "detector", "--backbone", "cnn-15", "--epochs", 2, "--batch-size", 8, "--dense", 4


def fill(root: Path) -> None:
    """A detector with its data, another dataset, one without masks, and detectors of three folds."""
    datasets: dict[str, dict[str, Any]] = {
        "data": {}, "other": {"seed": 1}, "bare": {"seed": 2, "masks": False},
    }  # fmt: skip
    for name, options in datasets.items():
        bccli_in("prepare", "csv", draw_lesion_films(root / f"raw-{name}", **options), root / name)
    films = draw_lesion_films(root / "raw-in-folds", folds=True)
    bccli_in("prepare", "csv", films, root / "in-folds", "--folds", 3)
    bccli_in("train", root / "data", root / "run", *TRAIN)
    bccli_in("train", root / "in-folds", root / "folds", *FROZEN, "--fold", "all")


@pytest.fixture
def place(library: Library) -> Path:
    """The runs and data, which nobody may change."""
    return library.folder("detectors-evaluate", fill)


@pytest.fixture
def own(library: Library, tmp_path: Path) -> Path:
    """The runs and data, of one's own."""
    return library.copy("detectors-evaluate", fill, tmp_path / "place")


def measured(bccli: Bccli, *words: object) -> list[dict[str, Any]]:
    """The figures that `evaluate` prints."""
    found: list[dict[str, Any]] = json.loads(bccli("evaluate", *words, "--format", "json").stdout)["runs"]
    return found


Box = tuple[int, int, int, int]


def edges(row: dict[str, str]) -> Box:
    left, top, right, bottom = (int(row[name]) for name in ("left", "top", "right", "bottom"))
    return left, top, right, bottom


def overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(across, 0) * max(down, 0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (both - shared)


def hits_by_hand(run: Path, data: Path, split: str) -> tuple[int, list[tuple[float, float]], list[float]]:
    """How many films there are, score and IoU of the box on each lesion (0 and 0 where there is none), and
    the scores of false boxes, for films with one lesion at most."""
    masks = {row["path"]: row["mask"] for row in read_rows(data / "manifest.csv")}
    films = [row["path"] for row in read_rows(run / "predictions.csv") if row["split"] == split]
    boxes: dict[str, list[tuple[float, Box]]] = defaultdict(list)
    for row in read_rows(run / "boxes.csv"):
        if row["split"] == split:
            boxes[row["path"]].append((float(row["score"]), edges(row)))
    lesions = {row["path"]: edges(row) for row in read_rows(run / "lesions.csv") if row["split"] == split}
    found, false = [], []
    for path in films:
        best = (0.0, 0.0)
        for score, box in sorted(boxes[path], reverse=True):
            lesion = lesions.get(path)
            if lesion is None:
                false.append(score)
                continue
            mask = Image.open(data / masks[path]).convert("L")
            middle = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
            shared = overlap(lesion, box)
            if shared >= 0.2 or mask.getpixel(middle) > 127:  # type: ignore[operator]
                best = best if best[0] else (score, shared)
            else:
                false.append(score)
        found += [best] if path in lesions else []
    return len(films), found, false


def share_found(scores: Sequence[float], false: Sequence[float], allowed: float) -> float:
    """The largest share of lesions that a threshold finds with so many false boxes at most."""
    thresholds = sorted({*scores, *false} - {0.0})
    return max(
        (
            sum(score >= threshold for score in scores) / len(scores)
            for threshold in thresholds
            if sum(score >= threshold for score in false) <= allowed
        ),
        default=0.0,
    )


@pytest.mark.parametrize(("run", "data"), [("run", "data"), ("folds", "in-folds")])
@pytest.mark.parametrize("split", ["val", "test"])
def test_figures_are_those_of_a_plain_loop(
    bccli: Bccli, place: Path, run: str, data: str, split: str
) -> None:
    entry = measured(bccli, place / run, "--split", split, "--bootstrap", 0)[0]
    froc, films = entry["froc"], hits_by_hand(place / run, place / data, split)
    count, found, false = films
    scores = [score for score, _ in found]
    assert (froc["films"], froc["lesions"], entry["n"]) == (count, len(found), count)
    either = froc["rules"]["either"]
    for rate in RATES:
        expected = share_found(scores, false, float(rate) * count)
        assert either["all"]["sensitivity"][rate]["value"] == pytest.approx(expected)
    point = either["point"]
    sure = [pair for pair in found if pair[0] and pair[0] >= point["threshold"]]
    assert point["sensitivity"]["value"] == pytest.approx(len(sure) / len(found))
    assert point["iou_of_lesions"]["value"] == pytest.approx(sum(iou for _, iou in sure) / len(found))
    above = sum(score >= point["threshold"] for score in false)
    assert point["false_per_film"]["value"] == pytest.approx(above / count)
    assert froc["given_threshold"] == (split == "test")


def test_the_threshold_is_chosen_on_val(bccli: Bccli, place: Path) -> None:
    on_val, on_test = (
        measured(bccli, place / "run", "--split", split, "--bootstrap", 0)[0]["froc"]["rules"]["either"][
            "point"
        ]
        for split in ("val", "test")
    )
    assert on_val["threshold"] == on_test["threshold"]
    assert on_val["false_per_film"]["value"] <= 1
    count, found, false = hits_by_hand(place / "run", place / "data", "val")
    lowest = min(score for score in [*(score for score, _ in found), *false] if score)
    assert on_val["threshold"] == pytest.approx(lowest) or len(false) > count


def test_a_detector_finds_discs_and_its_figures_are_stored(bccli: Bccli, place: Path) -> None:
    stored = json.loads((place / "run" / "metrics.json").read_text())["runs"]
    assert [entry["split"] for entry in stored] == ["val", "test"]
    assert stored[1]["froc"]["rules"]["either"]["all"]["sensitivity"]["1"]["value"] >= 0.75
    again = measured(bccli, place / "run")[0]
    assert again["froc"] == stored[1]["froc"]
    assert again["froc"]["resampled"].startswith("patients")
    assert again["froc"]["patients"] == again["patients"] == 6
    pooled = json.loads((place / "folds" / "metrics.json").read_text())["runs"]
    assert all(entry["froc"]["films"] == 36 for entry in pooled)


def test_tables_say_what_is_counted_and_csv_has_flat_columns(bccli: Bccli, place: Path) -> None:
    run = place / "run"
    text = bccli("evaluate", run, "--format", "table", "--bootstrap", 200).stdout
    for words in ("lesions found", "mean of these", "average precision, IoU from 0.3 on", "IoU of all"):
        assert words in text
    assert "at most one false box a film on val" in " ".join(text.split())
    assert "further boxes on it are not false" in " ".join(text.split())
    for format in ("markdown", "latex"):
        assert "mean of these" in bccli("evaluate", run, "--format", format).stdout
    (row,) = rows_of(bccli("evaluate", run, "--format", "csv", "--bootstrap", 200).stdout)
    entry = measured(bccli, run, "--bootstrap", 200)[0]["froc"]
    either = entry["rules"]["either"]
    assert entry["rounds"] == 200
    assert float(row["froc_mean"]) == pytest.approx(either["all"]["mean"]["value"])
    assert float(row["sensitivity_at_1"]) == pytest.approx(either["all"]["sensitivity"]["1"]["value"])
    assert float(row["ap_0.3"]) == pytest.approx(entry["average_precision"]["0.3"]["value"])
    assert float(row["iou_of_hits"]) == pytest.approx(either["point"]["iou_of_hits"]["value"])
    chosen = "name,froc_mean,froc_mean_low,ap_0.5"
    (row,) = rows_of(bccli("evaluate", run, "--format", "csv", "--columns", chosen).stdout)
    assert list(row) == chosen.split(",")


def test_groups_and_cases_of_patients(bccli: Bccli, place: Path) -> None:
    whole, *groups = measured(bccli, place / "run", "--by", "scanner", "--bootstrap", 0)
    assert [entry["group"] for entry in groups] == ["scanner new", "scanner old"]
    assert [entry["froc"]["films"] for entry in groups] == [6, 6]
    sizes = [entry["froc"]["sizes"]["small"]["up_to"] for entry in (whole, *groups)]
    assert len(set(sizes)) == 1
    for name in ("small", "medium", "large"):
        counts = [entry["froc"]["sizes"][name]["lesions"] for entry in (whole, *groups)]
        assert counts[0] == counts[1] + counts[2]
    text = bccli("evaluate", place / "run", "--by", "scanner", "--format", "markdown").stdout
    assert "mean of all rates" in text
    by_patient = measured(bccli, place / "run", "--level", "patient", "--bootstrap", 0)[0]
    assert (by_patient["n"], by_patient["froc"]["films"]) == (6, 12)
    text = bccli("evaluate", place / "run", "--level", "patient", "--format", "table").stdout
    assert "film by film, not by patient" in " ".join(text.split())


def test_several_runs_side_by_side(bccli: Bccli, own: Path) -> None:
    shutil.copytree(own / "run", own / "again")
    text = " ".join(bccli("evaluate", own / "run", own / "again", "--format", "table").stdout.split())
    assert "boxes of two detectors are not compared" in text
    bccli("train", own / "data", own / "flat", "--backbone", "cnn-15", "--epochs", 1, "--dense", 4)
    rows = rows_of(
        bccli(
            "evaluate", own / "run", own / "again", own / "flat", "--format", "csv", "--bootstrap", 0
        ).stdout
    )
    assert {row["name"]: bool(row["froc_mean"]) for row in rows} == {
        "run": True, "again": True, "flat": False,
    }  # fmt: skip


@pytest.mark.pictures
def test_pictures_and_a_report_have_the_curve(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    words = "--bootstrap", 200, "--output", tmp_path / "out", "--report", tmp_path / "report.html"
    bccli("evaluate", place / "folds", *words)
    assert {"froc.png", "froc.svg", "figures.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    bccli("evaluate", place / "folds", *words)  # all of these are evaluate's own
    page = (tmp_path / "report.html").read_text()
    for words_of_page in (
        'id="r1-boxes"',
        'id="r1-froc-title"',
        "Lesions that are found",
        "one false box",
    ):
        assert words_of_page in page


def test_a_report_of_a_classifier_has_no_boxes(bccli: Bccli, finished: Path, tmp_path: Path) -> None:
    bccli("evaluate", finished, "--report", tmp_path / "report.html", "--bootstrap", 0)
    assert "r1-boxes" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("run", ["run", "folds"])
def test_another_dataset_is_seen_with_its_own_lesions(bccli: Bccli, place: Path, run: str) -> None:
    own_figures = measured(bccli, place / run, "--bootstrap", 0)[0]
    result = bccli("evaluate", place / run, "--data", place / "other", "--format", "json", "--bootstrap", 0)
    entry = json.loads(result.stdout)["runs"][0]
    assert (entry["n"], entry["froc"]["films"], entry["froc"]["lesions"]) == (36, 36, 24)
    assert entry["classes"] == ["normal", "lesion"]
    assert entry["leakage"]["patients"] == 0
    points = [figures["froc"]["rules"]["either"]["point"] for figures in (own_figures, entry)]
    assert points[0]["threshold"] == points[1]["threshold"]


def test_its_own_data_as_another_dataset_give_the_same_boxes(bccli: Bccli, place: Path) -> None:
    stored = {
        split: measured(bccli, place / "run", "--split", split, "--bootstrap", 0)[0]["froc"]
        for split in ("val", "test")
    }
    result = bccli("evaluate", place / "run", "--data", place / "data", "--format", "json", "--bootstrap", 0)
    entry = json.loads(result.stdout)["runs"][0]["froc"]
    assert "shares" in result.stderr
    assert entry["lesions"] == sum(froc["lesions"] for froc in stored.values()) + 8  # those of train
    assert entry["boxes"] >= sum(froc["boxes"] for froc in stored.values())


def test_data_without_masks_cannot_be_measured_on(bccli: Bccli, place: Path) -> None:
    refused(bccli("evaluate", place / "run", "--data", place / "bare", exit=3), "has no masks")


def test_stored_boxes_answer_when_the_data_are_gone(bccli: Bccli, own: Path) -> None:
    before = measured(bccli, own / "run", "--bootstrap", 0)
    forget(own / "data", own / "raw-data")
    assert measured(bccli, own / "run", "--bootstrap", 0) == before


@pytest.mark.parametrize("name", ["boxes.csv", "lesions.csv"])
def test_changed_boxes_are_refused(bccli: Bccli, own: Path, name: str) -> None:
    path = own / "run" / name
    path.write_text(path.read_text() + "images/000/000001.png,test,0,0,1,1,1\n")
    refused(bccli("evaluate", own / "run", exit=3), "has changed")


def test_boxes_of_unknown_images_are_told(bccli: Bccli, own: Path) -> None:
    run = own / "run"
    before = measured(bccli, run, "--bootstrap", 0)
    for known in (run, own / "folds"):
        assert "boxes.csv" not in bccli("evaluate", known, "--bootstrap", 0).stderr
    strange = "images/000/999999.png,test,0,0,4,4,0.9\nimages/000/999998.png,val,0,0,4,4,0.9\n"
    forge(run, "boxes.csv", lambda path: path.write_text(path.read_text() + strange))
    result = bccli("evaluate", run, "--bootstrap", 0, "--format", "json")
    said = "2 rows of boxes.csv are of images that are not in predictions.csv, and count nowhere"
    assert result.stderr.count(said) == 1
    after = json.loads(result.stdout)["runs"]
    assert said in after[0]["remarks"]
    assert [entry["froc"] for entry in after] == [entry["froc"] for entry in before]


def test_what_a_detector_is_not_for(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    run, data, short = place / "run", place / "data", ("--backbone", "cnn-15", "--epochs", 1)
    refused(bccli("evaluate", run, "--calibrate", exit=2), "--calibrate", "is a detector")
    refused(bccli("finetune", run, tmp_path / "a", "--all", exit=3), "is a detector", "bccli train")
    tree = "normal, tumour(benign, cancer)"
    said = bccli(
        "hierarchy", data, tmp_path / "b", "--tree", tree, *short, "--compose", f"root={run}", exit=3
    )
    refused(said, "has the classes normal, lesion")
    said = bccli("hierarchy", data, tmp_path / "c", "--tree", tree, *short, "--head", "detector", exit=2)
    refused(said, "--head detector finds lesions")
    said = bccli("train", data, tmp_path / "d", "--features-from", run, "--head", "attention", exit=3)
    refused(said, "is a run of kind detector")
    bccli("train", data, tmp_path / "flat", *short, "--dense", 4)
    film = place / "raw-data" / "films" / "p0-0_old.png"
    refused(bccli("predict", tmp_path / "flat", film, "--ensemble", run, exit=3), "of the same classes")


@pytest.mark.exports
def test_a_node_whose_classes_fit_takes_a_detector(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    tree = "normal, lesion(benign, cancer)"
    short = "--backbone", "cnn-15", "--epochs", 1, "--dense", 4
    node = "--compose", f"root={place / 'run'}"
    bccli("hierarchy", place / "data", tmp_path / "tree", "--tree", tree, *short, *node)
    known = {row["path"]: row["p_lesion"] for row in read_rows(place / "run" / "predictions.csv")}
    for row in read_rows(tmp_path / "tree" / "predictions.csv"):
        assert float(row["root:lesion"]) == pytest.approx(float(known[row["path"]]), abs=1e-3)
