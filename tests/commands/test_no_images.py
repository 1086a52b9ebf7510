"""`prepare csv --no-images`: rows about images that are elsewhere, split as any others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Bccli, read_rows, rows_of, tree

MakeFolder = Callable[..., Path]


def write_table(path: Path, *, patients: int = 12, folder: str = "/data/slides", **columns: str) -> Path:
    """A table with two slides of each patient, half of the patients of each class."""
    rows = [
        f"{folder}/s{patient}-{number}.svs,{('benign', 'malignant')[patient % 2]},p{patient}"
        for patient in range(patients)
        for number in range(2)
    ]
    path.write_text("\n".join(["path,label,patient", *rows]) + "\n")
    return path


def test_rows_are_split_by_patient(bccli: Bccli, tmp_path: Path) -> None:
    table, data = write_table(tmp_path / "slides.csv"), tmp_path / "data"
    result = bccli("prepare", "csv", table, data, "--no-images", "--ratios", "1/1/1")
    assert "the audit is by patient alone" in result.stderr
    rows = read_rows(data / "manifest.csv")
    assert len(rows) == 24
    assert rows[0]["path"] == "data/slides/s0-0.svs"
    assert rows[0]["source"] == "/data/slides/s0-0.svs"
    assert {(row["width"], row["height"], row["sha256"]) for row in rows} == {("", "", "")}
    splits = {row["patient"]: row["split"] for row in rows}
    assert all(splits[row["patient"]] == row["split"] for row in rows)
    info = json.loads((data / "dataset.json").read_text())
    assert info["images"] is False
    assert info["audit"]["test"] == {
        "patients": 0, "identical": 0, "near_duplicates": None, "children": 0
    }  # fmt: skip
    assert sorted(tree(data)) == ["dataset.json", "manifest.csv", "stats.png"]


def test_splits_are_those_of_the_images_themselves(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    raw, known = make_folder(patients=9), []
    lines = [f"{path},{path.parent.name},{path.name[:2]}" for path in sorted(raw.rglob("*.png"))]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,patient", *lines]) + "\n")
    for options in (["--ratios", "1/1/1"], ["--folds", 3], ["--seed", 7, "--ratios", "1/1/1"]):
        for more in ([], ["--no-images"]):
            bccli("prepare", "csv", tmp_path / "t.csv", tmp_path / "data", "--overwrite", *options, *more)
            rows = read_rows(tmp_path / "data" / "manifest.csv")
            found = [(row["source"], row["split"], row["fold"], row["group"]) for row in rows]
            assert not more or found == known
            known = found


def test_own_splits_and_folds_are_kept(bccli: Bccli, tmp_path: Path) -> None:
    pairs = [(label, split) for label in "ab" for split in ("train", "val", "test")]
    rows = [f"{label}{split}{number},{label},{split}" for label, split in pairs for number in range(3)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    bccli("prepare", "csv", tmp_path / "t.csv", tmp_path / "data", "--no-images")
    found = read_rows(tmp_path / "data" / "manifest.csv")
    assert [row["path"][:-1] for row in found] == [row["label"] + row["split"] for row in found]


def test_the_same_command_again_does_nothing_and_others_are_named(bccli: Bccli, tmp_path: Path) -> None:
    table, data = write_table(tmp_path / "slides.csv"), tmp_path / "data"
    first = bccli("prepare", "csv", table, data, "--no-images")
    before = tree(data)
    again = bccli("prepare", "csv", table, data, "--no-images")
    assert again.stdout == first.stdout
    assert "is complete; nothing to do" in again.stderr
    assert tree(data) == before
    other = bccli("prepare", "csv", table, data, "--no-images", "--folds", 3, exit=3)
    assert "was prepared with folds 0, now 3" in other.stderr
    bccli("prepare", "csv", table, data, "--no-images", "--folds", 3, "--overwrite")
    assert {row["fold"] for row in read_rows(data / "manifest.csv")} == {"0", "1", "2"}
    (data / "dataset.json").unlink()
    (data / ".unfinished").mkdir()
    (data / ".unfinished" / "settings.json").write_text(json.dumps({}))
    (data / "manifest.csv").write_text("half")
    bccli("prepare", "csv", table, data, "--no-images", exit=3)
    write_table(table, patients=14)
    changed = bccli("prepare", "csv", table, tmp_path / "data2", "--no-images")
    assert changed.exit_code == 0


def test_a_killed_prepare_is_done_again(bccli: Bccli, tmp_path: Path) -> None:
    table, data = write_table(tmp_path / "slides.csv"), tmp_path / "data"
    bccli("prepare", "csv", table, data, "--no-images")
    whole = tree(data)
    (data / ".unfinished").mkdir()
    settings = json.loads((data / "dataset.json").read_text())["settings"]
    (data / ".unfinished" / "settings.json").write_text(json.dumps(settings))
    (data / "dataset.json").unlink()
    bccli("prepare", "csv", table, data, "--no-images")
    assert tree(data) == whole


def test_a_dry_run_writes_nothing(bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "slides.csv")
    dry = bccli("prepare", "csv", table, tmp_path / "data", "--no-images", "--dry-run")
    assert not (tmp_path / "data").exists()
    assert dry.stdout == bccli("prepare", "csv", table, tmp_path / "data", "--no-images").stdout


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--size", "8x8"], "--size is about pixels, and --no-images reads none"),
        (["--patch", 8], "--patch is about pixels"),
        (["--stain", "macenko"], "--stain is about pixels"),
        (["--clahe"], "--clahe is about pixels"),
        (["--no-group-similar"], "--group-similar is about pixels"),
        (["--conflicts", "drop"], "--conflicts is about pixels"),
        (["--pack"], "--pack is about pixels"),
        (["--shard", "1/2"], "--shard: with --no-images there is no work to share"),
    ],
)
def test_options_about_pixels_are_refused(
    options: list[object], fragment: str, bccli: Bccli, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "slides.csv")
    result = bccli("prepare", "csv", table, tmp_path / "data", "--no-images", *options, exit=2)
    assert fragment in result.stderr


def test_only_tables_have_no_images(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    result = bccli("prepare", "folder", make_folder(), tmp_path / "data", "--no-images", exit=2)
    assert "--no-images has no meaning for folder" in result.stderr


@pytest.mark.parametrize(
    ("row", "fragment"),
    [
        ("/data/slides/s1.svs,,p", "the label is empty"),
        ("a/../../..,benign,p", "is no name of an image"),
        (".hidden/s.svs,benign,p", "is no name of an image"),
        ("data/slides/s0-0.svs,benign,p0", "have one name in the dataset"),
        ("/data/slides/s0-0.svs,benign,p0", "is already in line 2"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(row: str, fragment: str, bccli: Bccli, tmp_path: Path) -> None:
    table = write_table(tmp_path / "slides.csv")
    table.write_text(table.read_text() + row + "\n")
    for more in (["--dry-run"], []):
        result = bccli("prepare", "csv", table, tmp_path / "data", "--no-images", *more, exit=3)
        assert fragment in result.stderr
    assert not (tmp_path / "data" / "dataset.json").exists()


def test_whoever_wants_pixels_says_that_there_are_none(bccli: Bccli, tmp_path: Path) -> None:
    table, data = write_table(tmp_path / "slides.csv"), tmp_path / "data"
    bccli("prepare", "csv", table, data, "--no-images", "--ratios", "1/1/1")
    for command in (
        ("train", data, tmp_path / "run"),
        ("train", data, tmp_path / "run", "--dry-run"),
        ("train", data, tmp_path / "run", "--classifier", "bovw"),
        ("augment", data, tmp_path / "more", "--policy", "flips", "--per-image", 1),
        ("hierarchy", data, tmp_path / "run"),
    ):
        result = bccli(*command, exit=3)
        assert "was prepared with --no-images, and has no pixels" in result.stderr, command
        assert "--features FILE" in result.stderr
    assert not (tmp_path / "run").exists()


def test_it_is_audited_by_patient(bccli: Bccli, tmp_path: Path) -> None:
    table, data = write_table(tmp_path / "slides.csv"), tmp_path / "data"
    bccli("prepare", "csv", table, data, "--no-images", "--ratios", "1/1/1")
    result = bccli("evaluate", "--audit", data, data)
    assert "has no pixels to compare (--no-images), so it is audited by patient" in result.stderr
    rows = {(row["part"], row["against"]): row for row in rows_of(result.stdout)}
    assert rows["test", "train or val"]["patients"] == "0"
    assert rows["all", str(data)]["patients"] == "12"
    assert rows["all", str(data)]["near_duplicates"] == ""


def test_a_run_says_so_of_such_a_dataset(bccli: Bccli, finished: Path, tmp_path: Path) -> None:
    bccli("prepare", "csv", write_table(tmp_path / "slides.csv"), tmp_path / "rows", "--no-images")
    result = bccli("evaluate", finished, "--data", tmp_path / "rows", exit=3)
    assert "has no pixels" in result.stderr
    result = bccli("predict", finished, tmp_path / "rows", exit=None)
    assert result.exit_code != 0
    assert "no pixels" in result.stderr


def test_a_row_that_speaks_of_pixels_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    bccli("prepare", "csv", write_table(tmp_path / "slides.csv"), data, "--no-images")
    manifest = data / "manifest.csv"
    empty = "csv,/data/slides/s0-0.svs,,0,,,,,,,"
    assert empty in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(empty, empty + "8", 1))
    assert "says something of pixels" in bccli("evaluate", "--audit", data, exit=3).stderr
