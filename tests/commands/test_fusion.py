"""`bccli train --features-from` and what the other commands make of its runs."""

import csv
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bccli.cli import cli
from tests.commands.test_histology import iciar
from tests.conftest import Bccli, draw, forget, read_rows, rows_of, save, tree
from tests.core.imaging.slides import draw_slide
from tests.sentences import refused

SIDE, ROWS, COLS = 16, 3, 4
SHORT = "--epochs", 2, "--dense", 4
WAYS = {
    "bilstm": SHORT,
    "attention": ("--epochs", 2, "--dense", 4),
    "vote": (),
    "mean": (),
    "svm": (),
    "blocks-2x2": (),
}


def arrangement(number: int, seed: int = 0, spread: float = 70) -> tuple[str, np.ndarray]:
    """An image of 3 rows of 4 patches, two of them marked: the class is whether both lie in one row.

    Each patch has a colour of its own, which means nothing, up to `spread` from grey, and the mark is a
    chequered square in it: were all patches alike, a support vector machine would know the 66 arrangements
    by heart.
    """
    rng = np.random.default_rng([seed, number])
    together = number % 2
    rows = [rng.integers(ROWS)] * 2 if together else rng.choice(ROWS, 2, replace=False)
    cols = rng.choice(COLS, 2, replace=False) if together else rng.integers(COLS, size=2)
    image = np.repeat(
        np.repeat(128 + rng.uniform(-spread, spread, (ROWS, COLS, 3)), SIDE, axis=0), SIDE, axis=1
    )
    down, right = np.indices((12, 12))
    for row, col in zip(rows, cols, strict=True):
        top, left = rng.integers(0, 5, 2) + np.array([row, col]) * SIDE
        image[top : top + 12, left : left + 12] += (70 * ((down + right) % 2 * 2 - 1))[..., None]
    image += rng.normal(0, 8, image.shape)
    return ("apart", "together")[together], image.clip(0, 255).astype(np.uint8)


def arrangements(root: Path, count: int, seed: int = 0, spread: float = 70) -> Path:
    """A raw dataset of such images."""
    for number in range(count):
        label, image = arrangement(number, seed, spread)
        save(root / label / f"{number:05d}.png", image)
    return root


def run(*words: object) -> None:
    """A command that has to end well."""
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr


