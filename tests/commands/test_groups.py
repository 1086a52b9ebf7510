"""Pictures that are there twice, under unknown patients: nothing separates them."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from bccli.core.datasets.phantom import draw_sample, read_phantom
from tests.core.data.test_lookalikes import CHANGES

ORIGINALS, COPIES, MISLABELLED = 40, 16, 2


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Phantoms without patients; some of them again, and two of these under the other label."""
    root = tmp_path_factory.mktemp("twice") / "raw"
    rng, changes = np.random.default_rng(2), list(CHANGES.values())
    for label in ("benign", "malignant"):
        (root / label).mkdir(parents=True)

    def name():
        return f"{rng.integers(10**9):09d}.png"

    for place, sample in enumerate(read_phantom("histology", count=ORIGINALS, patients=ORIGINALS, seed=4)):
        image = draw_sample(sample.source, seed=4)[0]
        Image.fromarray(image).save(root / sample.label / name())
        if place < COPIES:
            other = "malignant" if sample.label == "benign" else "benign"
            label = other if place < MISLABELLED else sample.label
            Image.fromarray(changes[place % len(changes)](image)).save(root / label / name())
    return root


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def crossing(out):
    """Groups that are in several splits or folds."""
    places = {}
    for row in rows_of(out / "manifest.csv"):
        places.setdefault(row["group"], set()).add((row["split"], row["fold"]))
    return [group for group, found in places.items() if len(found) > 1]


@pytest.mark.parametrize("more", [(), ("--folds", "4"), ("--holdout", "12"), ("--sample", "40")])
def test_no_copy_is_separated(bccli, source, tmp_path, more):
    result = bccli("prepare", "folder", source, tmp_path / "out", *more)
    rows = rows_of(tmp_path / "out/manifest.csv")
    assert list(rows[0])[-2:] == ["sha256", "group"]
    assert not crossing(tmp_path / "out")
    if not more:
        assert len({row["group"] for row in rows}) == ORIGINALS
        assert f"but for {COPIES} that show the picture of another" in result.stderr


def test_contradictions_are_counted_and_named_by_the_users_file_names(bccli, source, tmp_path):
    result = bccli("prepare", "folder", source, tmp_path / "out")
    pairs = rows_of(tmp_path / "out/audit.csv")
    assert len(pairs) == COPIES
    conflicts = [pair for pair in pairs if pair["label_a"] != pair["label_b"]]
    assert len(conflicts) == MISLABELLED
    assert pairs[:MISLABELLED] == conflicts
    for pair in pairs:
        assert pair["split_a"] == pair["split_b"] != ""
        assert int(pair["distance"]) <= 4
        assert float(pair["similarity"]) >= 0.95
        for side in "ab":
            assert pair[f"source_{side}"].startswith(pair[f"label_{side}"])
            assert (source / pair[f"source_{side}"]).exists()
            assert (tmp_path / "out" / pair[f"path_{side}"]).exists()
    assert f"{MISLABELLED} pairs of images show one picture under two labels" in result.stderr
    assert all(pair["source_a"] in result.stderr for pair in conflicts)


def test_contradictions_can_be_left_out_and_are_counted_with_and_without(bccli, source, tmp_path):
    result = bccli("prepare", "folder", source, tmp_path / "out", "--conflicts", "drop")
    rows, pairs = rows_of(tmp_path / "out/manifest.csv"), rows_of(tmp_path / "out/audit.csv")
    assert len(rows) == ORIGINALS + COPIES - 2 * MISLABELLED
    conflicts = [pair for pair in pairs if pair["label_a"] != pair["label_b"]]
    assert len(conflicts) == MISLABELLED
    assert {pair["path_a"] + pair["split_a"] for pair in conflicts} == {""}
    kept = {row["source"] for row in rows}
    assert not kept & {pair[side] for pair in conflicts for side in ("source_a", "source_b")}
    left_out = json.loads((tmp_path / "out/dataset.json").read_text())["conflicts"]["left_out"]
    assert sum(left_out.values()) == 2 * MISLABELLED
    assert "images with contradictions" in result.stderr


