"""`train --features` and `--features-only`, and what `predict` and `evaluate` make of such runs."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
import pytest
from click.testing import CliRunner

from bccli.cli import cli
from bccli.core.vectors import given
from tests.conftest import PATIENT, Bccli, draw_folder, read_rows, rows_of, tree

Process = Callable[..., "subprocess.CompletedProcess[str]"]

SHORT = "--epochs", 2, "--batch-size", 8
FROZEN = "--backbone", "cnn-15", "--weights", "none", "--trainable", "none"


def run(*words: object) -> None:
    """A command that has to end well."""
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images `whole` and their `patches`, prepared, the vectors of both, and those of patches as `bags`, a
    file for each image; `rows` is a dataset of the same images without pixels."""
    place = tmp_path_factory.mktemp("features")
    raw = draw_folder(place / "raw", patients=9, images=2, size=(48, 48))
    for name, options in {"whole": (), "patches": ("--patch", 24)}.items():
        run("prepare", "folder", raw, place / name, *PATIENT, "--ratios", "1/1/1", *options)
        run("train", place / name, *FROZEN, "--features-only", place / f"{name}.h5")
    write_bags(place / "bags", place / "patches", place / "patches.h5")
    rows = read_rows(place / "whole" / "manifest.csv")
    table = "".join(f"{row['source']},{row['label']},{row['patient']},{row['split']}\n" for row in rows)
    (place / "slides.csv").write_text(f"path,label,patient,split\n{table}")
    run("prepare", "csv", place / "slides.csv", place / "rows", "--no-images")
    return place


def vectors_in(path: Path) -> tuple[list[str], np.ndarray]:
    """The names and the vectors in a file that bccli wrote."""
    with h5py.File(path) as content:
        return [name.decode() for name in content["paths"][:]], content["features"][:]


def write_bags(folder: Path, data: Path, file: Path) -> None:
    """The vectors of patches as files of their images, in another order."""
    folder.mkdir()
    of_path = dict(zip(*vectors_in(file), strict=True))
    images: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(data / "manifest.csv"):
        images.setdefault(row["source"], []).append(row)
    for source, rows in images.items():
        with h5py.File(folder / f"{Path(source).stem}.h5", "w") as content:
            content["features"] = np.stack([of_path[row["path"]] for row in rows[::-1]])
            content["coords"] = np.array([[int(row["col"]), int(row["row"])] for row in rows[::-1]])


def write_as(path: Path, names: Sequence[str], values: np.ndarray) -> Path:
    """Vectors in the format that a file's ending says."""
    frame = pandas.DataFrame(values, columns=[f"f{number}" for number in range(values.shape[1])])
    frame.insert(0, "path", list(names))
    if path.suffix == ".h5":
        with h5py.File(path, "w") as content:
            content["features"] = values
            content.create_dataset("paths", data=list(names), dtype=h5py.string_dtype())
    elif path.suffix == ".npz":
        np.savez(path, features=values, paths=np.array(names))
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    return path


