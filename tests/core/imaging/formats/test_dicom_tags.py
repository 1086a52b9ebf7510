"""What a DICOM header says that identifies nobody."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from bccli.core.imaging.formats.dicom_tags import FilmTags, read_tags
from tests.core.imaging.formats.test_dicom import GREY, dicom

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")

MAMMOGRAM = {"Modality": "MG", "ViewPosition": "MLO", "ImageLaterality": "L"}


def tags_of(
    folder: Path, name: str = "x.dcm", *, syntax: str = uid.ExplicitVRLittleEndian, **tags: object
) -> FilmTags:
    """The tags of a film that has these."""
    (folder / name).write_bytes(dicom(GREY, syntax=syntax, **tags))
    return read_tags(folder / name)


@pytest.mark.parametrize(
    "syntax",
    [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian],
)
def test_scanner_age_view_and_side(tmp_path: Path, syntax: str) -> None:
    found = tags_of(
        tmp_path,
        syntax=syntax,
        Manufacturer="HOLOGIC,  Inc. ",
        ManufacturerModelName="Selenia Dimensions\0",
        PatientAge="045Y",
        **MAMMOGRAM,
    )
    assert found == FilmTags("HOLOGIC, Inc. Selenia Dimensions", "45", "MLO", "L")


@pytest.mark.parametrize(
    ("age", "expected"),
    [("089Y", "89"), ("090Y", "90"), ("104Y", "90"), ("018M", "1"), ("000Y", ""), ("300Y", ""), ("", "")],
)
def test_ages_of_90_and_over_are_one(tmp_path: Path, age: str, expected: str) -> None:
    assert tags_of(tmp_path, PatientAge=age).age == expected


@pytest.mark.parametrize(
    ("code", "view"), [("R-10242", "CC"), ("399368009", "MLO"), ("R-10226", "MLO"), ("R-99999", "")]
)
def test_a_view_may_be_a_code(tmp_path: Path, code: str, view: str) -> None:
    item = Dataset()
    item.CodeValue = code
    found = tags_of(tmp_path, Modality="MG", ViewCodeSequence=[item], Laterality="R")
    assert (found.view, found.side) == (view, "R")


def test_views_and_sides_are_those_of_mammograms(tmp_path: Path) -> None:
    found = tags_of(tmp_path, Modality="CR", ViewPosition="PA", ImageLaterality="L")
    assert (found.view, found.side) == ("", "")
    found = tags_of(tmp_path, Modality="MG", ViewPosition="see notes", ImageLaterality="B")
    assert (found.view, found.side) == ("", "")


def test_a_file_without_a_preamble_needs_its_ending(tmp_path: Path) -> None:
    tags_of(tmp_path, Manufacturer="Maker")
    bare = (tmp_path / "x.dcm").read_bytes()[132:]
    (tmp_path / "bare.dcm").write_bytes(bare)
    (tmp_path / "bare").write_bytes(bare)
    assert read_tags(tmp_path / "bare.dcm").scanner == "Maker"
    assert read_tags(tmp_path / "bare") == FilmTags()


def test_what_comes_behind_the_tags_is_not_read(tmp_path: Path) -> None:
    tags_of(tmp_path, Manufacturer="Maker", **MAMMOGRAM)
    whole = (tmp_path / "x.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: -GREY.nbytes - 20])
    assert read_tags(tmp_path / "cut.dcm").scanner == "Maker"


def test_files_that_say_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for size in (0, 10, 200, 5000):
        (tmp_path / "noise.dcm").write_bytes(bytes(128) + b"DICM" + rng.bytes(size))
        assert isinstance(read_tags(tmp_path / "noise.dcm"), FilmTags)
    assert read_tags(tmp_path / "missing.dcm") == FilmTags()
    assert read_tags(tmp_path) == FilmTags()
    assert tags_of(tmp_path) == FilmTags()
