"""`bccli prepare --pack`: the pixels once more in one array, by which runs are faster and no others."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccli.core import interruption
from bccli.core.data.dataset import load_dataset
from bccli.core.data.image_batches import Images, decode_prepared, open_images
from bccli.core.datasets import packing
from bccli.core.imaging.packs import PackedImages
from bccli.core.progress import Watcher
from tests.conftest import PATIENT, Bccli, draw, draw_folder, fill_prepared, read_rows, save, tree
from tests.library import Library, bccli_in
from tests.sentences import refused

SPLITS = *PATIENT, "--ratios", "1/1/1"
PACK = "pixels/24x24.npy"


def command_of(raw: Path, data: Path) -> tuple[object, ...]:
    """What made `packed`, short of `--pack`."""
    return "prepare", "folder", raw, data, *SPLITS


def fill_packed(place: Path) -> None:
    fill_prepared(place)
    bccli_in(*command_of(place / "raw", place / "data"), "--pack")


@pytest.fixture
def packed(library: Library, tmp_path: Path) -> Path:
    """What `prepared` is, and packed."""
    return library.copy("packed", fill_packed, tmp_path) / "data"


class Heard(Watcher):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def check(data: Path, *, decoded: int = 0, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Assert that all images have the pixels of their PNG files, and that so many files are decoded for that.

    Returns the warnings.
    """
    dataset, heard, files = load_dataset(data), Heard(), []
    images = open_images(data, dataset.samples, heard)
    with monkeypatch.context() as patch:
        decode = Images.decoded_png
        patch.setattr(
            Images, "decoded_png", lambda self, number: files.append(number) or decode(self, number)
        )
        found = np.concatenate(list(images.arrays(np.arange(len(dataset.samples)), 5)))
    np.testing.assert_array_equal(found, [decode_prepared(data / sample.path) for sample in dataset.samples])
    assert len(files) == decoded
    return heard.warnings


# What prepare writes


def test_a_pack_is_an_array_for_each_size_in_the_order_of_the_manifest(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = draw_folder(tmp_path / "raw", images=2)
    for number, size in enumerate([(20, 30), (30, 20), (20, 30)]):
        save(raw / "benign" / f"p0_{number + 5}.png", draw(0, 100 + number, size))
    save(raw / "malignant" / "p1_9.png", draw(1, 7, (30, 20))[..., 0])  # in grey
    bccli(*command_of(raw, tmp_path / "data"), "--pack")
    rows = read_rows(tmp_path / "data" / "manifest.csv")
    assert {path.name for path in (tmp_path / "data" / "pixels").iterdir()} == {
        f"{size}.{ending}" for size in ("20x30", "24x24", "30x20") for ending in ("npy", "sha256")
    }
    for width, height in ((20, 30), (30, 20), (24, 24)):
        own = [row for row in rows if (row["width"], row["height"]) == (str(width), str(height))]
        array = np.load(tmp_path / "data" / "pixels" / f"{width}x{height}.npy")
        assert array.dtype == np.uint8
        assert array.shape == (len(own), height, width, 3)
        for row, pixels in zip(own, array, strict=True):
            image = Image.open(tmp_path / "data" / row["path"]).convert("RGB")
            np.testing.assert_array_equal(pixels, np.asarray(image))
        hashes = (tmp_path / "data" / "pixels" / f"{width}x{height}.sha256").read_text().splitlines()
        assert hashes == [row["sha256"] for row in own]


def test_all_else_is_as_without_a_pack_and_packs_are_the_same_bytes(
    bccli: Bccli, packed: Path, tmp_path: Path
) -> None:
    raw = packed.parent / "raw"
    bccli(*command_of(raw, tmp_path / "plain"))
    bccli(*command_of(raw, tmp_path / "workers"), "--pack", "--workers", 2)
    for number in (2, 1):
        bccli(*command_of(raw, tmp_path / "shards"), "--pack", "--shard", f"{number}/2")
    plain, found = tree(tmp_path / "plain"), tree(packed)
    assert found.keys() - plain.keys() == {PACK, "pixels/24x24.sha256"}
    assert {name: found[name] for name in plain} == plain
    assert tree(tmp_path / "workers") == found
    assert tree(tmp_path / "shards") == found


def test_only_the_shard_that_merges_packs(bccli: Bccli, packed: Path, tmp_path: Path) -> None:
    command = *command_of(packed.parent / "raw", tmp_path / "out"), "--patch", 12  # four images to a chunk
    assert "still needs" in bccli(*command, "--pack", "--shard", "1/2").stderr
    assert not (tmp_path / "out" / "pixels").exists()
    bccli(*command, "--shard", "2/2")  # without the option, it does not
    assert not (tmp_path / "out" / "pixels").exists()
    bccli(*command, "--pack", "--shard", "1/2")
    assert np.load(tmp_path / "out" / "pixels" / "12x12.npy").shape == (96, 12, 12, 3)


def test_a_pack_is_added_to_a_complete_dataset_and_stays(
    bccli: Bccli, prepared: Path, packed: Path, tmp_path: Path
) -> None:
    """It is no part of what two datasets are the same by."""
    (tmp_path / "plain").mkdir()
    shutil.copytree(tmp_path / "raw", tmp_path / "plain" / "raw")
    command = command_of(tmp_path / "raw", tmp_path / "plain" / "data")
    bccli(*command)
    bccli(*command, "--pack")
    assert tree(tmp_path / "plain" / "data") == tree(packed)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "plain" / "data").rglob("*")}
    for option in ("--pack", "--no-pack"):
        assert "nothing to do" in bccli(*command, option).stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "plain" / "data").rglob("*")} == before