def facts_of(root: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((root / "run.json").read_text())
    return facts


def answers_of(rows: Sequence[dict[str, str]], key: str = "source") -> dict[str, float]:
    """The probability of malignant by the stem of what a row is about."""
    return {Path(row[key]).stem: float(row["p_malignant"]) for row in rows}


def stored(root: Path) -> dict[str, float]:
    return answers_of(read_rows(root / "predictions.csv"))


# The way out


def test_vectors_of_all_images_are_written_once(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    first = bccli("train", place / "whole", *FROZEN, "--features-only", out)
    (row,) = rows_of(first.stdout)
    assert (row["file"], row["backbone"], row["images"]) == (str(out), "cnn-15", "18")
    with h5py.File(out) as content:
        facts = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in content.attrs.items()
        }
        assert content["features"].shape == (18, facts["width"])
        rows = read_rows(place / "whole" / "manifest.csv")
        assert [name.decode() for name in content["paths"][:]] == [row["path"] for row in rows]
        assert [one.tobytes().hex() for one in content["pixels"][:]] == [row["sha256"] for row in rows]
    assert (facts["tool"], facts["backbone"], facts["head"], facts["format"]) == ("bccli", "cnn-15", "gap", 1)
    before = out.stat().st_mtime_ns
    again = bccli("train", place / "whole", *FROZEN, "--features-only", out)
    assert f"{out} is complete; nothing to do" in again.stderr
    assert out.stat().st_mtime_ns == before
    other = bccli("train", place / "whole", *FROZEN, "--seed", 1, "--features-only", out, exit=3)
    assert "was computed with weights hash random 0, now random 1" in other.stderr
    other = bccli("train", place / "patches", *FROZEN, "--features-only", out, exit=3)
    assert "was computed with dataset hash" in other.stderr
    out.write_bytes(b"mine")
    assert "cannot be read as HDF5" in bccli(
        "train", place / "whole", *FROZEN, "--features-only", out, exit=3
    ).stderr  # fmt: skip
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["out.npz"], "writes HDF5; name a file such as out.h5"),
        (["out.h5", "--backbone", "vgg16"], "one file has the vectors of one backbone"),
        (["out.h5", "--seeds", 2], "--seeds is about training"),
        (["out.h5", "--trainable", "all"], "--trainable all"),
        (["out.h5", "--augment", "flips"], "vectors of images as they are"),
        (["out.h5", "--input-norm", "train"], "knows no splits"),
    ],
)
def test_what_only_training_has_a_use_for_is_refused(
    options: list[object], fragment: str, bccli: Bccli, place: Path, tmp_path: Path
) -> None:
    out, *more = options
    words = "train", place / "whole", "--backbone", "cnn-15", "--features-only", tmp_path / str(out)
    assert fragment in bccli(*words, *more, exit=2).stderr
    assert not list(tmp_path.iterdir())


