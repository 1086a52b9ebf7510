"""Every reader of a dataset with a list names the folder that was meant, one or two levels away."""

import shutil
from pathlib import Path

import pytest

from tests.commands.digital_films import inbreast
from tests.commands.mammograms import cbis, lesions, mias, mini_ddsm
from tests.conftest import Bccli, read_rows
from tests.sentences import refused


def make(dataset: str, root: Path) -> str:
    """A small dataset; returns a folder in it."""
    if dataset == "mias":
        mias(root)
        (root / "films").mkdir()
        for path in root.glob("*.pgm"):
            shutil.move(path, root / "films")
        return "films"
    if dataset == "inbreast":
        inbreast(root)
        return "AllDICOMs"
    mini_ddsm(root).write()
    return next(str(path.parent.relative_to(root)) for path in sorted(root.rglob("*.jp*g")))


@pytest.mark.parametrize("dataset", ["mias", "mini-ddsm", "inbreast"])
@pytest.mark.parametrize("wrapped", ["", "a", "a/b"])
def test_the_folder_with_the_list_is_named(bccli: Bccli, tmp_path: Path, dataset: str, wrapped: str) -> None:
    root = tmp_path / "raw" / wrapped
    inside = make(dataset, root)
    (tmp_path / "raw" / "__MACOSX").mkdir()
    sources = [tmp_path / "raw"] if wrapped else [root / inside]
    for source in sources:
        result = bccli("prepare", dataset, source, tmp_path / "data", exit=3)
        refused(result, str(source), f"name the folder {root} instead")
    bccli("prepare", dataset, root, tmp_path / "data", "--dry-run")


@pytest.mark.parametrize("place", ["", "csv", "a/csv"])
def test_the_lists_of_cbis_ddsm_may_lie_two_levels_down(bccli: Bccli, tmp_path: Path, place: str) -> None:
    root = cbis(tmp_path / "raw", lesions())
    lists = sorted(root.glob("*.csv"))
    (root / place).mkdir(parents=True, exist_ok=True)
    if place:
        for path in lists:
            shutil.move(path, root / place)
    bccli("prepare", "cbis-ddsm", root, tmp_path / "data")
    assert len(read_rows(tmp_path / "data" / "manifest.csv")) == len(lesions())


def test_a_folder_of_cbis_ddsm_s_images_names_the_one_with_the_lists(bccli: Bccli, tmp_path: Path) -> None:
    root = cbis(tmp_path / "raw", lesions())
    (root / "images").mkdir()
    for path in sorted(path for path in root.iterdir() if path.is_dir() and path.name != "images"):
        shutil.move(path, root / "images")
    result = bccli("prepare", "cbis-ddsm", root / "images", tmp_path / "data", exit=3)
    refused(result, "holds no mass_case", f"name the folder {root} instead")