def test_what_replaces_a_dataset_takes_its_pack_away(bccli: Bccli, packed: Path) -> None:
    command = command_of(packed.parent / "raw", packed)
    refused(bccli(*command, "--pack", "--size", "12x12", exit=3), "--overwrite")
    bccli(*command, "--size", "12x12", "--overwrite")
    assert not (packed / "pixels").exists()
    bccli(*command, "--pack", "--overwrite")
    assert sorted(path.name for path in (packed / "pixels").iterdir()) == ["24x24.npy", "24x24.sha256"]


def test_augment_leaves_the_pack_behind(
    bccli: Bccli, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(packed, tmp_path / "other")
    bccli("augment", packed, tmp_path / "more", "--policy", "flips", "--per-image", 1)
    assert not (tmp_path / "more" / "pixels").exists()
    command = "augment", packed, tmp_path / "other", "--policy", "flips", "--per-image", 1, "--overwrite"
    bccli(*command)
    assert not (tmp_path / "other" / "pixels").exists()
    assert check(tmp_path / "other", decoded=32, monkeypatch=monkeypatch) == []


def test_what_a_pack_will_take_is_said_before(bccli: Bccli, packed: Path, tmp_path: Path) -> None:
    command = *command_of(packed.parent / "raw", tmp_path / "out"), "--dry-run"
    assert "41 kB of packed pixels" in bccli(*command, "--pack").stderr  # 24 × 24 × 24 × 3
    assert "packed" not in bccli(*command).stderr


# What goes wrong while it is written


def test_an_image_that_is_not_what_the_manifest_says_is_not_packed(
    bccli: Bccli, prepared: Path, tmp_path: Path
) -> None:
    (first, *_) = sorted((prepared / "images").rglob("*.png"))
    size = first.stat().st_size
    pixels = np.asarray(Image.open(first)).copy()
    command = *command_of(tmp_path / "raw", prepared), "--pack"
    for level in range(256):  # one of which makes a file of the same size
        pixels[0, 0] = level
        save(first, pixels)
        if first.stat().st_size == size:
            break
    else:
        with first.open("ab") as stream:
            stream.write(b"\0" * (size - first.stat().st_size))
    refused(bccli(*command, exit=3), first.name, "other pixels than the manifest says", "--overwrite")
    assert not (prepared / "pixels").exists()
    assert not (prepared / ".unfinished").exists()


def test_a_signal_stops_packing_and_the_same_command_goes_on(
    bccli: Bccli, prepared: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = *command_of(packed.parent / "raw", prepared), "--pack"
    shutil.rmtree(prepared / "pixels", ignore_errors=True)
    with monkeypatch.context() as patch:
        pixels = packing._pixels
        patch.setattr(packing, "_pixels", lambda *args: interruption.request(15) or pixels(*args))
        patch.setattr(packing, "_AT_A_TIME", 1)
        bccli(*command, exit=75)
    assert not (prepared / "pixels").exists()
    assert not (prepared / ".unfinished").exists()
    bccli(*command)
    assert (prepared / PACK).read_bytes() == np_bytes(prepared)


def np_bytes(data: Path) -> bytes:
    """The array that NumPy writes of all images."""
    import io

    stream = io.BytesIO()
    np.save(
        stream, np.stack([decode_prepared(data / row["path"]) for row in read_rows(data / "manifest.csv")])
    )
    return stream.getvalue()


def test_a_disk_without_room_is_said_before_anything_is_written(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda path: usage)
    command = *command_of(tmp_path / "raw", prepared), "--pack"
    refused(bccli(*command, exit=3), "43,032 bytes", "1,000 free", "leave --pack out")
    assert not (prepared / "pixels").exists()


def test_a_disk_that_is_full_in_the_midst_is_a_sentence(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> np.ndarray:
        raise OSError(28, os.strerror(28))

    command = *command_of(tmp_path / "raw", prepared), "--pack"
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_pixels", fail)
        refused(bccli(*command, exit=3), PACK, "the disk is full", "the same command again")
    assert not (prepared / "pixels").exists()
    assert not (prepared / ".unfinished").exists()
    assert (prepared / "dataset.json").exists()
    bccli(*command)
    assert (prepared / PACK).exists()


def test_what_was_packed_before_a_kill_does_not_stay_without_the_option(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dataset.json comes after the pack, and says what it says with it."""
    from bccli.core.preparation import resumable

    command = command_of(tmp_path / "raw", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(resumable.DatasetInfo, "write", lambda self, path: os.kill(os.getpid(), 15))
        bccli(*command, "--pack", exit=75)
    assert (tmp_path / "out" / PACK).exists()
    assert not (tmp_path / "out" / "dataset.json").exists()
    bccli(*command)
    assert tree(tmp_path / "out") == tree(prepared)


def test_a_link_in_place_of_the_folder_leads_nowhere(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (prepared / "pixels").symlink_to(tmp_path / "elsewhere")
    command = *command_of(tmp_path / "raw", prepared), "--pack"
    refused(bccli(*command, exit=3), "leaves the folder", "remove the link")
    refused(bccli(*command, "--overwrite", exit=3), "leaves the folder", "remove the link")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo])
def test_a_file_in_place_of_the_folder_is_said(
    bccli: Bccli, prepared: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(prepared / "pixels")
    refused(bccli(*command_of(tmp_path / "raw", prepared), "--pack", exit=3), "pixels", "no folder")


@pytest.mark.parametrize("name", ["images", "pixels", ".unfinished"])
def test_a_pipe_in_place_of_a_folder_is_not_waited_for(
    bccli: Bccli, prepared: Path, tmp_path: Path, name: str
) -> None:
    if name == "images":
        shutil.rmtree(prepared / name)
    os.mkfifo(prepared / name)
    refused(bccli(*command_of(tmp_path / "raw", prepared), "--overwrite", exit=3), name)
    bccli(*command_of(tmp_path / "raw", prepared), exit=None)
    (prepared / name).unlink()
    bccli(*command_of(tmp_path / "raw", prepared), "--overwrite")


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("name", [PACK, "pixels/24x24.sha256"])
def test_pipes_in_place_of_its_files_are_replaced(
    bccli: Bccli, packed: Path, tmp_path: Path, name: str, linked: bool
) -> None:
    before = tree(packed)
    (packed / name).unlink()
    os.mkfifo(tmp_path / "pipe" if linked else packed / name)
    if linked:
        (packed / name).symlink_to(tmp_path / "pipe")
    bccli(*command_of(packed.parent / "raw", packed), "--pack")
    assert tree(packed) == before
    assert not (packed / name).is_symlink()
    assert not (packed / ".unfinished").exists()


def test_two_at_once_pack_one_after_the_other(packed: Path, tmp_path: Path) -> None:
    raw, out = packed.parent / "raw", tmp_path / "out"
    command = [sys.executable, "-m", "bccli", *map(str, command_of(raw, out)), "--pack"]
    shards = [
        subprocess.Popen(
            [*command, "--shard", f"{number}/2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for number in (1, 2)
    ]
    for process in shards:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert tree(out / "pixels") == tree(packed / "pixels")


# What readers make of it


def test_pixels_come_from_the_pack_alone(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(packed, monkeypatch=monkeypatch) == []


def test_a_dataset_that_was_moved_and_made_read_only_has_its_pack(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(packed, tmp_path / "moved")
    for path in [tmp_path / "moved", *(tmp_path / "moved").rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    assert check(tmp_path / "moved", monkeypatch=monkeypatch) == []
    for path in [tmp_path / "moved", *(tmp_path / "moved").rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


def without_rows(data: Path) -> None:
    lines = (data / "manifest.csv").read_text().splitlines(keepends=True)
    (data / "manifest.csv").write_text("".join([lines[0], *lines[5:20]]))


def turned_round(data: Path) -> None:
    lines = (data / "manifest.csv").read_text().splitlines(keepends=True)
    (data / "manifest.csv").write_text("".join([lines[0], *reversed(lines[1:])]))


@pytest.mark.parametrize("change", [without_rows, turned_round])
def test_rows_that_were_removed_or_moved_by_hand_do_no_harm(
    packed: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    change(packed)
    assert check(packed, monkeypatch=monkeypatch) == []


def another_datasets(data: Path) -> None:
    """The pack of images of the same number and size."""
    raw = draw_folder(data.parent / "others", patients=6)
    for path in raw.rglob("*.png"):
        save(path, 255 - np.asarray(Image.open(path)))
    bccli_in(*command_of(raw, data.parent / "other"), "--pack")
    shutil.rmtree(data / "pixels")
    shutil.copytree(data.parent / "other" / "pixels", data / "pixels")


def only_the_array_of_another(data: Path) -> None:
    hashes = (data / "pixels" / "24x24.sha256").read_bytes()
    another_datasets(data)
    (data / "pixels" / "24x24.sha256").write_bytes(hashes)


def only_the_hashes_of_another(data: Path) -> None:
    array = (data / PACK).read_bytes()
    another_datasets(data)
    (data / PACK).write_bytes(array)


def cut(data: Path) -> None:
    os.truncate(data / PACK, 20_000)


def without_hashes(data: Path) -> None:
    (data / "pixels" / "24x24.sha256").unlink()


def replaced_by_a_pipe(data: Path) -> None:
    (data / PACK).unlink()
    os.mkfifo(data / PACK)


def all_black(data: Path) -> None:
    size = (data / PACK).stat().st_size
    os.truncate(data / PACK, 128)
    os.truncate(data / PACK, size)


def not_to_be_read(data: Path) -> None:
    (data / PACK).chmod(0)
    if os.access(data / PACK, os.R_OK):
        pytest.skip("root reads everything")


OF_NO_USE = {
    another_datasets: "lacks the pixels of 24 of 24 images",
    only_the_array_of_another: "has other pixels in row 0 than the manifest says",
    only_the_hashes_of_another: "lacks the pixels of 24 of 24 images",
    cut: "is damaged (it has 20,000 bytes, not 41,600)",
    without_hashes: "cannot be read (24x24.sha256: no such file or directory)",
    replaced_by_a_pipe: "cannot be read (is a named pipe and not a file)",
    all_black: "has other pixels in row 0 than the manifest says",
    not_to_be_read: "cannot be read (permission denied)",
}


@pytest.mark.parametrize("fault", OF_NO_USE, ids=lambda fault: fault.__name__)
def test_what_is_of_no_use_is_said_once_and_the_png_files_are_read(
    packed: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Path], None]
) -> None:
    fault(packed)
    (warning,) = check(packed, decoded=24, monkeypatch=monkeypatch)
    assert warning.startswith(f"{packed / PACK}: {OF_NO_USE[fault]}; ")
    assert warning.endswith("remove it, and the same bccli prepare with --pack makes it anew")


@pytest.mark.parametrize("fault", OF_NO_USE, ids=lambda fault: fault.__name__)
def test_the_same_command_makes_it_anew_as_the_warning_says(
    bccli: Bccli, packed: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Path], None]
) -> None:
    before = tree(packed)
    fault(packed)
    (packed / PACK).unlink()
    bccli(*command_of(packed.parent / "raw", packed), "--pack")
    assert tree(packed) == before
    assert check(packed, monkeypatch=monkeypatch) == []


def test_one_damaged_row_is_read_from_its_file(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray((packed / PACK).read_bytes())
    data[128 + 7 * 24 * 24 * 3] ^= 255
    (packed / PACK).write_bytes(data)
    (warning,) = check(packed, decoded=1, monkeypatch=monkeypatch)
    assert "has other pixels in row 7 than the manifest says" in warning


def test_a_new_row_is_read_from_its_file(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bccli.core.imaging.hashes import pixel_hash

    save(packed / "images" / "new.png", draw(1, 99))
    rows = (packed / "manifest.csv").read_text().splitlines(keepends=True)
    cells = dict(zip(rows[0].strip().split(","), rows[1].rstrip("\n").split(","), strict=True))
    cells |= {"path": "images/new.png", "sha256": pixel_hash(draw(1, 99))}
    (packed / "manifest.csv").write_text("".join([*rows, ",".join(cells.values()) + "\n"]))
    (warning,) = check(packed, decoded=1, monkeypatch=monkeypatch)
    assert "lacks the pixels of 1 of 25 images" in warning


def test_a_damaged_png_is_named_where_the_pack_does_not_have_it_either(packed: Path) -> None:
    from bccli.core.errors import DataError

    all_black(packed)
    (first, *_) = sorted((packed / "images").rglob("*.png"))
    first.write_bytes(b"no image")
    dataset = load_dataset(packed)
    images = open_images(packed, dataset.samples)
    with pytest.raises(DataError, match=f"{first.name}: .*restore the file or prepare the dataset again"):
        list(images.batches(np.arange(24), 8))


# The same runs


SMALL = "--backbone", "cnn-15", "--weights", "none", "--batch-size", 8
RUNS = {
    "network": (*SMALL, "--epochs", 2, "--dropout", 0.3, "--input-norm", "train"),
    "live": (*SMALL, "--epochs", 1, "--augment", "flips", "--workers", 2),
    "words": ("--classifier", "bovw"),
    "sweep": (*SMALL, "--epochs", 1, "--seeds", 2),
}
NEVER_THE_SAME = {"run.json", "log.txt", "leaderboard.csv"}
"""Times, machines and folders stand there."""


@pytest.mark.parametrize(
    "name", ["network", "words", *(pytest.param(name, marks=pytest.mark.slow) for name in ("live", "sweep"))]
)
def test_a_run_is_the_same_to_the_byte(
    bccli: Bccli, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(packed, tmp_path / "plain")
    shutil.rmtree(tmp_path / "plain" / "pixels")
    counts = []
    fill = PackedImages.fill
    monkeypatch.setattr(
        PackedImages, "fill", lambda self, *args: counts.append(len(args[0])) or fill(self, *args)
    )
    runs = []
    for data in (tmp_path / "plain", packed):
        assert counts == []
        bccli("train", data, tmp_path / data.name / "run", *RUNS[name])
        runs.append(tree(tmp_path / data.name / "run"))
    assert sum(counts) >= 8
    kept = [name for name in runs[0] if Path(name).name not in NEVER_THE_SAME]
    assert "predictions.csv" in {Path(name).name for name in kept}
    assert runs[0].keys() == runs[1].keys()
    assert {name: runs[0][name] for name in kept} == {name: runs[1][name] for name in kept}


@pytest.mark.parametrize("name", ["words", pytest.param("live", marks=pytest.mark.slow)])
def test_a_run_on_a_damaged_pack_is_the_same_and_warns_once(
    bccli: Bccli, packed: Path, tmp_path: Path, name: str
) -> None:
    bccli("train", packed, tmp_path / "whole", *RUNS[name], "--cache", tmp_path / "first")
    all_black(packed)
    result = bccli("train", packed, tmp_path / "damaged", *RUNS[name], "--cache", tmp_path / "second")
    assert result.stderr.count("has other pixels in row") == 1
    for name in ("predictions.csv", "seen.csv"):
        assert (tmp_path / "damaged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_audit_reads_the_pack_and_finds_the_same(
    bccli: Bccli, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = bccli("evaluate", packed, "--audit").stdout
    shutil.rmtree(packed / ".cache")
    monkeypatch.setattr(Images, "decoded_png", lambda self, number: pytest.fail("a PNG is decoded"))
    assert bccli("evaluate", packed, "--audit").stdout == expected
