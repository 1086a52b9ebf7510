"""INbreast's reader alone: whatever the list or the contours hold, there are samples or a sentence."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.datasets import Reading, read_samples
from bccli.core.datasets.verification import REMARKS, Tally
from bccli.core.errors import DataError
from tests.commands.digital_films import FILMS, HEADER, inbreast, property_list, square
from tests.fuzzing import FEW, damaged

LIST = "\r\n".join([HEADER, *(film.row for film in FILMS[:4]), ""]).encode()
CONTOURS = property_list([("Mass", square(20, 30, 30)), ("Calcification", [(3, 4)])])
TASKS = st.sampled_from(["severity", "three", "mass"])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four films, whose list and contours are written anew each time."""
    return inbreast(tmp_path_factory.mktemp("raw") / "INbreast Release 1.0", FILMS[:4])


def read(source: Path, task: str) -> None:
    """Read all samples; every film is in one, or is named in a remark."""
    tally = Tally()
    with suppress(DataError):
        samples = list(read_samples("inbreast", source, Reading(task=task), tally.remark))
        remarks = {remark.kind: remark.count for remark in tally.remarked()}
        left_out = remarks.get("unassessed", 0) + (remarks.get("contours", 0) if task == "mass" else 0)
        assert len(samples) + left_out == 4
        assert set(remarks) <= set(REMARKS)
        assert all(sample.patient and sample.label for sample in samples)


@given(data=damaged(LIST), task=TASKS)
@FEW
def test_a_damaged_list_is_read_or_refused(source: Path, data: bytes, task: str) -> None:
    (source / "INbreast.csv").write_bytes(data)
    read(source, task)


@given(data=damaged(CONTOURS), task=TASKS)
@FEW
def test_damaged_contours_never_end_the_reading(source: Path, data: bytes, task: str) -> None:
    (source / "INbreast.csv").write_bytes(LIST)
    (source / "AllXML" / "22678646.xml").write_bytes(data)
    tally = Tally()
    samples = list(read_samples("inbreast", source, Reading(task=task), tally.remark))
    assert len(samples) in ((3, 4) if task == "mass" else (4,))


cells = st.sampled_from(
    ["", "-", "R", "MLO", "22678622", "22678646,0", "2", "4a", "0", "7", "045Y", "x;y", " "]
)


@given(rows=st.lists(st.lists(cells, min_size=6, max_size=9), max_size=6), task=TASKS)
@FEW
def test_rows_of_any_cells_are_read_or_refused(source: Path, rows: list[list[str]], task: str) -> None:
    (source / "INbreast.csv").write_text("\n".join([HEADER, *map(";".join, rows)]))
    read(source, task)


@pytest.mark.parametrize(
    ("text", "age"), [("45", 45), ("045Y", 45), ("45,0", 45), ("removed", None), ("0", None)]
)
def test_ages_may_be_written_in_several_ways(source: Path, text: str, age: int | None) -> None:
    (source / "INbreast.csv").write_bytes(LIST.replace(b"045Y", text.encode()))
    samples = read_samples("inbreast", source, Reading(), lambda name, kind="unknown": None)
    assert {sample.age for sample in samples if "22678646" in sample.source} == {age}