def test_what_is_not_left_out_is_not_said_to_be(bccli, tmp_path):
    """Known patients are not compared by likeness, but an audit may find that two of them look alike."""
    lines = ["path,label,patient"]
    for number in range(20):
        small = np.random.default_rng(number).integers(0, 256, (6, 6, 3)).astype(np.uint8)
        picture = Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{('benign', 'malignant')[number % 2]},P{number}")
        if number in (0, 1):
            picture.save(tmp_path / f"again{number}.jpg", quality=60)
    shutil.copy(tmp_path / "2.png", tmp_path / "again2.png")
    lines += ["again0.jpg,malignant,Q", "again1.jpg,malignant,P3", "again2.png,malignant,P2"]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    result = bccli(
        *("prepare", "csv", tmp_path / "list.csv", tmp_path / "out", "--conflicts", "drop"),
        *("--test-patients", "P0,P1"),
    )
    kept = {row["source"] for row in rows_of(tmp_path / "out/manifest.csv")}
    assert kept >= {"0.png", "again0.jpg"}
    assert not kept & {"2.png", "again2.png"}
    assert "2 pairs of images show one picture under two labels" in result.stderr
    assert "left out, but for 1 that are of known patients and merely alike" in result.stderr
    assert "these images are left out" not in result.stderr


