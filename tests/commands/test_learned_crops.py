"""A tree whose second stage sees crops that a detector finds, which has learned from the masks of train."""

import json
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from bccli.core import interruption
from bccli.core.training.loop import Fit
from bccli.core.training.settings import Schedule
from bccli.core.trees import learned_crops
from tests import cards
from tests.commands.test_tumours import HEIGHT, MARGIN, SECOND, TREE, WIDTH, draw_films, read_mask
from tests.conftest import Bccli, read_rows, rows_of, save
from tests.library import bccli_in
from tests.sentences import refused

TRAIN = "--backbone", "cnn-15", "--trainable", "all", "--epochs", 2, "--batch-size", 8, "--tree", TREE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with films, their crops and a run on these, which the tests of this module share."""
    root = tmp_path_factory.mktemp("crops")
    raw, crops = draw_films(root / "raw"), root / "crops"
    bccli_in("prepare", "csv", raw / "all.csv", root / "data")
    bccli_in(
        *("prepare", "csv", raw / "tumours.csv", crops, "--roi", "crop", "--margin", MARGIN),
        *("--size", "32x32"),
    )
    bccli_in("train", crops, root / "second", *SECOND)
    return root


@pytest.fixture(scope="module")
def learned(place: Path) -> Path:
    """A tree with a detector, made once."""
    bccli_in("hierarchy", place / "data", place / "run", *TRAIN, *with_crops(place))
    return place / "run"


def with_crops(place: Path) -> tuple[object, ...]:
    """The option that gives the tumour's node its crops."""
    return "--compose", f"tumor={place / 'second'}@{place / 'crops'}"


