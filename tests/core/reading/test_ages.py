"""Ages in years."""

import pytest

from bccli.core.reading.ages import age_of, years_of


@pytest.mark.parametrize(
    ("text", "years", "age"),
    [
        ("66", "66", 66),
        ("66.0", "66", 66),
        ("45,50", "45.5", 45),
        (" 045Y ", "45", 45),
        ("45y", "45", 45),
        ("018M", "1", 1),
        ("011M", "0", None),
        ("104W", "1", 1),
        ("105W", "2", 2),
        ("730D", "1", 1),
        ("0", "0", None),
        ("007", "7", 7),
        ("300", "300", None),
        ("9" * 400, "9" * 400, None),
    ],
)
def test_ages_as_tables_and_dicom_write_them(text: str, years: str, age: int | None) -> None:
    assert years_of(text) == years
    assert age_of(text) == age


@pytest.mark.parametrize("text", ["", "old", "40-49", "Y045", "1e2", "-5", "٤٥", "45 years", "inf", "nan"])
def test_what_is_no_age(text: str) -> None:
    assert years_of(text) is None
    assert age_of(text) is None