# Features of random filters show a mark as well as trained ones; the patch run itself cannot know it.
FROZEN = "--weights", "none", "--trainable", "none", "--epochs", 1, "--batch-size", 64


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw images, their patches in `data`, and the patch run `patches`, for all tests."""
    place = tmp_path_factory.mktemp("fusion")
    arrangements(place / "raw", 48)
    run("prepare", "folder", place / "raw", place / "data", "--patch", SIDE, "--ratios", "2/1/1")
    run("train", place / "data", place / "patches", *FROZEN)
    return place


@pytest.fixture(scope="module")
def fused(place: Path) -> Path:
    """A BiLSTM over them, which nobody changes."""
    out = place / "fused"
    run("train", place / "data", out, "--head", "bilstm", "--features-from", place / "patches", *SHORT)
    return out


def figures_of(bccli: Bccli, *words: object) -> dict[str, Any]:
    (figures,) = json.loads(bccli("evaluate", *words, "--format", "json").stdout)["runs"]
    return figures


# What it makes of patches


@pytest.mark.exports
def test_all_ways_share_the_features(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    """Each makes a run that predicts from raw images what it has stored."""
    raw = sorted((place / "raw").rglob("*.png"))
    for name, options in WAYS.items():
        out = tmp_path / name
        made = bccli(
            "train", place / "data", out, "--head", name, "--features-from", place / "patches", *options
        )
        assert "576 of 576 images were in the cache" in made.stderr
        assert json.loads((out / "run.json").read_text())["kind"] == "fusion"
        stored = read_rows(out / "predictions.csv")
        assert len(stored) == 24
        assert len(read_rows(out / "patches.csv")) == 24 * 12
        answers = {row["path"]: row for row in rows_of(bccli("predict", out, *raw).stdout)}
        for row in stored:
            answer = answers[str(place / "raw" / row["source"])]
            assert float(answer["p_apart"]) == pytest.approx(float(row["p_apart"]), abs=2e-4)
        figures = figures_of(bccli, out)
        assert (figures["kind"], figures["level"], figures["n"]) == ("fusion", "image", 12)
        assert figures["fusion"]["patch"]["n"] == 144
        if name in ("vote", "mean"):
            assert figures["fusion"][name]["accuracy"] == figures["accuracy"]


@pytest.mark.parametrize("name", [name for name in WAYS if name != "bilstm"])
def test_one_recipe_fits_all_ways(bccli: Bccli, place: Path, tmp_path: Path, name: str) -> None:
    """Its layers are its own head's, and its children a network's; what is said besides counts."""
    out = tmp_path / "out"
    command = "train", place / "data", out, "--recipe", "hybrid-bilstm:images", "--head", name
    learns = name == "attention"
    short = ("--epochs", 1, "--views", 1) if learns else ()
    said = bccli(*command, "--features-from", place / "patches", *short).stderr
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert settings["dense"] == ([128] if learns else [])
    assert (settings["augment"], settings["views"]) == (("hybrid", 1) if learns else (None, None))
    assert ("576 of 576 images were in the cache" in said) != learns
    more = *short, "--dense", "4,4", "--features-from", place / "patches"
    if learns:
        refused(bccli(*command, *more, exit=2), "1 layer")


@pytest.mark.exports
def test_seeds_make_a_sweep(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    """A run for each, by which means and deviations are known, and of which val chooses one."""
    command = "train", place / "data", tmp_path / "sweep", "--features-from", place / "patches"
    light = "--head", "attention", "--dense", 4, "--epochs", 2
    rows = rows_of(bccli(*command, *light, "--seeds", 2, "--save", "best").stdout)
    assert {row["name"] for row in rows} == {"attention-seed0", "attention-seed1"}
    values = [float(row["test_accuracy"]) for row in rows]
    assert all(float(row["test_accuracy_mean"]) == pytest.approx(np.mean(values)) for row in rows)
    chosen, other = (tmp_path / "sweep" / row["name"] for row in rows)
    image = next((place / "raw").rglob("*.png"))
    assert rows_of(bccli("predict", chosen, image).stdout)[0]["predicted"]
    refused(bccli("predict", other, image, exit=3), "its network was not kept")
    again = bccli(*command, *light, "--seeds", 3, "--save", "best").stderr
    assert again.count("nothing to do") == 2


@pytest.mark.slow
def test_the_arrangement_of_patches_is_told(bccli: Bccli, tmp_path: Path) -> None:
    """From pixels to labels, in small: what no rule about single patches can know."""
    data, patches = tmp_path / "data", tmp_path / "patches"
    arrangements(tmp_path / "raw", 400, spread=5)
    bccli("prepare", "folder", tmp_path / "raw", data, "--patch", SIDE)
    bccli("train", data, patches, *FROZEN)
    settings = {"bilstm": ("--dense", "24,24,24", "--epochs", 16, "--lr", 0.005), "vote": (), "mean": ()}
    accuracy = {}
    for name, options in settings.items():
        bccli("train", data, tmp_path / name, "--head", name, "--features-from", patches, *options)
        accuracy[name] = figures_of(bccli, tmp_path / name, "--split", "val")["accuracy"]
    assert accuracy["bilstm"] > 0.8
    assert abs(accuracy["vote"] - 0.5) < 0.12
    assert abs(accuracy["mean"] - 0.5) < 0.12


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
def test_the_arrangement_proof(bccli: Bccli, tmp_path: Path, seed: int) -> None:
    """2,000 images, of which 300 are test: standard error 0.03 at chance."""
    data, patches = tmp_path / "data", tmp_path / "patches"
    arrangements(tmp_path / "raw", 2000, seed)
    bccli(
        "prepare", "folder", tmp_path / "raw", data, "--patch", SIDE, "--ratios", "70/15/15", "--seed", seed
    )
    bccli("train", data, patches, *FROZEN)
    accuracy = {}
    for name in ("bilstm", "vote", "mean", "svm"):
        options = ["--seed", seed, "--epochs", 20] + ["--dense", "64,64,64"] * (name == "bilstm")
        bccli("train", data, tmp_path / name, "--head", name, "--features-from", patches, *options)
        accuracy[name] = figures_of(bccli, tmp_path / name)["accuracy"]
    assert accuracy["bilstm"] > 0.9
    assert abs(accuracy["vote"] - 0.5) < 0.1
    assert abs(accuracy["mean"] - 0.5) < 0.1
    assert accuracy["svm"] < accuracy["bilstm"] - 0.1


@pytest.mark.parametrize(
    ("options", "column"),
    [
        (("--sample", 20), "split"),
        (("--sample", 20, "--protocol", "paper"), "split"),
        (("--sample", 20, "--folds", 3, "--stain-target", "reference"), "fold"),
    ],
)
def test_no_image_has_patches_in_two_splits(
    bccli: Bccli, tmp_path: Path, options: tuple[object, ...], column: str
) -> None:
    """The images of BACH have no patients: each stays whole, and its children with it."""
    source = iciar(tmp_path / "bach", 6)
    for number, file in enumerate(sorted(source.rglob("*.tif"))):
        save(file, draw_slide(number, 0, (COLS * SIDE, ROWS * SIDE)))
    data, larger = tmp_path / "data", tmp_path / "larger"
    patches = "--patch", SIDE, "--stride", SIDE
    bccli("prepare", "bach", source, data, "--recipe", "hybrid-bilstm", *options, *patches)
    bccli("augment", data, larger, "--policy", "flips", "--per-image", 1)
    for root in (data, larger):
        rows = read_rows(root / "manifest.csv")
        assert {row["patient"] for row in rows} == {""}
        assert len({row[column] for row in rows}) == 3
        whole = Counter((row["source"], row["variant"], row[column]) for row in rows)
        assert set(whole.values()) == {ROWS * COLS}
        assert len({(name, part) for name, _, part in whole}) == len({name for name, _, _ in whole}) == 20


def test_a_fold_of_the_patches_is_one_of_the_images(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    """Fold 1 is test for both runs, fold 2 val, and each image is in one of them with all its patches."""
    data, patches, out = (tmp_path / name for name in ("data", "patches", "out"))
    bccli("prepare", "folder", place / "raw", data, "--patch", SIDE, "--folds", 4)
    bccli("train", data, patches, *FROZEN, "--fold", 1)
    bccli("train", data, out, "--head", "mean", "--features-from", patches, "--fold", 1)
    roles = {"1": "test", "2": "val"}
    found = {row["source"]: row["split"] for row in read_rows(out / "predictions.csv")}
    rows = [row for row in read_rows(data / "manifest.csv") if row["fold"] in roles]
    assert {row["source"]: roles[row["fold"]] for row in rows} == found
    for table in (patches / "predictions.csv", out / "patches.csv"):
        parts = Counter((row["source"], row["split"]) for row in read_rows(table))
        assert parts == dict.fromkeys(found.items(), ROWS * COLS)
    other = "train", data, tmp_path / "other", "--head", "mean", "--features-from", patches, "--fold", 2
    refused(bccli(*other, exit=3), "was trained on what is test here", "--allow-leakage")


@pytest.mark.slow
def test_the_order_of_the_manifest_does_not_matter(
    bccli: Bccli, place: Path, fused: Path, tmp_path: Path
) -> None:
    """Rows permuted, images the same: each has its patches row by row, and so the same answer."""
    data = tmp_path / "data"
    shutil.copytree(place / "data", data)
    rows = read_rows(data / "manifest.csv")
    order = np.random.default_rng(0).permutation(len(rows))
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[number] for number in order)
    (data / "manifest.csv").write_text(stream.getvalue(), encoding="utf-8")
    answers = []
    for number, folder in enumerate((place / "data", data)):
        out = tmp_path / f"vote{number}"
        bccli("train", folder, out, "--head", "vote", "--features-from", place / "patches")
        answers.append({row["path"]: float(row["p_apart"]) for row in read_rows(out / "predictions.csv")})
    assert answers[0] == pytest.approx(answers[1], abs=1e-6)
    again = bccli("evaluate", fused, "--data", place / "data", "--format", "json").stdout
    permuted = bccli("evaluate", fused, "--data", data, "--format", "json").stdout
    one, other = (json.loads(text)["runs"][0] for text in (again, permuted))
    assert one["log_loss"] == pytest.approx(other["log_loss"], abs=1e-6)
    assert one["confusion_matrix"] == other["confusion_matrix"]


@pytest.mark.slow
def test_children_of_one_variant_form_an_image(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    larger, patches, out = tmp_path / "larger", tmp_path / "patches", tmp_path / "out"
    bccli("augment", place / "data", larger, "--policy", "flips", "--per-image", 2)
    bccli("train", larger, patches, *FROZEN)
    said = bccli("train", larger, out, "--head", "bilstm", "--features-from", patches, *SHORT).stderr
    assert "96 images of" in said  # 24 of train with two children each, 24 others
    assert len(read_rows(out / "predictions.csv")) == 24


def test_training_may_see_stored_children(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    light = "--head", "attention", "--dense", 4, "--epochs", 2
    command = "train", place / "data", tmp_path / "out", "--features-from", place / "patches", *light
    refused(bccli(*command, "--augment", "flips", exit=2), "--augment", "--views")
    bccli(*command, "--augment", "flips", "--views", 2)
    assert "nothing to do" in bccli(*command, "--augment", "flips", "--views", 2).stderr
    vote = *command[:2], tmp_path / "vote", *command[3:5], "--head", "vote"
    said = bccli(*vote, "--augment", "flips", "--views", 2, "--epochs", 9).stderr
    assert "576 of 576 images were in the cache" in said  # it learns nothing, and so wants no children


# What the other commands make of it


def test_predict_needs_neither_the_data_nor_the_patch_run(
    bccli: Bccli, place: Path, fused: Path, tmp_path: Path
) -> None:
    """Raw images in, what was stored out, without TensorFlow, wherever the run lies."""
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(fused, moved)
    (place / "data").rename(place / "away")
    (place / "patches").rename(place / "gone")
    try:
        stored = read_rows(moved / "predictions.csv")
        said = bccli("predict", moved, *(place / "raw" / row["source"] for row in stored))
        assert "LiteRT" in said.stderr
        for row, answer in zip(stored, rows_of(said.stdout), strict=True):
            assert float(answer["p_apart"]) == pytest.approx(float(row["p_apart"]), abs=2e-4)
        assert figures_of(bccli, moved)["n"] == 12
        patches = rows_of(
            bccli("predict", moved, place / "raw" / stored[0]["source"], "--level", "patch").stdout
        )
        known = [row for row in read_rows(moved / "patches.csv") if row["source"] == stored[0]["source"]]
        assert [(row["row"], row["col"]) for row in patches[:5]] == [
            ("0", "0"), ("0", "16"), ("0", "32"), ("0", "48"), ("16", "0"),
        ]  # fmt: skip
        found = [float(row["p_apart"]) for row in patches]
        assert found == pytest.approx([float(row["p_apart"]) for row in known], abs=2e-4)
    finally:
        (place / "away").rename(place / "data")
        (place / "gone").rename(place / "patches")


def test_a_changed_part_is_named(bccli: Bccli, place: Path, fused: Path, tmp_path: Path) -> None:
    image = next((place / "raw").rglob("*.png"))
    for name in ("fusion.npz", "extractor.tflite"):
        broken = tmp_path / name
        shutil.copytree(fused, broken)
        (broken / name).write_bytes(b"PK")
        refused(bccli("predict", broken, image, exit=3), name, "has changed")


def test_tensorflow_gives_the_same(bccli: Bccli, place: Path, fused: Path, tmp_path: Path) -> None:
    heavy = tmp_path / "heavy"
    shutil.copytree(fused, heavy)
    info = json.loads((heavy / "run.json").read_text())
    info["exports"]["extractor"] = {"error": "no such operation"}
    (heavy / "run.json").write_text(json.dumps(info))
    images = sorted((place / "raw").rglob("*.png"))[:5]
    light, other = (bccli("predict", root, *images) for root in (fused, heavy))
    assert "starting TensorFlow" in other.stderr
    for one, two in zip(rows_of(light.stdout), rows_of(other.stdout), strict=True):
        assert float(one["p_apart"]) == pytest.approx(float(two["p_apart"]), abs=1e-5)


@pytest.mark.exports
def test_views_and_ensembles(bccli: Bccli, place: Path, fused: Path, tmp_path: Path) -> None:
    mean = tmp_path / "mean"
    bccli("train", place / "data", mean, "--head", "mean", "--features-from", place / "patches")
    image = next((place / "raw").rglob("*.png"))
    both = [float(rows_of(bccli("predict", root, image).stdout)[0]["p_apart"]) for root in (fused, mean)]
    (row,) = rows_of(bccli("predict", fused, image, "--ensemble", mean).stdout)
    assert float(row["p_apart"]) == pytest.approx(np.mean(both), abs=1e-6)
    (row,) = rows_of(bccli("predict", fused, image, "--tta").stdout)
    assert 0 < float(row["p_apart"]) < 1
    patched = rows_of(bccli("predict", fused, image, "--ensemble", mean, "--level", "patch").stdout)
    assert len(patched) == 12


def test_levels_stand_side_by_side(bccli: Bccli, fused: Path, place: Path) -> None:
    text = bccli("evaluate", fused, "--format", "table").stdout
    for words in ("patches", "majority vote", "mean probability", "AUC"):
        assert words in text
    (row,) = rows_of(bccli("evaluate", fused).stdout)
    assert {"patch_accuracy", "vote_accuracy", "mean_accuracy"} <= set(row)
    patch = figures_of(bccli, fused, "--level", "patch")
    assert (patch["level"], patch["n"]) == ("patch", 144)
    assert patch["accuracy"] == pytest.approx(float(row["patch_accuracy"]))
    assert figures_of(bccli, fused, "--level", "patient")["n"] == 12
    refused(
        bccli("evaluate", fused, "--level", "patch", "--calibrate", exit=2), "--calibrate", "--level patch"
    )
    other = figures_of(bccli, fused, "--data", place / "data")
    assert (other["n"], other["fusion"]["patch"]["n"]) == (48, 576)
    assert figures_of(bccli, fused, "--data", place / "data", "--level", "patch")["n"] == 576


def test_predict_by_patch_of_a_patch_run(bccli: Bccli, place: Path) -> None:
    image = sorted((place / "raw").rglob("*.png"))[0]
    rows = rows_of(bccli("predict", place / "patches", image, "--level", "patch").stdout)
    assert list(rows[0])[:3] == ["path", "row", "col"]
    (whole,) = rows_of(bccli("predict", place / "patches", image).stdout)
    mean = np.mean([float(row["p_apart"]) for row in rows])
    assert float(whole["p_apart"]) == pytest.approx(mean, abs=1e-6)
    assert (
        "0,16" in bccli("predict", place / "patches", image, "--level", "patch", "--format", "table").stdout
    )


def test_shards_answer_by_patch_as_one_command(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    command = "predict", place / "patches", place / "raw", "--level", "patch", "--output"
    bccli(*command, tmp_path / "whole")
    bccli(*command, tmp_path / "shared", "--shard", "2/2")
    assert (tmp_path / "shared").read_bytes() == (tmp_path / "whole").read_bytes()


def test_bad_images_are_rows(bccli: Bccli, fused: Path, place: Path, tmp_path: Path) -> None:
    """One that is smaller than a patch, one with fewer patches than those of train, one with more."""
    small = save(tmp_path / "small.png", draw(0, 0, (10, 10)))
    narrow = save(tmp_path / "narrow.png", draw(0, 0, (32, 16)))
    large = save(tmp_path / "large.png", draw(0, 0, (96, 64)))
    for level, counts in (("image", (1, 1)), ("patch", (2, 24))):
        answer = bccli("predict", fused, small, narrow, large, "--level", level, exit=4)
        rows = rows_of(answer.stdout)
        assert "smaller (10×10) than a patch" in rows[0]["error"]
        by_path = [row["path"] for row in rows]
        assert (by_path.count(str(narrow)), by_path.count(str(large))) == counts
        assert not any(row["error"] for row in rows[1:])


@pytest.mark.exports
@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["bilstm"], id="bilstm"),
        pytest.param([name for name in WAYS if name != "bilstm"], id="others", marks=pytest.mark.slow),
    ],
)
def test_images_with_unequal_numbers_of_patches(bccli: Bccli, tmp_path: Path, names: list[str]) -> None:
    """Blank patches are left out, and an image without tissue altogether; all ways fuse what is left."""
    raw, data = tmp_path / "raw", tmp_path / "data"
    rng = np.random.default_rng(0)
    for number in range(24):
        image = np.full((2 * SIDE, 3 * SIDE, 3), 250, np.uint8)
        for piece in rng.choice(6, 1 + number % 5, replace=False):
            row, col = SIDE * (piece // 3), SIDE * (piece % 3)
            stained = np.array([150, 60, 150]) + rng.integers(-40, 40, (SIDE, SIDE, 3))
            image[row : row + SIDE, col : col + SIDE] = stained
        save(raw / "ab"[number % 2] / f"{number}.png", image)
    save(raw / "a" / "glass.png", np.full((2 * SIDE, 3 * SIDE, 3), 250, np.uint8))
    bccli("prepare", "folder", raw, data, "--patch", SIDE, "--min-tissue", 0.2, "--ratios", "2/1/1")
    counts = {row["source"]: 0 for row in read_rows(data / "manifest.csv")}
    assert len(counts) == 24
    bccli("train", data, tmp_path / "patches", *FROZEN)
    for name in names:
        out = tmp_path / name
        bccli("train", data, out, "--head", name, "--features-from", tmp_path / "patches", *WAYS[name])
        rows = rows_of(bccli("predict", out, raw / "a" / "glass.png", raw / "b" / "1.png", exit=4).stdout)
        assert "no patch with enough tissue" in rows[0]["error"]
        assert not rows[1]["error"]


@pytest.mark.slow
@pytest.mark.exports
def test_the_recipe_from_tiff_to_label(bccli: Bccli, tmp_path: Path) -> None:
    """BACH's layout and size through both stages, as they are but for a small backbone and fewer epochs."""
    source = iciar(tmp_path / "bach", 3)
    for number, file in enumerate(sorted(source.rglob("*.tif"))):
        save(file, draw_slide(number, 0, (2048, 1536)))
    data, patches, out = (tmp_path / name for name in ("data", "patches", "out"))
    recipe, small = "hybrid-bilstm", ("--backbone", "cnn-15", "--weights", "none")
    bccli("prepare", "bach", source, data, "--recipe", recipe, "--sample", 12, "--ratios", "1/1/1")
    bccli("train", data, patches, "--recipe", f"{recipe}:patches", *small, "--epochs", 1)
    short = "--epochs", 2, "--views", 2
    bccli("train", data, out, "--recipe", f"{recipe}:images", "--features-from", patches, *short)
    forget(data, patches)
    stored = read_rows(out / "predictions.csv")
    assert len(stored) == 8
    answers = rows_of(bccli("predict", out, *(source / row["source"] for row in stored)).stdout)
    names = ("normal", "benign", "in_situ", "invasive")
    for row, answer in zip(stored, answers, strict=True):
        ours, theirs = ([float(one[f"p_{name}"]) for name in names] for one in (answer, row))
        assert ours == pytest.approx(theirs, abs=1e-4)
        first, second = sorted(theirs)[:-3:-1]
        # With so little training, two classes may be as likely as each other.
        assert answer["predicted"] == row["predicted"] or first - second < 1e-4
    for level in ("image", "patch"):
        assert figures_of(bccli, out, "--level", level)["paper"] is None  # which is about another network


