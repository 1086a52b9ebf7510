"""Boxes and lesions come back from the files of a run as they were, and other files are refused."""

from pathlib import Path

import numpy as np
import pytest

from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.lesions import Lesion, boxed_lesion, find_lesions
from bccli.core.errors import DataError
from bccli.core.imaging.equalising import Box
from bccli.core.prediction.detectors.boxes_file import Detected, read_detected, write_detected

SIZE = 40, 30


def disc(x: int, y: int, radius: int) -> np.ndarray:
    """A mask of SIZE with a disc."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    found: np.ndarray = np.hypot(columns - x, rows - y) <= radius
    return found


def some() -> list[Detected]:
    """An image as one of val and of test, with different boxes, and one with a lesion alone."""
    lesions = tuple(find_lesions([disc(10, 10, 4) | disc(30, 20, 6)]))
    return [
        Detected(
            "a, b.png", (ScoredBox(Box(0, 0, 40, 30), 0.25), ScoredBox(Box(1, 2, 3, 4), 1e-5)), (), "val"
        ),
        Detected("a, b.png", (ScoredBox(Box(5, 6, 17, 18), 0.123456789),), lesions, "test"),
        Detected("c.png", (), (boxed_lesion(Box(0, 0, 5, 5)),), "test"),
    ]


def same(one: Lesion, other: Lesion) -> bool:
    """Whether two lesions have the same pixels."""
    if one.mask is None or other.mask is None:
        return (one.box, one.area, one.mask) == (other.box, other.area, other.mask)
    return (one.box, one.area) == (other.box, other.area) and bool((one.mask == other.mask).all())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_detected(tmp_path, [*some(), Detected("empty.png", (), (), "test")])
    found = read_detected(tmp_path / "boxes.csv", tmp_path / "lesions.csv", SIZE)
    assert [(one.path, one.split, one.boxes) for one in found] == [
        (one.path, one.split, one.boxes) for one in some()
    ]
    for one, other in zip(found, some(), strict=True):
        assert all(map(same, one.lesions, other.lesions))
        assert len(one.lesions) == len(other.lesions)


def test_a_mask_too_long_for_a_cell_leaves_its_box(tmp_path: Path) -> None:
    size = 1000, 1000
    mask = np.indices(size[::-1]).sum(axis=0) % 2 == 0
    write_detected(
        tmp_path, [Detected("a.png", (), (Lesion(Box(0, 0, *size), int(mask.sum()), mask),), "val")]
    )
    (found,) = read_detected(tmp_path / "boxes.csv", tmp_path / "lesions.csv", size)
    assert same(found.lesions[0], Lesion(Box(0, 0, *size), 500_000))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("boxes.csv", "c.png,test,0,0,41,30,0.5"),
        ("boxes.csv", "c.png,test,5,0,5,30,0.5"),
        ("boxes.csv", "c.png,test,-1,0,5,30,0.5"),
        ("boxes.csv", "c.png,test,0,0,5,30,nan"),
        ("boxes.csv", "c.png,test,0,0,5,30,1e309"),
        ("boxes.csv", "c.png,test,0,0,5,30,1.5"),
        ("boxes.csv", "c.png,test,0,0,5,30,-0.5"),
        ("lesions.csv", "c.png,test,0,0,10,10,101,"),
        ("lesions.csv", "c.png,test,0,0,10,10,0,"),
        ("lesions.csv", "c.png,test,0,0,10,10,99,0 100"),
        ("lesions.csv", f"c.png,test,0,0,10,10,100,{' '.join([str(2**62)] * 4)} 100"),
        ("boxes.csv", "c.png,test,0,0,5,30"),
        ("boxes.csv", "c.png,test,0,zero,5,30,1"),
        ("lesions.csv", "c.png,test,0,0,5,5,25,26"),
        ("lesions.csv", "c.png,test,0,0,5,5,25,-5 30"),
        ("lesions.csv", "c.png,test,0,0,5,5,many,25"),
        ("lesions.csv", f"c.png,test,0,0,5,5,25,{'0 ' * 600_000}25"),
    ],
)
def test_files_that_are_not_ours_are_refused(tmp_path: Path, name: str, line: str) -> None:
    write_detected(tmp_path, some())
    with (tmp_path / name).open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(DataError, match=f"{name}: is not what bccli writes there"):
        read_detected(tmp_path / "boxes.csv", tmp_path / "lesions.csv", SIZE)


def test_another_header_is_refused(tmp_path: Path) -> None:
    write_detected(tmp_path, some())
    (tmp_path / "boxes.csv").write_text("path,left,top,right,bottom,score\n")
    with pytest.raises(DataError, match=r"boxes\.csv"):
        read_detected(tmp_path / "boxes.csv", tmp_path / "lesions.csv", SIZE)


def test_films_in_tiles_have_sizes_of_their_own(tmp_path: Path) -> None:
    large = tuple(find_lesions([np.pad(disc(10, 10, 4), ((200, 0), (100, 0)))]))
    written = [
        Detected("a.png", (ScoredBox(Box(300, 200, 400, 500), 0.5),), (), "val", (500, 400)),
        Detected("a.png", (), (), "test", (500, 400)),
        Detected("b.png", (), large, "test", (300, 200)),
    ]
    write_detected(tmp_path, written)
    files = [tmp_path / name for name in ("boxes.csv", "lesions.csv", "films.csv")]
    found = read_detected(files[0], files[1], SIZE, files[2])
    assert [(one.path, one.split, one.shape) for one in found] == [
        (one.path, one.split, one.shape) for one in written
    ]
    assert found[0].boxes == written[0].boxes
    assert same(found[2].lesions[0], large[0])


@pytest.mark.parametrize(
    "text",
    ["path,split\n", "path,split,width,height\na.png,val,0,3\n", "path,split,width,height\nb.png,val,9,9\n"],
)
def test_other_films_are_refused(tmp_path: Path, text: str) -> None:
    write_detected(tmp_path, [Detected("a.png", (ScoredBox(Box(0, 0, 4, 4), 0.5),), (), "val", (5, 5))])
    files = [tmp_path / name for name in ("boxes.csv", "lesions.csv", "films.csv")]
    files[2].write_text(text)
    with pytest.raises(DataError, match="is not what bccli writes there"):
        read_detected(files[0], files[1], SIZE, files[2])
