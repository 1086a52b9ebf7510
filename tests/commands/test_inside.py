"""What a stranger's dataset cannot do: have files written, or read, outside of the folders it was given."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.errors import DataError
from bccli.core.files import write_into
from tests.conftest import Bccli, draw, read_rows, save, tree
from tests.sentences import refused

AUGMENT = "--policy", "flips", "--per-image", 1


@pytest.fixture
def films(bccli: Bccli, tmp_path: Path) -> Path:
    """A small prepared dataset with masks."""
    command = "prepare", "phantom", "mammography", tmp_path / "films"
    bccli(*command, "--count", 12, "--patients", 6, "--size", "24x24", "--ratios", "2/1/1")
    return tmp_path / "films"


def rewrite(data: Path, **cells: str) -> None:
    """Change cells of the first row of train that has a mask."""
    rows = read_rows(data / "manifest.csv")
    row = next(row for row in rows if row["split"] == "train" and row["mask"])
    row.update(cells)
    lines = [",".join(rows[0]), *(",".join(f'"{cell}"' for cell in row.values()) for row in rows)]
    (data / "manifest.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("column", ["path", "mask", "parent"])
@pytest.mark.parametrize(
    "name",
    [
        "../victim.png",
        "images/../../victim.png",
        "{outside}/victim.png",
        "/victim.png",
        "..",
        "..\\victim.png",
        "C:/victim.png",
        ".cache/victim.png",
    ],
)
def test_a_manifest_that_names_a_file_elsewhere_is_refused(
    bccli: Bccli, films: Path, tmp_path: Path, column: str, name: str
) -> None:
    save(tmp_path / "victim.png", draw(0, 1))
    rewrite(films, **{column: name.format(outside=tmp_path)})
    before = tree(tmp_path)
    for command in (("augment", films, tmp_path / "out", *AUGMENT), ("train", films, tmp_path / "run")):
        result = bccli(*command, exit=3)
        refused(result, str(films / "manifest.csv"), column, "leaves the dataset", "prepare the dataset")
    assert tree(tmp_path) == before


def test_a_mask_that_is_another_rows_image_is_refused(bccli: Bccli, films: Path, tmp_path: Path) -> None:
    rewrite(films, mask=read_rows(films / "manifest.csv")[-1]["path"])
    refused(bccli("augment", films, tmp_path / "out", *AUGMENT, exit=3), "another row's image")


def prepare(bccli: Bccli, films: Path, out: Path, *more: object, **options: object) -> Result:
    return bccli("prepare", "phantom", "histology", out, "--count", 12, "--patients", 6, *more, **options)


def augment(bccli: Bccli, films: Path, out: Path, *more: object, **options: object) -> Result:
    return bccli("augment", films, out, *AUGMENT, *more, **options)


MAKERS = pytest.mark.parametrize("maker", [prepare, augment])


def interrupt(out: Path) -> None:
    """Leave a complete dataset as a process leaves it that was killed before its first image."""
    settings = json.loads((out / "dataset.json").read_text())["settings"]
    (out / "dataset.json").unlink()
    (out / ".unfinished").mkdir()
    (out / ".unfinished" / "settings.json").write_text(json.dumps(settings))


@MAKERS
@pytest.mark.parametrize("folder", ["images", "masks", ".unfinished"])
@pytest.mark.parametrize("state", ["unfinished", "finished"])
def test_a_link_in_the_output_folder_is_not_followed(
    bccli: Bccli, films: Path, tmp_path: Path, maker: Callable[..., Result], folder: str, state: str
) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    maker(bccli, films, out)
    if state == "unfinished":
        interrupt(out)
    if (out / folder).exists():
        (out / folder).rename(outside)
    else:
        outside.mkdir()
    (out / folder).symlink_to(outside)
    before = tree(outside)
    result = maker(bccli, films, out, "--overwrite", exit=3)
    refused(result, str(out / folder), "leaves the folder", "remove the link")
    assert tree(outside) == before


@MAKERS
def test_an_image_that_is_a_link_is_not_written_through(
    bccli: Bccli, films: Path, tmp_path: Path, maker: Callable[..., Result]
) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("mine")
    maker(bccli, films, out)
    interrupt(out)
    image = out / next(row["path"] for row in read_rows(out / "manifest.csv"))
    (out / ".unfinished" / "0000000.json").write_text('{"inputs": ""}')  # so that the images are kept
    image.unlink()
    image.symlink_to(victim)
    refused(maker(bccli, films, out, exit=3), str(image), "is a link", "remove it")
    assert victim.read_text() == "mine"


@given(st.lists(st.sampled_from(["..", ".", "a", "", "link", "C:", "b\\.."]), min_size=1, max_size=5))
def test_whatever_the_name_a_file_lies_inside_or_is_refused(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "folder")
        folder.mkdir()
        (folder / "link").symlink_to(place)
        with contextlib.suppress(DataError, IsADirectoryError):
            write_into(folder, "/".join(parts), b"data")
        assert sorted(os.listdir(place)) == ["folder"]