def without_nodes(place: Path, learned: Path) -> tuple[object, ...]:
    """The options of a tree of which only the detector is trained."""
    return "--tree", TREE, *with_crops(place), "--compose", f"root={learned / 'root'}"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors learn for two epochs, and know little."""
    monkeypatch.setattr(learned_crops, "Schedule", partial(Schedule, epochs=2))


def info_of(run: Path) -> dict:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def test_a_detector_finds_the_regions_and_figures_say_how_often(bccli: Bccli, learned: Path) -> None:
    info = info_of(learned)
    assert info["locators"] == {"tumor": {"detector": "detector"}}
    assert info["parts"] == ["root", "tumor"]
    assert info["settings"]["detector"] == "learned"
    runs = json.loads((learned / "metrics.json").read_text())["runs"]
    for row in runs:
        located = row["tree"]["nodes"]["tumor"]["located"]
        assert located["n"] == 8
        assert located["hit_rate"] >= 0.9, located
        assert located["iou"] >= 0.6, located
    again = json.loads(bccli("evaluate", learned, "--format", "json").stdout)["runs"][0]
    assert again["tree"]["nodes"]["tumor"]["located"] == runs[-1]["tree"]["nodes"]["tumor"]["located"]
    for row in read_rows(learned / "predictions.csv"):
        assert (row["tumor_hit"] == "") == (row["label"] == "normal")


def test_the_detector_is_a_run_that_has_not_seen_test(learned: Path) -> None:
    info = info_of(learned / "detector")
    assert (info["kind"], info["backbone"], info["seed"]) == ("detector", "cnn-15", 0)
    assert {"detector.tflite", "boxes.csv"} <= set(info["files"])
    seen = {row["patient"] for row in read_rows(learned / "detector" / "seen.csv")}
    tested = {row["patient"] for row in read_rows(learned / "predictions.csv") if row["split"] == "test"}
    assert seen == {row["patient"] for row in read_rows(learned / "seen.csv")}
    assert tested
    assert seen.isdisjoint(tested)


def test_predict_says_in_another_process_what_it_said_when_the_data_are_gone(
    bccli: Bccli,
    bccli_process: Callable[..., CompletedProcess[str]],
    learned: Path,
    place: Path,
    tmp_path: Path,
) -> None:
    stored = {row["source"]: row for row in read_rows(learned / "predictions.csv")}
    files = [place / "raw" / name for name in stored]
    before = bccli("predict", learned, *files)
    assert "looks for" in before.stderr
    moved = shutil.copytree(learned, tmp_path / "moved")
    gone = [(place / name, place / f"{name}-gone") for name in ("data", "crops", "second", "run")]
    for here, there in gone:
        here.rename(there)
    try:
        after = bccli_process("predict", moved, *files)
    finally:
        for here, there in gone:
            there.rename(here)
    assert after.returncode == 0, after.stderr
    assert "LiteRT" in after.stderr
    assert after.stdout == before.stdout
    near = []
    for answer, (name, row) in zip(rows_of(before.stdout), stored.items(), strict=True):
        left, top, right, bottom = map(int, answer["tumor_box"].split(","))
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT
        assert answer["tumor_box_from"] == "detector"
        if row["label"] != "normal":
            rows, columns = np.nonzero(read_mask(place / "raw" / "masks" / Path(name).name))
            near.append(left <= columns.mean() <= right and top <= rows.mean() <= bottom)
    assert np.mean(near) >= 0.9


def test_masks_win(bccli: Bccli, learned: Path, place: Path, tmp_path: Path) -> None:
    raw = place / "raw"
    rows = [row for row in read_rows(learned / "predictions.csv") if row["label"] != "normal"]
    files = [raw / row["source"] for row in rows]
    for row, answer in zip(
        rows, rows_of(bccli("predict", learned, *files, "--mask-dir", raw / "masks").stdout), strict=True
    ):
        assert answer["tumor_box_from"] == "mask"
        assert float(answer["tumor:cancer"]) == pytest.approx(float(row["tumor:cancer"]), abs=1e-4)
    save(tmp_path / files[0].name, read_mask(raw / "masks" / files[0].name))
    some = rows_of(bccli("predict", learned, *files, "--mask-dir", tmp_path).stdout)
    assert [row["tumor_box_from"] for row in some] == ["mask"] + ["detector"] * (len(files) - 1)


@pytest.mark.exports
def test_a_node_explains_within_the_box_of_the_detector(
    bccli: Bccli, learned: Path, place: Path, tmp_path: Path
) -> None:
    words = "predict", learned, place / "raw" / "films", "--format", "csv", "--explain", tmp_path
    for row in rows_of(bccli(*words).stdout):
        if row["predicted"] != "normal" and row["peak_x"]:
            left, top, right, bottom = map(int, row["tumor_box"].split(","))
            assert left <= int(row["peak_x"]) < right
            assert top <= int(row["peak_y"]) < bottom


def test_a_changed_detector_is_noticed(bccli: Bccli, learned: Path, place: Path, tmp_path: Path) -> None:
    run = shutil.copytree(learned, tmp_path / "run")
    with (run / "detector" / "detector.tflite").open("ab") as stream:
        stream.write(b" ")
    film = place / "raw" / "films" / "p1_0.png"
    refused(bccli("predict", run, film, exit=3), "detector.tflite", "has changed")
    shutil.rmtree(run / "detector")
    refused(bccli("predict", run, film, exit=3), "detector", "no such file or folder")


def test_where_litert_cannot_compute_it_tensorflow_does(
    bccli: Bccli, learned: Path, place: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(learned, tmp_path / "run")
    info = info_of(run / "detector")
    (run / "detector" / "run.json").write_text(json.dumps({**info, "exports": {"detector": {"error": "no"}}}))
    films = place / "raw" / "films"
    result = bccli("predict", run, films)
    assert "starting TensorFlow" in result.stderr
    pairs = zip(rows_of(result.stdout), rows_of(bccli("predict", learned, films).stdout), strict=True)
    for ours, theirs in pairs:
        assert float(ours["p_cancer"]) == pytest.approx(float(theirs["p_cancer"]), abs=1e-4)
        for column in ("tumor_box", "tumor_box_from", "predicted"):
            assert ours[column] == theirs[column]


def test_the_same_command_and_its_recipe_find_nothing_to_do(bccli: Bccli, learned: Path, place: Path) -> None:
    command = "hierarchy", place / "data", learned
    again = bccli(*command, *TRAIN, *with_crops(place))
    assert "learns from the 16 images of train with a mask" in again.stderr
    assert "nothing to do" in again.stderr
    assert "nothing to do" in bccli(*command, "--recipe", learned / "recipe.toml").stderr
    assert 'detector = "learned"' in (learned / "recipe.toml").read_text()
    other = bccli(*command, *TRAIN, *with_crops(place), "--detector", "cam", exit=3)
    refused(other, "was trained with detector learned")


def test_a_dry_run_shows_what_the_detector_learns_from(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    words = "hierarchy", place / "data", tmp_path / "run", *TRAIN, *with_crops(place), "--dry-run"
    rows = [row for row in rows_of(bccli(*words).stdout) if row["node"] == "detector"]
    shown = {(row["part"], row["label"]): int(row["images"]) for row in rows}
    assert shown[("train", "lesion")] == 16
    assert shown[("test", "normal")] == 4
    assert "detector" not in bccli(*words, "--detector", "cam").stdout


def test_what_a_detector_does_not_go_with_is_refused(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    command = "hierarchy", place / "data", tmp_path / "run", *TRAIN
    alone = bccli(*command, "--detector", "learned", exit=2)
    refused(alone, "--detector learned: no node sees regions", "--compose NODE=RUN@DATA")
    given = "--compose", f"detector={place / 'second'}"
    refused(bccli(*command, *given, exit=2), "--compose detector: no node sees regions")
    both = bccli(*command, *with_crops(place), *given, "--detector", "cam", exit=2)
    refused(both, "does not go with --detector cam")
    refused(bccli(*command, *with_crops(place), *given, exit=3), "is a network", "--head detector")
    raw = place / "raw"
    bccli("prepare", "csv", raw / "all.csv", tmp_path / "cut", "--patch", 32, "--min-tissue", 0)
    cut = "hierarchy", tmp_path / "cut", tmp_path / "run", *TRAIN, *with_crops(place), "--detector", "learned"
    refused(bccli(*cut, exit=2), "a detector looks at whole images", "--detector cam")
    card = cards.card(cards.write_keras(tmp_path / "network.keras"))
    frozen = *command, *with_crops(place), "--backbone", card, "--trainable", "none"
    said = bccli(*frozen, "--detector", "learned", exit=2)
    refused(said, "is a card, whose network gives no maps", "--detector cam")
    assert "class-activation maps, as " in bccli(*frozen, "--dry-run").stderr
    assert not (tmp_path / "run").exists()


def test_few_masks_leave_the_regions_to_maps(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    """Of the films of train, those of all patients but two lose their masks."""
    raw = shutil.copytree(place / "raw", tmp_path / "raw")
    lines = (raw / "all.csv").read_text().splitlines()
    kept = {"p1", "p2"}
    (raw / "all.csv").write_text(
        "\n".join(
            line if line.split(",")[2] in kept or ",train," not in line else line.rpartition(",")[0] + ","
            for line in lines
        )
    )
    bccli("prepare", "csv", raw / "all.csv", tmp_path / "data")
    words = "hierarchy", tmp_path / "data", tmp_path / "run", *TRAIN, *with_crops(place), "--dry-run"
    result = bccli(*words)
    assert "class-activation maps, as 4 images of train have a mask" in result.stderr
    assert "detector" not in result.stdout
    assert "detector" in bccli(*words, "--detector", "learned").stdout
    text = (raw / "all.csv").read_text()
    (raw / "all.csv").write_text(
        "\n".join(
            line if number == 0 else line.rpartition(",")[0] + ","
            for number, line in enumerate(text.splitlines())
        )
    )
    bccli("prepare", "csv", raw / "all.csv", tmp_path / "bare")
    bare = "hierarchy", tmp_path / "bare", tmp_path / "run", *TRAIN, *with_crops(place)
    refused(bccli(*bare, "--detector", "learned", exit=3), "has no masks")
    assert not (tmp_path / "run").exists()


@pytest.mark.exports
def test_a_signal_stops_the_detector_and_the_same_command_ends_it(
    bccli: Bccli,
    hasty: None,
    learned: Path,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGTERM comes in the second epoch of the detector."""
    seeds = Fit._seeds

    def requesting(fit: Fit, step: int) -> np.ndarray:
        if fit.state.parent.name == "detector" and fit.progress.epoch == 1:
            interruption.request(signal.SIGTERM)
        return seeds(fit, step)

    command, words = ("hierarchy", place / "data"), without_nodes(place, learned)
    bccli(*command, tmp_path / "whole" / "run", *words)
    with monkeypatch.context() as patches:
        patches.setattr(Fit, "_seeds", requesting)
        bccli(*command, tmp_path / "run", *words, exit=75)
    assert not (tmp_path / "run" / "predictions.csv").exists()
    assert not (tmp_path / "run" / "root").exists()
    again = bccli(*command, tmp_path / "run", *words).stderr
    assert "continuing after 1 epochs" in again
    for name in ("predictions.csv", "metrics.json", "detector/boxes.csv", "detector/history.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / "run" / name).read_bytes()


@pytest.mark.exports
def test_another_run_may_be_the_detector(bccli: Bccli, learned: Path, place: Path, tmp_path: Path) -> None:
    given = "--compose", f"detector={learned / 'detector'}"
    command = "hierarchy", place / "data", tmp_path / "run", *without_nodes(place, learned), *given
    assert "detector (for tumor): from" in bccli(*command).stderr
    kept = [path.name for path in (learned / "detector").iterdir() if path.name != ".lock"]
    assert all((tmp_path / "run" / "detector" / name).exists() for name in kept)
    ours, theirs = (read_rows(run / "predictions.csv") for run in (tmp_path / "run", learned))
    assert [row["tumor_iou"] for row in ours] == [row["tumor_iou"] for row in theirs]
    assert "nothing to do" in bccli(*command).stderr
    recipe = "--recipe", tmp_path / "run" / "recipe.toml"
    assert "nothing to do" in bccli("hierarchy", place / "data", tmp_path / "run", *recipe).stderr
    other = "--split-by", "patient", "--test-patients", "p0"
    bccli("prepare", "csv", place / "raw" / "all.csv", tmp_path / "other", *other)
    leaking = "hierarchy", tmp_path / "other", tmp_path / "leak", *TRAIN, *with_crops(place), *given
    refused(bccli(*leaking, exit=3), f"{learned / 'detector'} was trained on what is test here")


@pytest.mark.exports
@pytest.mark.slow
def test_each_fold_has_a_detector_and_a_box_is_found_by_all_of_them(
    bccli: Bccli, hasty: None, place: Path, tmp_path: Path
) -> None:
    for name in ("all", "tumours"):
        table = (place / "raw" / f"{name}.csv").read_text().splitlines()
        rows = [line.split(",") for line in table]
        text = "\n".join(",".join(row[:3] + row[4:]) for row in rows)
        (place / "raw" / f"{name}-folds.csv").write_text(text)
    folds = "--folds", 3
    bccli("prepare", "csv", place / "raw" / "all-folds.csv", tmp_path / "data", *folds)
    crops = tmp_path / "crops"
    bccli(
        *("prepare", "csv", place / "raw" / "tumours-folds.csv", crops, "--roi", "crop", "--size", "32x32"),
        *folds,
    )
    bccli("train", crops, tmp_path / "second", *SECOND, "--fold", "all", "--allow-leakage")
    run, node = tmp_path / "run", f"tumor={tmp_path / 'second'}@{crops}"
    words = *TRAIN, "--compose", node, "--fold", "all", "--allow-leakage"
    bccli("hierarchy", tmp_path / "data", run, *words)
    for fold in range(3):
        detector = run / f"fold-{fold}" / "detector"
        tested = {row["patient"] for row in read_rows(detector / "predictions.csv") if row["split"] == "test"}
        assert tested.isdisjoint(row["patient"] for row in read_rows(detector / "seen.csv"))
    assert {row["tumor_hit"] for row in read_rows(run / "predictions.csv")} & {"0.0", "1.0", "0", "1"}
    answers = rows_of(bccli("predict", run, place / "raw" / "films").stdout)
    assert {row["tumor_box_from"] for row in answers} == {"detector"}
    assert all(row["error"] == "" for row in answers)


@pytest.mark.exports
@pytest.mark.slow
def test_seeds_and_shards_of_trees_with_a_detector(
    bccli: Bccli, hasty: None, learned: Path, place: Path, tmp_path: Path
) -> None:
    command, words = ("hierarchy", place / "data"), without_nodes(place, learned)
    bccli(*command, tmp_path / "seeds", *words, "--seeds", 2, "--save", "best")
    kept = [
        name for name in (0, 1) if (tmp_path / "seeds" / f"tree-seed{name}/detector/detector.keras").exists()
    ]
    assert len(kept) == 1
    for seed in (0, 1):
        assert info_of(tmp_path / "seeds" / f"tree-seed{seed}" / "detector")["seed"] == seed
    bccli(*command, tmp_path / "whole", *words)
    bccli(*command, tmp_path / "shared", *words, "--shard", "1/2")
    shared = tmp_path / "shared" / "predictions.csv"
    assert shared.read_bytes() == (tmp_path / "whole" / "predictions.csv").read_bytes()
    bccli(*command, tmp_path / "whole", *words, "--overwrite", "--detector", "cam")
    assert not (tmp_path / "whole" / "detector").exists()