def test_a_run_beside_a_file_is_refused(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    words = "train", place / "whole", tmp_path / "run", "--features-only", tmp_path / "out.h5"
    assert "leave RUN out" in bccli(*words, exit=2).stderr
    result = bccli("train", place / "rows", "--features-only", tmp_path / "out.h5", exit=3)
    assert "has no pixels" in result.stderr


# The way in


def test_every_format_gives_the_run_of_the_images(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    bccli("train", place / "whole", tmp_path / "images", *FROZEN, *SHORT)
    expected = (tmp_path / "images" / "predictions.csv").read_text()
    names, values = vectors_in(place / "whole.h5")
    hashes = set()
    for ending in ("h5", "npz", "csv", "parquet"):
        file = write_as(tmp_path / f"vectors.{ending}", names, values)
        root = tmp_path / ending
        bccli("train", place / "whole", root, "--features", file, *SHORT)
        assert (root / "predictions.csv").read_text() == expected
        facts = facts_of(root)
        assert (facts["kind"], facts["size"], facts["vectors"]["width"]) == ("head", [0, 0], values.shape[1])
        hashes.add(facts["settings"]["vectors"])
        again = bccli("train", place / "whole", tmp_path / "h5", "--features", file, *SHORT)
        assert "is complete; nothing to do" in again.stderr
    assert len(hashes) == 1
    other = write_as(tmp_path / "other.npz", names, values + 1)
    result = bccli("train", place / "whole", tmp_path / "h5", "--features", other, *SHORT, exit=3)
    assert "vectors" in result.stderr


def test_vectors_that_do_not_fit_into_memory_stay_on_the_disk(
    bccli: Bccli, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("memory", 1 << 29), ("disk", 0)):
        monkeypatch.setattr(given, "IN_MEMORY", most)
        bccli("train", place / "patches", tmp_path / name, "--features", place / "bags", *SHORT)
    texts = [(tmp_path / name / "predictions.csv").read_text() for name in ("memory", "disk")]
    assert texts[0] == texts[1]


def test_its_recipe_repeats_a_run(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    words = "--features", place / "bags", "--head", "attention", *SHORT
    bccli("train", place / "rows", tmp_path / "one", *words)
    bccli("train", place / "rows", tmp_path / "two", "--recipe", tmp_path / "one" / "recipe.toml")
    assert stored(tmp_path / "one") == stored(tmp_path / "two")


@pytest.mark.parametrize("head", ["attention", "bilstm", "svm", "blocks-2x2"])
def test_fusions_of_bags_are_those_through_images(
    head: str, bccli: Bccli, place: Path, tmp_path: Path
) -> None:
    if not (place / "base").exists():
        bccli("train", place / "patches", place / "base", *FROZEN, *SHORT)
    words = "--head", head, *(SHORT if head in ("attention", "bilstm") else ())
    if head == "bilstm":
        words = *words, "--dense", 4
    bccli("train", place / "patches", tmp_path / "images", "--features-from", place / "base", *words)
    expected = stored(tmp_path / "images")
    assert len(expected) == 12
    for data in ("patches", "rows"):
        bccli("train", place / data, tmp_path / data, "--features", place / "bags", *words)
        assert stored(tmp_path / data) == pytest.approx(expected, abs=1e-6)
        figures = json.loads((tmp_path / data / "metrics.json").read_text())["runs"]
        reference = json.loads((tmp_path / "images" / "metrics.json").read_text())["runs"]
        assert [one["accuracy"] for one in figures] == [one["accuracy"] for one in reference]
        assert not (tmp_path / data / "patches.csv").exists()
        table = bccli("predict", tmp_path / data, place / "bags").stdout
        found = answers_of(rows_of(table), "path")
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_rules_ask_a_run_on_single_patches(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    bags = "--features", place / "bags"
    result = bccli("train", place / "patches", tmp_path / "x", *bags, "--head", "mean", exit=2)
    assert "add --features-from RUN, a run that was trained on vectors of single patches" in result.stderr
    bccli("train", place / "patches", tmp_path / "single", *bags, *SHORT)
    rule = "--head", "mean", "--features-from", tmp_path / "single"
    bccli("train", place / "patches", tmp_path / "mean", *bags, *rule)
    patches = answers_by_image(read_rows(tmp_path / "single" / "predictions.csv"))
    assert stored(tmp_path / "mean") == pytest.approx(patches, abs=1e-6)
    assert len(read_rows(tmp_path / "mean" / "patches.csv")) == 48
    bccli("train", place / "rows", tmp_path / "rows", *bags, *rule)
    assert stored(tmp_path / "rows") == pytest.approx(patches, abs=1e-6)


def answers_by_image(rows: Sequence[dict[str, str]]) -> dict[str, float]:
    """The mean answer to the patches of each image."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(Path(row["source"]).stem, []).append(float(row["p_malignant"]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_a_plain_head_sees_the_mean_of_a_bag(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    words = "--classifier", "logistic"
    result = bccli("train", place / "rows", tmp_path / "bags", "--features", place / "bags", *words)
    assert "their mean stands for it" in result.stderr
    names, means = [], []
    for file in sorted((place / "bags").iterdir()):
        with h5py.File(file) as content:
            names.append(file.stem)
            means.append(content["features"][:].mean(axis=0, dtype=np.float64))
    file = write_as(tmp_path / "means.npz", names, np.array(means, np.float32))
    bccli("train", place / "rows", tmp_path / "means", "--features", file, *words)
    assert stored(tmp_path / "bags") == pytest.approx(stored(tmp_path / "means"), abs=1e-6)
    found = answers_of(rows_of(bccli("predict", tmp_path / "bags", place / "bags").stdout), "path")
    expected = stored(tmp_path / "bags")
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_folds_keep_patients_whole(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    table = (place / "slides.csv").read_text().replace(",split", ",x").replace("path,label,patient,x", "")
    lines = [line.rpartition(",")[0] for line in table.splitlines() if line]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,patient", *lines]) + "\n")
    bccli("prepare", "csv", tmp_path / "t.csv", tmp_path / "folds", "--no-images", "--folds", 3)
    words = "train", tmp_path / "folds", tmp_path / "run", "--features", place / "bags", "--fold", "all"
    bccli(*words, "--classifier", "logistic", "--classifier", "dense", *SHORT)
    board = read_rows(tmp_path / "run" / "leaderboard.csv")
    assert {row["name"] for row in board} == {"vectors", "vectors-logistic"}
    pooled = read_rows(tmp_path / "run" / "vectors-logistic" / "predictions.csv")
    folds = {row["path"]: row["fold"] for row in read_rows(tmp_path / "folds" / "manifest.csv")}
    tested = [row for row in pooled if row["split"] == "test"]
    assert sorted(row["path"] for row in tested) == sorted(folds)
    assert facts_of(tmp_path / "run" / "vectors-logistic")["vectors"]["width"] > 0
    result = bccli("predict", tmp_path / "run" / "vectors-logistic", place / "bags")
    assert len(rows_of(result.stdout)) == 18
    again = bccli(*words, "--classifier", "logistic", "--classifier", "dense", *SHORT)
    assert "is complete; nothing to do" in again.stderr


def test_predict_says_what_is_stored_when_data_and_vectors_are_gone(
    bccli: Bccli, bccli_process: Process, place: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(place / "whole", tmp_path / "data")
    file = Path(shutil.copy(place / "whole.h5", tmp_path / "train.h5"))
    for name in ("dense", "svm", "forest"):
        bccli("train", data, tmp_path / name, "--features", file, "--classifier", name, *(
            SHORT if name == "dense" else ()
        ))  # fmt: skip
    names, values = vectors_in(file)
    shutil.rmtree(data)
    file.unlink()
    given = write_as(tmp_path / "later.csv", names, values)
    for name in ("dense", "svm", "forest"):
        done = bccli_process("predict", tmp_path / name, given)
        assert done.returncode == 0, done.stderr
        found = {row["path"]: float(row["p_malignant"]) for row in rows_of(done.stdout)}
        for row in read_rows(tmp_path / name / "predictions.csv"):
            assert found[row["path"]] == pytest.approx(float(row["p_malignant"]), abs=1e-6)
        assert len(rows_of(bccli("evaluate", tmp_path / name).stdout)) == 1


def test_another_dataset_is_evaluated_by_its_vectors(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    bccli(
        "train", place / "rows", tmp_path / "run", "--features", place / "bags", "--head", "attention", *SHORT
    )
    raw = draw_folder(tmp_path / "raw", patients=4, images=2, size=(48, 48))
    bccli("prepare", "folder", raw, tmp_path / "other", "--patch", 24, *PATIENT, "--ratios", "1/1/1")
    bccli("train", tmp_path / "other", *FROZEN, "--features-only", tmp_path / "other.h5")
    write_bags(tmp_path / "bags", tmp_path / "other", tmp_path / "other.h5")
    words = "evaluate", tmp_path / "run", "--data", tmp_path / "other", "--format", "json"
    (by_bags,) = json.loads(bccli(*words, "--features", tmp_path / "bags").stdout)["runs"]
    (by_names,) = json.loads(bccli(*words, "--features", tmp_path / "other.h5").stdout)["runs"]
    assert by_bags["n"] == 8
    for measure in ("accuracy", "roc_auc", "log_loss"):
        assert by_names[measure] == pytest.approx(by_bags[measure], abs=1e-6)
    found = answers_of(rows_of(bccli("predict", tmp_path / "run", tmp_path / "bags").stdout), "path")
    labels = {row["source"]: row["label"] for row in read_rows(tmp_path / "other" / "manifest.csv")}
    right = [(found[Path(name).stem] > 0.5) == (label == "malignant") for name, label in labels.items()]
    assert by_bags["accuracy"] == pytest.approx(np.mean(right))
    assert "add --features FILE" in bccli(*words, exit=2).stderr
    result = bccli(*words, "--features", write_as(tmp_path / "narrow.npz", ["a", "b"], np.eye(2)), exit=3)
    assert "vectors of other images" in result.stderr


def test_a_vector_of_the_wrong_width_is_refused(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    bccli("train", place / "whole", tmp_path / "run", "--features", place / "whole.h5", *SHORT)
    names, values = vectors_in(place / "whole.h5")
    narrow = write_as(tmp_path / "narrow.npz", names, values[:, :5])
    words = "evaluate", tmp_path / "run", "--data", place / "whole", "--features", narrow
    assert "has vectors of 5 numbers" in bccli(*words, exit=3).stderr


def test_a_vector_that_cannot_be_read_is_a_row_with_its_error(
    bccli: Bccli, place: Path, tmp_path: Path
) -> None:
    bccli("train", place / "whole", tmp_path / "run", "--features", place / "whole.h5", *SHORT)
    names, values = vectors_in(place / "whole.h5")
    values[1] = np.nan
    given = write_as(tmp_path / "given.npz", names[:3], values[:3])
    narrow = write_as(tmp_path / "narrow.npz", names, values[:, :5])
    (tmp_path / "cut.h5").write_bytes((place / "whole.h5").read_bytes()[:1000])
    files = given, narrow, tmp_path / "cut.h5", tmp_path / "gone.h5"
    result = bccli("predict", tmp_path / "run", *files, exit=4)
    rows = rows_of(result.stdout)
    assert [row["path"] for row in rows] == [*names[:3], *map(str, files[1:])]
    assert [bool(row["predicted"]) for row in rows] == [True, False, True, False, False, False]
    assert "no finite numbers" in rows[1]["error"]
    assert "has vectors of 5 numbers" in rows[3]["error"]
    assert "cannot be read as HDF5" in rows[4]["error"]
    assert "no such file" in rows[5]["error"]
    out = tmp_path / "out.csv"
    for _ in range(2):
        bccli("predict", tmp_path / "run", *files, "--output", out, exit=4)
        assert out.read_text() == result.stdout


@pytest.mark.parametrize(
    ("words", "exit", "fragment"),
    [
        (["{raw}/benign/p0_0.png"], 3, "is no file of vectors, and {run} knows no images"),
        (["{raw}"], 3, "has no files of vectors in it"),
        (["{file}", "--tta"], 2, "--tta is about pixels, and {run} knows vectors only"),
        (["{file}", "--explain", "{run}/x"], 2, "--explain is about pixels"),
        (["{file}", "--level", "patch"], 2, "--level is about pixels"),
        (["{file}", "--mask-dir", "{raw}"], 2, "--mask-dir is about pixels"),
    ],
)
def test_a_run_on_vectors_knows_no_pixels(
    words: list[str], exit: int, fragment: str, bccli: Bccli, place: Path
) -> None:
    root = place / "plain"
    if not root.exists():
        bccli("train", place / "whole", root, "--features", place / "whole.h5", *SHORT)
    names = {"raw": place / "raw", "file": place / "whole.h5", "run": root}
    result = bccli("predict", root, *(word.format(**names) for word in words), exit=exit)
    assert fragment.format(**names) in result.stderr
    assert "backbone" in bccli("finetune", root, place / "tuned", exit=3).stderr


# What is missing, left over, or wrong


def test_images_without_a_vector_are_left_out_and_counted(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    names, values = vectors_in(place / "whole.h5")
    splits = {row["path"]: row["split"] for row in read_rows(place / "whole" / "manifest.csv")}
    gone = [next(name for name in names if splits[name] == split) for split in ("train", "test")]
    left = [number for number, name in enumerate(names) if name not in gone]
    some = [names[number] for number in left]
    more = np.concatenate([values[left], values[:1]])
    more[:, 3] = 0.5
    file = write_as(tmp_path / "some.npz", [*some, "of nobody.png"], more)
    result = bccli("train", place / "whole", tmp_path / "run", "--features", file, *SHORT)
    assert "2 of 18 images have no vector" in result.stderr
    assert "(1 of train, 1 of test)" in result.stderr
    assert "1 vectors in" in result.stderr
    assert "of nobody.png" in result.stderr
    facts = facts_of(tmp_path / "run")["vectors"]
    assert facts["missing"] == {"train": 1, "test": 1}
    assert (facts["extra"], facts["count"]) == (1, 16)
    assert facts["constant"] >= 1
    paths = {row["path"] for row in read_rows(tmp_path / "run" / "predictions.csv")}
    assert not paths & set(gone)
    dry = bccli("train", place / "whole", tmp_path / "x", "--features", file, "--dry-run")
    assert sum(int(row["images"]) for row in rows_of(dry.stdout)) == 16
    assert not (tmp_path / "x").exists()


def test_vectors_that_cannot_be_meant_are_refused(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    names, values = vectors_in(place / "whole.h5")
    nan = values.copy()
    nan[2, 0] = np.inf
    files = {
        write_as(tmp_path / "others.npz", [f"x{name}" for name in "abc"], values[:3]): "of other images",
        write_as(tmp_path / "nan.csv", names, nan): "1 of 18 vectors have values that are no finite numbers",
        write_as(tmp_path / "same.npz", names, np.ones_like(values)): "all of its vectors are the same",
        tmp_path / "gone.h5": "no such file",
    }
    np.savez(tmp_path / "pickled.npz", features=values, paths=np.array(names, object))
    files[tmp_path / "pickled.npz"] = "pickled objects, which are never read"
    with h5py.File(tmp_path / "linked.h5", "w") as content:
        content["features"] = h5py.ExternalLink(str(place / "whole.h5"), "features")
    files[tmp_path / "linked.h5"] = "names features, which is not in it"
    frame = pandas.DataFrame({"path": names, "label": "benign", "f": 1.0})
    frame.to_csv(tmp_path / "text.csv", index=False)
    files[tmp_path / "text.csv"] = "has a column 'label', which is no feature"
    folder = tmp_path / "widths"
    folder.mkdir()
    write_as(folder / "a.npz", names[:2], values[:2])
    write_as(folder / "b.npz", names[2:], values[2:, :4])
    files[folder] = "its vectors have 4 numbers"
    for file, fragment in files.items():
        result = bccli("train", place / "whole", tmp_path / "run", "--features", file, exit=3)
        (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert fragment in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--backbone", "vgg16"], "--backbone is about images, and --features has vectors"),
        (["--weights", "none"], "--weights is about images"),
        (["--trainable", "none"], "--trainable is about images"),
        (["--augment", "flips", "--views", 2], "--augment is about images"),
        (["--mixed-precision"], "--mixed-precision is about images"),
        (["--head", "blocks"], "--head blocks is about the maps of a backbone"),
        (["--classifier", "bovw"], "--classifier bovw is about images"),
        (["--head", "attention", "--classifier", "svm"], "decides about slides by itself"),
        (["--features-from", "somewhere"], "--features-from: with --features it names a run"),
    ],
)
def test_options_about_images_are_refused(
    options: list[object], fragment: str, bccli: Bccli, place: Path, tmp_path: Path
) -> None:
    words = "train", place / "whole", tmp_path / "run", "--features", place / "whole.h5"
    assert fragment in bccli(*words, *options, exit=2).stderr


def test_one_vector_for_an_image_is_not_fused(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    words = "train", place / "whole", tmp_path / "run", "--features", place / "whole.h5"
    result = bccli(*words, "--head", "attention", exit=3)
    assert "has one vector for an image" in result.stderr


def test_a_report_says_what_it_cannot_show(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    bccli("train", place / "rows", tmp_path / "run", "--features", place / "bags", *SHORT)
    before = tree(tmp_path / "run")
    bccli("evaluate", tmp_path / "run", "--report", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "was prepared with --no-images, so there are no images to show" in page
    assert "numbers from another program" in page
    assert tree(tmp_path / "run") == before


def test_a_checklist_says_that_the_input_are_vectors(bccli: Bccli, place: Path, tmp_path: Path) -> None:
    bccli("train", place / "rows", tmp_path / "run", "--features", place / "bags", *SHORT)
    told = " ".join(bccli("evaluate", tmp_path / "run", "--checklist", "claim").stdout.split())
    assert "numbers from another program" in told
    assert "0×0" not in told
    assert "what network made the vectors" in told
    assert "SHA-256 (seed" not in told
