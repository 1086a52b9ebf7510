"""`bccli augment`: augmented copies, amounts, splits, determinism, and what is refused."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bccli.core.augmentation import augmented_copy, find_policy
from bccli.core.imaging.hashes import pixel_hash
from bccli.core.preparation import estimate as estimating
from tests.conftest import PATIENT, Bccli, read_rows, rows_of, save, tree
from tests.sentences import refused

MakeFolder = Callable[..., Path]


@pytest.fixture
def films(bccli: Bccli, tmp_path: Path) -> Path:
    """A small prepared dataset of mammograms with masks: 6 patients, 3 of them in train."""
    command = "prepare", "phantom", "mammography", tmp_path / "films"
    bccli(*command, "--count", 24, "--patients", 6, "--size", "32x32", "--ratios", "2/1/1")
    return tmp_path / "films"


@pytest.fixture
def patches(bccli: Bccli, tmp_path: Path) -> Path:
    """A small prepared dataset of patches."""
    command = "prepare", "phantom", "histology", tmp_path / "patches"
    bccli(*command, "--count", 8, "--patients", 8, "--patch", 60, "--size", "24x24", "--ratios", "2/1/1")
    return tmp_path / "patches"


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def copies_in(folder: Path) -> list[dict[str, str]]:
    return [row for row in read_rows(folder / "manifest.csv") if row["parent"]]


def info_of(folder: Path) -> dict:
    return json.loads((folder / "dataset.json").read_text())


def test_copies_stand_in_the_manifest_beside_their_originals(
    bccli: Bccli, films: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    printed = rows_of(bccli("augment", films, out, "--policy", "table5", "--per-image", 2).stdout)
    assert {
        (row["part"], int(row["images"]), int(row["children"])) for row in printed if row["children"] != "0"
    } == {("train", 12, 8)}
    before = {row["path"]: row for row in read_rows(films / "manifest.csv")}
    after = read_rows(out / "manifest.csv")
    assert {row["path"]: row for row in after if not row["parent"]} == before
    copies = copies_in(out)
    assert Counter(row["parent"] for row in copies) == {
        path: 2 for path, row in before.items() if row["split"] == "train"
    }
    for row in copies:
        parent = before[row["parent"]]
        kept = "label", "split", "patient", "dataset", "source", "view", "side", "width", "height"
        assert [row[key] for key in kept] == [parent[key] for key in kept]
        made = pixels(out / row["path"])
        assert row["sha256"] == pixel_hash(made)
        expected = augmented_copy(
            find_policy("table5"), pixels(films / row["parent"]), seed=0, image=row["source"],
            number=int(row["variant"]),
        )  # fmt: skip
        assert (made == expected).all()
    assert not any("children" not in row["path"] for row in copies)
    info = info_of(out)
    assert info["preparation"] == info_of(films)["preparation"]
    assert info["augmentation"]["policy"] == "table5"
    assert info["protocol"] == "honest"
    assert set(info["audit"]["test"].values()) == {0}


def test_originals_are_copied_and_not_linked(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    bccli("augment", films, tmp_path / "out", "--policy", "flips", "--splits", "train,val,test")
    originals = read_rows(films / "manifest.csv")
    for name in (row[column] for row in originals for column in ("path", "mask")):
        assert (tmp_path / "out" / name).read_bytes() == (films / name).read_bytes()
        assert not (tmp_path / "out" / name).samefile(films / name)


def to_mode(mode: str, **options: object) -> Callable[[Path], None]:
    """What saves an image with the same pixels in another way."""
    return lambda path: Image.open(path).convert("RGB").convert(mode).save(path, **options)


def with_text(path: Path) -> None:
    """Save an image with a text."""
    text = PngInfo()
    text.add_text("Comment", "made elsewhere", zip=True)
    Image.open(path).convert("RGB").save(path, pnginfo=text)


def with_palette(path: Path) -> None:
    """Save a grey image as numbers of colours."""
    image = Image.open(path).convert("L")
    image.putpalette([level for level in range(256) for _ in range(3)])
    image.save(path)


OTHER_FILES: dict[str, Callable[[Path], None]] = {
    "grey": to_mode("L"),
    "alpha": to_mode("RGBA"),
    "a palette": with_palette,
    "TIFF": to_mode("RGB", format="TIFF"),
    "text": with_text,
    "bytes behind it": lambda path: path.write_bytes(path.read_bytes() + b"x"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_originals_that_were_written_otherwise_are_written_anew(
    bccli: Bccli, films: Path, tmp_path: Path, kind: str
) -> None:
    before = {row["path"]: pixels(films / row["path"]) for row in read_rows(films / "manifest.csv")}
    bccli("augment", films, tmp_path / "out", "--policy", "flips")
    for path in before:
        OTHER_FILES[kind](films / path)
        assert (pixels(films / path) == before[path]).all()
    bccli("augment", films, tmp_path / "other", "--policy", "flips")
    for path, expected in before.items():
        with Image.open(tmp_path / "other" / path) as image:
            assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})
            assert (np.asarray(image) == expected).all()
    assert (tmp_path / "other/manifest.csv").read_bytes() == (tmp_path / "out/manifest.csv").read_bytes()


def test_masks_move_with_their_images(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bccli("augment", films, out, "--policy", "right-angles")
    for row in copies_in(out):
        parent = next(one for one in read_rows(films / "manifest.csv") if one["path"] == row["parent"])
        turns = [
            k
            for k in (1, 2, 3)
            if (np.rot90(pixels(films / row["parent"]), k) == pixels(out / row["path"])).all()
        ]
        mask = pixels(out / row["mask"])[..., 0]
        assert any((np.rot90(pixels(films / parent["mask"])[..., 0], k) == mask).all() for k in turns)
        left, top, right, bottom = map(int, row["box"].split(","))
        assert mask[top:bottom, left:right].sum() == mask.sum() > 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bytes_whatever_the_workers_and_shards(
    bccli: Bccli, films: Path, tmp_path: Path, workers: int
) -> None:
    options = "--policy", "hybrid", "--total", 450, "--seed", 3
    bccli("augment", films, tmp_path / "one", *options, "--workers", 1)
    out = tmp_path / "other"
    if workers == 2:
        bccli("augment", films, out, *options, "--workers", 2)
    else:
        first = bccli("augment", films, out, *options, "--shard", "2/2")
        assert first.stdout == ""
        assert "still needs 1/2" in first.stderr
        refused(bccli("train", out, tmp_path / "run", exit=3), "unfinished", "the same bccli augment again")
        bccli("augment", films, out, *options, "--shard", "1/2")
    assert tree(out) == tree(tmp_path / "one")
    assert "nothing to do" in bccli("augment", films, out, *options).stderr


def test_more_images_and_more_copies_change_no_other_copy(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    def made(name: str, *options: object) -> dict[tuple[str, str], str]:
        bccli("prepare", "folder", raw, tmp_path / name, *PATIENT, "--ratios", "1/1/1")
        out = tmp_path / f"{name}-out"
        bccli("augment", tmp_path / name, out, "--policy", "table5", "--splits", "train,val,test", *options)
        return {(row["source"], row["variant"]): row["sha256"] for row in copies_in(out)}

    raw = make_folder()
    few = made("few", "--per-image", 2)
    more = made("more", "--per-image", 3)
    assert few.items() < more.items()
    save(raw / "benign" / "a0_0.png", np.zeros((24, 24, 3), np.uint8) + 50)  # comes first in the folder
    assert few.items() < made("grown", "--per-image", 2).items()
    assert few.keys() == made("seeded", "--per-image", 2, "--seed", 1).keys() - {
        ("benign/a0_0.png", "1"),
        ("benign/a0_0.png", "2"),
    }


def test_all_patches_of_an_image_get_the_same_draw(bccli: Bccli, patches: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bccli("augment", patches, out, "--policy", "right-angles", "--per-image", 3)
    turns: dict[tuple[str, str], set[int]] = {}
    for row in copies_in(out):
        parent, made = pixels(patches / row["parent"]), pixels(out / row["path"])
        (turn,) = [k for k in (1, 2, 3) if (np.rot90(parent, k) == made).all()]
        turns.setdefault((row["source"], row["variant"]), set()).add(turn)
    assert len(turns) > 6
    assert all(len(one) == 1 for one in turns.values())
    assert len(set().union(*turns.values())) > 1


def test_a_total_counts_originals_and_is_even(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    printed = rows_of(bccli("augment", films, tmp_path / "out", "--policy", "flips", "--total", 21).stdout)
    train = [int(row["images"]) for row in printed if row["part"] == "train"]
    assert sorted(train) == [10, 11]
    assert sum(int(row["children"]) for row in printed) == 21 - sum(
        row["split"] == "train" for row in read_rows(films / "manifest.csv")
    )


def test_a_total_that_whole_images_of_patches_do_not_reach(
    bccli: Bccli, patches: Path, tmp_path: Path
) -> None:
    rows = read_rows(patches / "manifest.csv")
    per_image = Counter(row["source"] for row in rows if row["split"] == "train")
    assert set(per_image.values()) == {4}
    result = bccli("augment", patches, tmp_path / "out", "--policy", "flips", "--total", 30)
    assert "There are 24 images, not 30" in result.stderr
    assert sum(int(row["images"]) for row in rows_of(result.stdout) if row["part"] == "train") == 24


def test_balance(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw = make_folder(patients=6)
    for path in sorted((raw / "benign").glob("p[024]_[123].png")):
        path.unlink()
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, "--folds", 3)
    printed = rows_of(
        bccli("augment", tmp_path / "data", tmp_path / "out", "--policy", "flips", "--balance").stdout
    )
    assert [(row["part"], row["label"], row["images"], row["children"]) for row in printed] == [
        (f"fold {fold}", label, "4", copies)
        for fold in range(3)
        for label, copies in (("benign", "3"), ("malignant", "0"))
    ]


def test_splits_that_are_named_are_augmented_and_it_is_said(
    bccli: Bccli, films: Path, tmp_path: Path
) -> None:
    result = bccli("augment", films, tmp_path / "out", "--policy", "flips", "--splits", "val,test")
    copies = {row["part"]: row["children"] for row in rows_of(result.stdout)}
    assert copies == {"train": "0", "val": "4", "test": "4"}
    assert "val and test are augmented" in result.stderr
    assert any("val and test are augmented" in note for note in info_of(tmp_path / "out")["notes"])


def test_paper_protocol_joins_augments_and_splits(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = bccli(
        "augment",
        films,
        out,
        "--policy",
        "table5",
        "--total",
        200,
        "--protocol",
        "paper",
        "--ratios",
        "80/10/10",
    )
    rows = read_rows(out / "manifest.csv")
    assert Counter(row["split"] for row in rows) == {"train": 160, "val": 20, "test": 20}
    assert Counter(row["label"] for row in rows) == {"benign": 100, "malignant": 100}
    families: dict[str, set[str]] = {}
    for row in rows:
        families.setdefault(row["parent"] or row["path"], set()).add(row["split"])
    elsewhere = [
        row for row in rows if row["split"] == "test" and len(families[row["parent"] or row["path"]]) > 1
    ]
    info = info_of(out)
    assert info["audit"]["test"]["children"] == len(elsewhere) == 20
    assert info["audit"]["test"]["patients"] == len(
        {row["patient"] for row in rows if row["split"] == "test"}
    )
    assert info["protocol"] == "paper"
    assert "20 augmented relatives" in result.stderr
    trained = bccli("train", out, tmp_path / "run", "--epochs", 1, "--trainable", "none")
    assert "20 augmented relatives" in trained.stderr
    assert {row["protocol"] for row in rows_of(trained.stdout)} == {"paper"}
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())["runs"]
    assert figures[1]["leakage"]["children"] == 20


def test_training_with_folds_drops_the_copies_of_val_and_test(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    from bccli.core.data.dataset import load_dataset
    from bccli.core.data.split_codes import split_codes_of

    data, out = tmp_path / "data", tmp_path / "out"
    bccli("prepare", "folder", make_folder(), data, *PATIENT, "--folds", 3)
    bccli("augment", data, out, "--policy", "flips", "--per-image", 2)
    dataset = load_dataset(out)
    assert sum(bool(sample.parent) for sample in dataset.samples) == 48
    parts = split_codes_of(dataset, 0)
    for sample, part in zip(dataset.samples, parts.tolist(), strict=True):
        assert part == {0: 2, 1: 1, 2: 0}[sample.fold or 0] if not sample.parent else part in (0, -1)
        assert not sample.parent or (part == 0) == (sample.fold == 2)


def test_a_dry_run_writes_nothing_but_the_preview(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    result = bccli(
        "augment", films, tmp_path / "out", "--policy", "table5", "--dry-run", "--preview", picture
    )
    assert not (tmp_path / "out").exists()
    assert {"part", "label", "images", "children"} == set(rows_of(result.stdout)[0])
    assert "about 32 images" in result.stderr
    assert "free" in result.stderr
    sheet = Image.open(picture)
    assert sheet.width > 1000
    assert sheet.height > 2 * 7 * 144  # two classes, the policy and its six operations
    assert len(sheet.convert("L").getcolors()) > 100


def test_a_policy_of_the_user_s(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[operations]]\naugmenter = "Multiply"\nmul = 0.5\n')
    bccli("augment", films, tmp_path / "out", "--policy", path)
    row = copies_in(tmp_path / "out")[0]
    assert (pixels(tmp_path / "out" / row["path"]) == pixels(films / row["parent"]) // 2).all()
    shutil.copy(path, tmp_path / "renamed.toml")
    again = bccli("augment", films, tmp_path / "out", "--policy", tmp_path / "renamed.toml")
    assert "nothing to do" in again.stderr
    path.write_text('[[operations]]\naugmenter = "Multiply"\nmul = 0.6\n')
    refused(
        bccli("augment", films, tmp_path / "out", "--policy", path, exit=3),
        "operation 1",
        '"mul": 0.5',
        '"mul": 0.6',
    )
    path.write_text('[[operations]]\naugmenter = "Multipli"\n')
    refused(bccli("augment", films, tmp_path / "x", "--policy", path, exit=2), "did you mean 'Multiply'?")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--policy", "tabel5"), ("did you mean 'table5'?",)),
        (("--policy", "flips", "--total", 5), ("--total 5", "originals")),
        (("--policy", "flips", "--total", 50, "--per-image", 2), ("--per-image", "--total")),
        (("--policy", "flips", "--balance", "--total", 99), ("--total", "--balance")),
        (("--policy", "flips", "--splits", "trian"), ("did you mean 'train'?",)),
        (("--policy", "flips", "--ratios", "8/1/1"), ("--ratios", "--protocol paper")),
        (("--policy", "flips", "--protocol", "paper", "--splits", "train"), ("--splits", "joins")),
        (("--policy", "flips", "--shard", "1/2", "--overwrite"), ("--shard", "--overwrite")),
        (("--policy", "flips", "--preview", "-"), ("--preview",)),
    ],
)
def test_options_that_cannot_be_are_refused(
    bccli: Bccli, films: Path, tmp_path: Path, options: tuple[object, ...], said: tuple[str, ...]
) -> None:
    refused(bccli("augment", films, tmp_path / "out", *options, exit=2), *said)
    assert not (tmp_path / "out").exists()


def test_data_that_cannot_be_augmented_is_refused(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bccli("augment", films, out, "--policy", "flips")
    refused(bccli("augment", out, tmp_path / "x", "--policy", "flips", exit=3), "already augmented")
    refused(bccli("augment", films, films / "x", "--policy", "flips", exit=3), "inside")
    refused(bccli("augment", films, films, "--policy", "flips", exit=3), str(films))
    refused(bccli("augment", films, tmp_path, "--policy", "flips", exit=3), "not empty")
    refused(bccli("augment", tmp_path / "none", out, "--policy", "flips", exit=3), "no such folder")
    refused(bccli("augment", films, out, "--policy", "flips", "--seed", 1, exit=3), "seed 0, now 1")
    damaged = films / read_rows(films / "manifest.csv")[0]["path"]
    Image.new("RGB", (32, 32)).save(damaged)
    refused(
        bccli("augment", films, tmp_path / "x", "--policy", "flips", exit=3), damaged.name, "other pixels"
    )
    damaged.unlink()
    refused(bccli("augment", films, tmp_path / "x", "--policy", "flips", exit=3), damaged.name)


def test_a_disk_that_is_too_small(
    bccli: Bccli, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimating, "free_space", lambda path: 50_000)
    refused(
        bccli("augment", films, tmp_path / "out", "--policy", "flips", exit=3),
        "50 kB free",
        "the images take about",
    )
    assert not (tmp_path / "out").exists()


def test_overwrite_replaces(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    bccli("augment", films, tmp_path / "out", "--policy", "flips", "--per-image", 2)
    bccli("augment", films, tmp_path / "out", "--policy", "right-angles", "--overwrite")
    bccli("augment", films, tmp_path / "fresh", "--policy", "right-angles")
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_a_recipe_sets_defaults(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[augment]\npolicy = "flips"\n[augment.paper]\ntotal = 60\n')
    printed = bccli("augment", films, tmp_path / "out", "--recipe", recipe, "--protocol", "paper").stdout
    assert sum(int(row["images"]) for row in rows_of(printed)) == 60


def test_the_built_in_policies_are_listed(bccli: Bccli) -> None:
    rows = rows_of(bccli("augment", "--list-policies").stdout)
    assert {row["name"] for row in rows} >= {"table5", "hybrid"}
    assert all(row["title"] and row["operations"] and row["paper"] for row in rows)


@pytest.mark.exports
def test_an_augmented_dataset_trains_predicts_and_says_what_is_augmented(
    bccli: Bccli, films: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    bccli("augment", films, out, "--policy", "flips", "--splits", "train,test")
    figures = rows_of(bccli("train", out, tmp_path / "run", "--epochs", 1, "--trainable", "none").stdout)
    assert {row["protocol"] for row in figures} == {"honest, augmented test"}
    image = films / read_rows(films / "manifest.csv")[0]["path"]
    assert "predicted" in bccli("predict", tmp_path / "run", image).stdout
    assert len(rows_of(bccli("evaluate", tmp_path / "run").stdout)) == 1