def test_who_follows_the_test_patients_is_said(bccli, tmp_path):
    lines = ["path,label,patient"]
    for number in range(16):
        noise = np.random.default_rng(number).integers(0, 256, (24, 24, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{('benign', 'malignant')[number % 2]},P{number}")
    shutil.copy(tmp_path / "0.png", tmp_path / "again.png")
    lines.append("again.png,benign,P6")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    command = ("prepare", "csv", tmp_path / "list.csv")
    result = bccli(*command, tmp_path / "out", "--test-patients", "P0,P1")
    tested = {row["patient"] for row in rows_of(tmp_path / "out/manifest.csv") if row["split"] == "test"}
    assert tested == {"P0", "P1", "P6"}
    assert "those of --test-patients are test, too: P6." in result.stderr
    other = bccli(*command, tmp_path / "other", "--test-patients", "P2,P3")
    assert "are test, too" not in other.stderr


def test_shards_make_the_same_groups(bccli, source, tmp_path):
    whole = bccli("prepare", "folder", source, tmp_path / "whole")
    for shard in ("2/3", "1/3", "3/3"):
        last = bccli("prepare", "folder", source, tmp_path / "shards", "--shard", shard)
    assert whole.stdout == last.stdout
    for name in ("manifest.csv", "audit.csv"):
        assert (tmp_path / "shards" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_hashes_are_not_taken_again(bccli, source, tmp_path, monkeypatch):
    from bccli.core.preparation import copy_search, source_hashes

    def stop(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copy_search, "find_lookalikes", stop)
        bccli("prepare", "folder", source, tmp_path / "out", exit=130)
    files = list((tmp_path / "out/.unfinished/hashes").glob("*.npy"))
    assert files

    def fail(*_args):
        raise AssertionError("an image was decoded again for its hash")

    with monkeypatch.context() as patch:
        patch.setattr(source_hashes, "_load", fail)
        result = bccli("prepare", "folder", source, tmp_path / "out", "--workers", "1")
    assert result.stdout
    assert not (tmp_path / "out/.unfinished").exists()


def test_likeness_can_be_switched_off_and_is_part_of_the_settings(bccli, source, tmp_path):
    bccli("prepare", "folder", source, tmp_path / "out", "--no-group-similar")
    groups = {row["group"] for row in rows_of(tmp_path / "out/manifest.csv")}
    assert len(groups) == ORIGINALS + COPIES
    other = bccli("prepare", "folder", source, tmp_path / "out", exit=3)
    assert "group-similar" in other.stderr


def test_a_refused_command_leaves_no_answer_to_another_question(bccli, tmp_path):
    """Two pictures, saved four times each, are two groups: too few to part, but eight images suffice."""
    for label, seed in (("benign", 1), ("malignant", 2)):
        (tmp_path / "raw" / label).mkdir(parents=True)
        small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
        picture = Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)
        for quality in (60, 70, 80, 90):
            picture.save(tmp_path / "raw" / label / f"{quality}.jpg", quality=quality)
    refused = bccli("prepare", "folder", tmp_path / "raw", tmp_path / "out", exit=3)
    assert "add patients" in refused.stderr
    bccli("prepare", "folder", tmp_path / "raw", tmp_path / "out", "--no-group-similar")
    assert len({row["group"] for row in rows_of(tmp_path / "out/manifest.csv")}) == 8


def test_a_refused_command_hides_no_contradiction_from_the_next(bccli, tmp_path):
    """Files of known patients that are no file again are looked into only where contradictions matter."""
    lines = ["path,label,patient"]
    for number in range(12):
        label, patient = ("benign", "malignant")[number % 2], f"P{number // 2}"
        noise = np.random.default_rng(number).integers(0, 256, (24, 24, 3)).astype(np.uint8)
        noise[:, number * 2 :] //= 4
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{label},{patient}")
    (tmp_path / "again.png").write_bytes((tmp_path / "0.png").read_bytes())  # makes the first pass necessary
    Image.open(tmp_path / "3.png").save(tmp_path / "other.tif")
    lines += ["again.png,benign,P5", "other.tif,benign,P5"]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    command = ("prepare", "csv", tmp_path / "list.csv", tmp_path / "out")
    refused = bccli(*command, "--folds", "6", exit=3)
    assert "5 patients cannot fill 6 folds" in refused.stderr
    bccli(*command, "--conflicts", "drop")
    kept = {row["source"] for row in rows_of(tmp_path / "out/manifest.csv")}
    assert not kept & {"3.png", "other.tif"}


def test_a_classifier_is_tuned_on_whole_groups(bccli, source, tmp_path, monkeypatch):
    """Copies of a picture in the folds that calibrate and tune would make it too sure of itself."""
    from bccli.core.classifiers import train as training

    data, larger, seen = tmp_path / "data", tmp_path / "larger", []
    bccli("prepare", "folder", source, data, "--size", "32x32", "--folds", "3")
    bccli("augment", data, larger, "--policy", "flips", "--per-image", "1")

    def fit(*args, groups, **options):
        seen.append(list(groups))
        return fit_classifier(*args, groups=groups, **options)

    fit_classifier = training.fit_classifier
    monkeypatch.setattr(training, "fit_classifier", fit)
    bccli("train", larger, tmp_path / "run", "--classifier", "bovw", "--fold", "0")
    rows = [row for row in rows_of(larger / "manifest.csv") if row["fold"] == "2"]
    assert len({row["group"] for row in rows}) < len({row["source"] for row in rows})
    assert sorted(seen[0]) == sorted(row["group"] for row in rows)


def test_a_split_that_prepare_made_never_stops_training(bccli, source, tmp_path):
    """Identical pixels under unknown patients, whatever the seed."""
    raw = tmp_path / "raw"
    for label in ("benign", "malignant"):
        (raw / label).mkdir(parents=True)
        for path in sorted((source / label).iterdir())[:8]:
            for number in range(2):
                (raw / label / f"{path.stem}_{number}.png").write_bytes(path.read_bytes())
    for seed in range(3):
        out = tmp_path / f"out{seed}"
        bccli("prepare", "folder", raw, out, "--seed", seed)
        audit = json.loads((out / "dataset.json").read_text())["audit"]
        assert audit["test"]["identical"] == 0


def test_where_all_patients_are_known_no_hash_is_taken(bccli, tmp_path, monkeypatch):
    from bccli.core.preparation import copy_search

    def fail(*_args):
        raise AssertionError("a first pass although all patients are known")

    monkeypatch.setattr(copy_search, "hash_images", fail)
    args = ("prepare", "phantom", "histology", tmp_path / "out", "--count", "24", "--patients", "8")
    bccli(*args)
    rows = rows_of(tmp_path / "out/manifest.csv")
    assert all(row["group"] == row["patient"] for row in rows)


def test_identical_pictures_of_two_patients_are_one_group(bccli, source, tmp_path):
    """Known patients are joined by identical pixels, where some patients are unknown."""
    paths = sorted((source / "benign").iterdir())[:14] + sorted((source / "malignant").iterdir())[:14]
    lines = ["path,label,patient"]
    for place, path in enumerate(paths):
        patient = "" if place in (0, 1) else f"p{place}"
        lines.append(f"{place}.png,{path.parent.name},{patient}")
        (tmp_path / f"{place}.png").write_bytes(path.read_bytes())
    (tmp_path / "copy.png").write_bytes(paths[5].read_bytes())
    lines.append("copy.png,benign,another")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    bccli("prepare", "csv", tmp_path / "list.csv", tmp_path / "out")
    rows = {row["patient"]: row for row in rows_of(tmp_path / "out/manifest.csv")}
    assert rows["another"]["group"] == rows["p5"]["group"]
    assert rows["another"]["split"] == rows["p5"]["split"]
    assert rows["p6"]["group"] == "p6"


def test_equal_files_of_two_known_patients_are_one_group_and_blank_ones_are_not(bccli, source, tmp_path):
    """Though no pixel is hashed where all patients are known; so no split of ours stops `train`."""
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = ["path,label,patient"]
    for label in ("benign", "malignant"):
        for place, path in enumerate(sorted((source / label).iterdir())[:16]):
            (raw / f"{label}{place}.png").write_bytes(path.read_bytes())
            lines.append(f"{label}{place}.png,{label},{label}{place}")
    for place in range(8):
        (raw / f"copy{place}.png").write_bytes((raw / f"benign{place}.png").read_bytes())
        lines.append(f"copy{place}.png,benign,copy{place}")
        Image.new("RGB", (64, 64), "white").save(raw / f"blank{place}.png")
        lines.append(f"blank{place}.png,malignant,blank{place}")
    (raw / "list.csv").write_text("\n".join(lines) + "\n")
    for seed in range(2):
        out = tmp_path / f"out{seed}"
        bccli("prepare", "csv", raw / "list.csv", out, "--seed", seed)
        rows = {row["patient"]: row for row in rows_of(out / "manifest.csv")}
        assert all(rows[f"copy{place}"]["group"] == f"benign{place}" for place in range(8))
        assert all(rows[f"blank{place}"]["group"] == f"blank{place}" for place in range(8))
        assert not crossing(out)
        assert json.loads((out / "dataset.json").read_text())["audit"]["test"]["identical"] == 0
    assert len(rows_of(out / "audit.csv")) == 8


@pytest.mark.parametrize(
    "more", [("--ratios", "1/1/1"), ("--folds", "3"), ("--ratios", "1/1/1", "--shard", "1/1")]
)
def test_one_picture_in_two_kinds_of_files_joins_known_patients(bccli, source, tmp_path, more):
    """Equal pixels in unequal files are seen when all is prepared; then the images are parted anew."""
    raw = tmp_path / "raw"
    for label in ("benign", "malignant"):
        (raw / label).mkdir(parents=True)
        for place, path in enumerate(sorted((source / label).iterdir())[:12]):
            (raw / label / f"{label[0]}{place}_a.png").write_bytes(path.read_bytes())
        with Image.open(raw / label / f"{label[0]}0_a.png") as image:
            for other in range(1, 4):
                image.save(raw / label / f"{label[0]}{other}_copy.tif")
    command = "prepare", "folder", raw, tmp_path / "out", "--patient-regex", "/([bm][0-9]+)_", *more
    result = bccli(*command)
    assert "two patients share a picture whose files differ" in result.stderr
    info = json.loads((tmp_path / "out/dataset.json").read_text())
    assert not any(leak["identical"] or leak["patients"] for leak in info["audit"].values())
    assert not crossing(tmp_path / "out")
    rows = rows_of(tmp_path / "out/manifest.csv")
    assert len({row["group"] for row in rows if row["patient"] in ("b0", "b1", "b2", "b3")}) == 1
    before = (tmp_path / "out/manifest.csv").read_bytes()
    assert "nothing to do" in bccli(*command).stderr
    assert (tmp_path / "out/manifest.csv").read_bytes() == before


def test_contradictions_between_datasets_are_named(bccli, source, tmp_path):
    for name, swapped in (("one", False), ("two", True)):
        for label in ("benign", "malignant"):
            other = {"benign": "malignant", "malignant": "benign"}[label] if swapped else label
            (tmp_path / name / other).mkdir(parents=True)
            for path in sorted((source / label).iterdir())[:12]:
                (tmp_path / name / other / path.name).write_bytes(path.read_bytes())
        bccli("prepare", "folder", tmp_path / name, tmp_path / f"{name}-data", "--no-group-similar")
    folder = tmp_path / "listed"
    result = bccli(
        "evaluate",
        tmp_path / "one-data",
        tmp_path / "two-data",
        "--audit",
        "--output",
        folder,
        "--format",
        "json",
    )
    (between,) = [row for row in json.loads(result.stdout)["audits"] if row["part"] == "all"]
    assert between["identical"] == between["conflicts"] == 24
    assert "show one picture under two labels" in result.stderr
    pairs = [row for row in rows_of(folder / "audit.csv") if row["label_a"] != row["label_b"]]
    assert len(pairs) >= 24
