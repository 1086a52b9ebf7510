"""Whatever becomes of an image's bytes, decoding it gives pixels or a reason, and takes no other way out."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.decoding import MAX_PIXELS, decode, decode_deep, read_size
from tests.fuzzing import FEW, MANY, PICTURES, damaged


@cache
def seed(kind: str) -> bytes:
    return PICTURES[kind]()


def check(path: Path, data: bytes) -> None:
    """Read a file's pixels and its size; they are pixels, or there is a reason in a line."""
    path.write_bytes(data)
    for read in (decode_deep, decode):
        try:
            pixels = read(path)
        except ImageError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 (either will do)
        else:
            assert isinstance(pixels, np.ndarray)
            assert 0 < pixels.size <= 3 * MAX_PIXELS
    try:
        assert min(read_size(path)) > 0
    except ImageError as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize("kind", PICTURES)
def test_seeds_are_images(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(seed(kind))
    assert decode(path).shape == (12, 16, 3)


@pytest.mark.parametrize("kind", PICTURES)
@FEW
@given(data=st.data())
def test_damaged_images(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    check(tmp_path / f"a.{kind}", data.draw(damaged(seed(kind))))


@pytest.mark.full
@pytest.mark.parametrize("kind", PICTURES)
@MANY
@given(data=st.data())
def test_many_damaged_images(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    check(tmp_path / f"a.{kind}", data.draw(damaged(seed(kind))))
