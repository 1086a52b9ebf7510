"""Ages as tables and DICOM write them, in years: 45, 45.0, 45,5, 045Y, 018M."""

import re

OLDEST = 120
"""Nobody in a dataset is so old."""

_DICOM = re.compile(r"([0-9]{1,3})\s*([DWMY])", re.IGNORECASE)  # part 5, section 6.2: AS
_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_NUMBER = re.compile(r"0*([0-9]+)(?:[.,]([0-9]*?)0*)?")


def years_of(text: str) -> str | None:
    """An age in years as a text; None for what is no age. Of months, weeks and days it is whole years.

    >>> [years_of(text) for text in ("66.0", "45,5", "045Y", "018M", "old")]
    ['66', '45.5', '45', '1', None]
    """
    text = text.strip()
    if age := _DICOM.fullmatch(text):
        return str(int(int(age[1]) / _PER_YEAR[age[2].upper()]))
    if number := _NUMBER.fullmatch(text):
        return f"{number[1]}.{number[2]}" if number[2] else number[1]
    return None


def age_of(text: str) -> int | None:
    """The whole years of an age, None where there is none or nobody is so old.

    >>> [age_of(text) for text in ("45,5", "000Y", "300")]
    [45, None, None]
    """
    years = years_of(text)
    return int(float(years)) if years and is_age(years) else None


def is_age(years: str) -> bool:
    """Whether somebody may be so old; `years` is what `years_of` returns."""
    return len(years) < 20 and 0 < float(years) < OLDEST
