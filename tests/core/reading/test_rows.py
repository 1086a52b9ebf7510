"""Rows of .npy files are those that NumPy reads, in any order; anything but a whole table is none."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.reading import rows
from bccli.core.reading.rows import StoredRows, find_rows, read_rows
from tests.fuzzing import FEW, damaged

RECORD = np.dtype([("pixels", "u1", (32,)), ("features", "<f4", (5,))])


def table(count: int, record: np.dtype = RECORD) -> np.ndarray:
    """Rows of which each is another one."""
    data = np.random.default_rng(count).integers(0, 256, count * record.itemsize, np.uint8)
    return data.view(record)


def stored(path: Path, values: np.ndarray) -> StoredRows:
    """A file with these rows."""
    np.save(path, values)
    found = find_rows(path, values.dtype)
    assert found
    return found


@FEW
@given(data=st.data(), count=st.integers(1, 60), block=st.integers(1, 400), gap=st.integers(0, 300))
def test_rows_in_any_order_are_those_of_numpy(
    data: st.DataObject, count: int, block: int, gap: int, tmp_path: Path
) -> None:
    """However many are read at once, twice, or far from each other."""
    values = table(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BLOCK", block)
        patch.setattr(rows, "_GAP", gap)
        found = stored(tmp_path / "a.npy", values)
        wanted = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=40)), np.int64)
        assert found.take(wanted).tobytes() == values[wanted].tobytes()
        assert found.read().tobytes() == values.tobytes()
        for name in ("pixels", "features"):
            assert found.column(name).tobytes() == np.ascontiguousarray(values[name]).tobytes()
        for number in wanted[:3].tolist():
            assert found.row(number).tobytes() == values[number].tobytes()


@pytest.mark.parametrize(
    "other",
    [
        np.zeros(3),
        np.zeros((3, 2), RECORD),
        np.zeros((), RECORD),
        np.zeros(3, [("pixels", "u1", (32,)), ("features", "<f4", (6,))]),
        np.array([None], object),
    ],
)
def test_other_arrays_are_none(tmp_path: Path, other: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", other, allow_pickle=True)
    assert find_rows(tmp_path / "a.npy", RECORD) is None


def test_a_table_with_too_few_or_too_many_rows_is_none(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", table(4))
    found = read_rows(tmp_path / "a.npy", RECORD, 4)
    assert found is not None
    assert len(found) == 4
    assert read_rows(tmp_path / "a.npy", RECORD, 5) is None
    whole = (tmp_path / "a.npy").read_bytes()
    for data in (whole[:-1], whole + b"\0", b"", whole[:20]):
        (tmp_path / "a.npy").write_bytes(data)
        assert find_rows(tmp_path / "a.npy", RECORD) is None


def test_a_header_that_promises_more_makes_no_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", table(4))
    data = (tmp_path / "a.npy").read_bytes()
    assert b"(4,)" in data
    for promised in (b"(10000000000000,)", b"(-4,)", b"(True,)", b"(" * 3000):
        changed = data.replace(b"(4,)" + b" " * (len(promised) - 4), promised) if len(promised) < 40 else data
        changed = changed.replace(b"(4,)", promised) if len(promised) >= 40 else changed
        (tmp_path / "a.npy").write_bytes(changed)
        if changed != data:
            assert find_rows(tmp_path / "a.npy", RECORD) is None


@FEW
@given(data=st.data())
def test_damaged_files_are_none_or_whole(data: st.DataObject, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", table(4))
    changed = data.draw(damaged((tmp_path / "a.npy").read_bytes()))
    (tmp_path / "a.npy").write_bytes(changed)
    found = read_rows(tmp_path / "a.npy", RECORD)
    assert found is None or found.tobytes() == changed[-len(found) * RECORD.itemsize or len(changed) :]


def test_what_is_cut_after_it_was_found_is_said(tmp_path: Path) -> None:
    found = stored(tmp_path / "a.npy", table(9))
    os.truncate(found.path, found.offset + 3 * RECORD.itemsize)
    for read in (found.read, lambda: found.take(np.array([8])), lambda: found.row(8)):
        with pytest.raises(OSError, match="has been cut short"):
            read()
    assert len(found.take(np.array([2, 0]))) == 2


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(OSError, match="is a named pipe"):
        find_rows(tmp_path / "a.npy", RECORD)
