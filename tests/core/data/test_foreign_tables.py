"""Numbers in tables: what every program writes, and nothing that only Python takes for one."""

import pytest

from bccli.core.data.foreign_tables import real, whole

NONE = (
    "",
    " ",
    "0_0.3",
    "1_000",
    "infinity",
    "inf",
    "-inf",
    "nan",
    "０.９",
    "٠",
    "1e",
    ".",
    "0x1",
    "1,5",
    "a",
    "²",
)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_number_is_refused(text: str) -> None:
    for parse in (real, whole):
        with pytest.raises(ValueError, match="number"):
            parse(text)


@pytest.mark.parametrize("text", ["0.25", ".25", "+2.5E-1", " 25e-2 ", "0.250"])
def test_numbers_are_read(text: str) -> None:
    assert real(text) == 0.25
    assert (real("1."), real("-0"), whole("-07"), whole(" 7 ")) == (1, 0, -7, 7)
    with pytest.raises(ValueError, match="whole"):
        whole(text)
