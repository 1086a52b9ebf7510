"""The groups of a breakdown: images by one or several columns, ages in bands."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from bccli.core.catalog import nearest
from bccli.core.data.foreign_tables import real
from bccli.core.data.patients import known_patient
from bccli.core.datasets.layout.cell_forms import is_of_ages
from bccli.core.errors import DataError
from bccli.core.metrics.heterogeneity import heterogeneity
from bccli.core.reading.ages import is_age, years_of
from bccli.core.runs.predictions import Predictions

BANDS = (40, 50, 60, 70)
"""The ages, in years, at which bands begin, as in studies of screening: below 40, 40–49, …, 70 and over."""
_UNKNOWN = " unknown"


def groups_of(rows: Predictions, by: str, name: str) -> np.ndarray:
    """The group of each row as a text (n,), such as `density 2` or `density 2, view CC`, unknown ones too.

    `name` stands for the table in messages. Raises DataError for a column that does not tell any apart.
    """
    columns = [_column(rows.further, text, name) for text in by.split(",")]
    parts = [
        [f"{column} {stratum_of(column, value) or _UNKNOWN.strip()}" for value in rows.further[column]]
        for column in columns
    ]
    return np.array([", ".join(texts) for texts in zip(*parts, strict=True)], object)


def in_order(groups: Collection[str]) -> list[str]:
    """Groups in the order of their names and of the numbers in them, unknown ones last."""
    return sorted(set(groups), key=lambda text: [_as_number(part) for part in text.split(", ")])


def _column(further: Mapping[str, Any], text: str, name: str) -> str:
    column = _meant(text.strip(), further)
    if column not in further or not any(further[column]):
        telling = sorted(key for key, values in further.items() if ":" not in key and len(set(values)) > 1)
        raise DataError(
            f"{name}: does not say the {column} of its images{nearest(column, telling)}; --by can be "
            f"{', '.join(telling) or 'nothing here'}"
        )
    return column


def _meant(name: str, columns: Collection[str]) -> str:
    """A column that has this name, or the only one that differs from it in capitals and blanks alone."""

    def plain(text: str) -> str:
        return text.strip().casefold()

    alike = [column for column in columns if plain(column) == plain(name)]
    return alike[0] if name not in columns and len(alike) == 1 else name


@lru_cache(4096)
def stratum_of(column: str, value: str) -> str:
    """A value as its group is called: an age by its band, and nothing for one that is unknown."""
    if not known_patient(value):
        return ""
    return band(value) if is_of_ages(column) else value


def band(age: str) -> str:
    """The band of an age as tables and DICOM write it; what nobody's age can be stays as it is.

    >>> [band(age) for age in ("39,5", "40", "069Y", "84", "old", "300")]
    ['below 40', '40–49', '60–69', '70 and over', 'old', '300']
    """
    text = years_of(age)
    if text is None or not (is_age(text) or float(text) == 0):
        return age
    years = float(text)
    first = max((start for start in BANDS if start <= years), default=None)
    if first is None:
        return f"below {BANDS[0]}"
    return f"{first} and over" if first == BANDS[-1] else f"{first}–{first + 9}"


def _as_number(text: str) -> tuple[Any, ...]:
    value = text.rpartition(" ")[2] if "below" not in text else "0"
    head = value.partition("–")[0]
    try:
        return (0, real(head), text)
    except ValueError:
        return (2 if _is_unknown(text) else 1, 0.0, text)


def tests_of(by: str, groups: Sequence[tuple[str, Predictions]], positive: str | None) -> dict[str, Any]:
    """Whether accuracy and, of two classes, sensitivity and specificity differ among groups, each by its name
    and its cases: what JSON has under `heterogeneity`. Cases of an unknown group are left out."""
    known = [cases for name, cases in groups if not any(map(_is_unknown, name.split(", ")))]
    sizes = [len(cases.labels) for cases in known]
    numbers = np.repeat(np.arange(len(known)), sizes)
    owners = np.concatenate([_owners_of(cases) for cases in known] or [np.zeros(0, np.int64)])
    labels = np.concatenate([cases.labels for cases in known] or [np.zeros(0, np.int64)])
    predicted = np.concatenate([cases.predicted for cases in known] or [np.zeros(0, np.int64)])
    chosen = {"accuracy": np.full(len(labels), True)}
    if known and len(known[0].classes) == 2 and positive in known[0].classes:
        is_positive = labels == known[0].classes.index(str(positive))
        chosen |= {"sensitivity": is_positive, "specificity": ~is_positive}
    right = predicted == labels
    found = {
        name: heterogeneity(right[where], numbers[where], owners[where]) for name, where in chosen.items()
    }
    return {"by": by, **{name: test.to_json() if test else None for name, test in found.items()}}


def _is_unknown(part: str) -> bool:
    return part.endswith(_UNKNOWN)


def _owners_of(cases: Predictions) -> np.ndarray:
    return np.arange(len(cases.labels)) if cases.owners is None else np.asarray(cases.owners)