# What is refused


@pytest.mark.parametrize("name", WAYS)
def test_a_fusion_needs_a_patch_run(bccli: Bccli, place: Path, tmp_path: Path, name: str) -> None:
    result = bccli("train", place / "data", tmp_path / "out", "--head", name, exit=2)
    refused(result, f"--head {name}", "--features-from RUN")


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (("--head", "gap"), "--head gap"),
        (("--backbone", "cnn-20"), "--backbone"),
        (("--weights", "none"), "--weights"),
        (("--trainable", "all"), "--trainable"),
        (("--input-norm", "train"), "--input-norm"),
        (("--mixed-precision",), "--mixed-precision"),
        (("--fold", "all"), "--fold all"),
        (("--head", "attention", "--dense", "4,4"), "attention has 1 layer"),
    ],
)
def test_options_that_the_patch_run_has_decided_are_refused(
    bccli: Bccli, place: Path, tmp_path: Path, options: tuple[object, ...], fragment: str
) -> None:
    command = "train", place / "data", tmp_path / "out", "--features-from", place / "patches"
    refused(bccli(*command, *options, exit=2), fragment)
    assert not (tmp_path / "out").exists()


@pytest.mark.exports
def test_a_run_that_is_no_patch_run_is_refused(
    bccli: Bccli, place: Path, fused: Path, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    command = "train", place / "data", tmp_path / "out", "--features-from"
    refused(bccli(*command, tmp_path / "none", exit=3), "no such file or folder")
    refused(bccli(*command, fused, exit=3), "kind fusion", "takes a network")
    raw = make_folder(patients=8)
    bccli("prepare", "folder", raw, tmp_path / "whole")
    bccli("train", tmp_path / "whole", tmp_path / "network", "--epochs", 1, "--trainable", "none")
    refused(bccli(*command, tmp_path / "network", exit=3), "whole images", "--patch")
    result = bccli("predict", tmp_path / "network", *raw.rglob("*_0.png"), "--level", "patch", exit=2)
    refused(result, "--level patch", "whole images")
    whole = "train", tmp_path / "whole", tmp_path / "out", "--features-from", place / "patches"
    refused(bccli(*whole, exit=3), "whole images", "--patch")


@pytest.mark.parametrize(
    ("classes", "side", "fragments"),
    [
        (("apart", "united"), SIDE, ("knows the classes apart, together", "apart, united")),
        (("apart", "together"), 24, ("its patches are 24×24", "knows only 16×16")),
    ],
)
def test_data_that_the_patch_run_does_not_know_is_refused(
    bccli: Bccli,
    place: Path,
    make_folder: Callable[..., Path],
    tmp_path: Path,
    classes: tuple[str, ...],
    side: int,
    fragments: tuple[str, ...],
) -> None:
    raw = make_folder(classes=classes, patients=8, size=(48, 48))
    bccli("prepare", "folder", raw, tmp_path / "data", "--patch", side)
    command = "train", tmp_path / "data", tmp_path / "out", "--features-from", place / "patches"
    refused(bccli(*command, exit=3), *fragments)


def test_test_must_be_new_to_the_patch_run(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    """Parted otherwise, images of test are among those that the patch run was trained on."""
    data = tmp_path / "data"
    bccli("prepare", "folder", place / "raw", data, "--patch", SIDE, "--ratios", "2/1/1", "--seed", 5)
    command = "train", data, tmp_path / "out", "--head", "vote", "--features-from", place / "patches"
    refused(bccli(*command, exit=3), "was trained on what is test here", "--allow-leakage")
    assert "was trained on what is test here" in bccli(*command, "--allow-leakage").stderr


# Once more


def test_the_same_command_does_nothing_and_the_recipe_repeats(
    bccli: Bccli, place: Path, fused: Path, tmp_path: Path
) -> None:
    before = tree(fused)
    command = "train", place / "data", fused, "--head", "bilstm", "--features-from", place / "patches"
    assert "nothing to do" in bccli(*command, *SHORT).stderr
    assert tree(fused) == before
    refused(bccli(*command, "--epochs", 2, exit=3), "dense 4, now 128,128,128")
    bccli("train", place / "data", tmp_path / "again", "--recipe", fused / "recipe.toml")
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == before["predictions.csv"]


@pytest.mark.slow
def test_more_epochs_go_on(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    light = "--head", "attention", "--dense", 4
    command = "train", place / "data", tmp_path / "out", "--features-from", place / "patches", *light
    bccli(*command, "--epochs", 1)
    assert "continuing after 1 epochs" in bccli(*command, "--epochs", 3).stderr
    bccli(*command[:2], tmp_path / "whole", *command[3:], "--epochs", 3)
    parted, whole = (read_rows(tmp_path / name / "history.csv") for name in ("out", "whole"))
    assert parted == whole
