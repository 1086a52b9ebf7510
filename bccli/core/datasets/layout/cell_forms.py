"""What programs do to the cells of a table: decimal commas, a .0 behind whole numbers, ages of DICOM, words
for nothing. A column is judged by all of its cells, so that a text is taken for a number only among numbers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from bccli.core.reading.ages import years_of

_EMPTY = frozenset({"", "-", "nan", "<na>", "na", "n/a", "#n/a", "null"})
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_WHOLE = re.compile(r"[+-]?[0-9]+(?:[.,]0+)?")
_LETTERS = re.compile(r"[a-z]+")
_AGES = frozenset({"age", "patientage", "patientsage"})


def filled(text: str) -> str:
    """A cell in one line, empty where a program has written a word for nothing."""
    return "" if text.casefold() in _EMPTY else " ".join(text.split())


def side_of(text: str) -> str:
    """L or R for a side as people write it; any other text stays.

    >>> [side_of(text) for text in ("left", "R", "both")]
    ['L', 'R', 'both']
    """
    return _SIDES.get(text.casefold(), text)


_SIDES = {"l": "L", "left": "L", "r": "R", "right": "R"}


@dataclass
class _Column:
    """Whether all cells so far are numbers, all of them whole, and whether commas stand in some; `decimal`
    says that not all of these can be commas of thousands, as in 1,234."""

    numbers: bool = True
    whole: bool = True
    commas: bool = False
    decimal: bool = False

    def see(self, text: str) -> None:
        if not _NUMBER.fullmatch(text):
            self.numbers = False
            return
        self.whole = self.whole and _WHOLE.fullmatch(text) is not None
        if "," in text:
            self.commas = True
            self.decimal = self.decimal or not _THOUSANDS.fullmatch(text)


@dataclass
class CellForms:
    """Learns how a table writes its numbers from its lines, each with its cells by column, and undoes it."""

    columns: dict[str, _Column] = field(default_factory=dict)

    def see(self, cells: Mapping[str, str]) -> None:
        """Take note of the cells of a line."""
        for name, text in cells.items():
            column = self.columns.setdefault(name, _Column())
            if column.numbers and (plain := filled(text)):
                column.see(plain)

    def tidied(self, name: str, text: str) -> str:
        """A cell as a manifest has it, empty where there is nothing in it; zeros before a number stay."""
        text = filled(text)
        if is_of_ages(name):
            return years_of(text) or text
        column = self.columns.get(name)
        if column is None or not column.numbers or (column.commas and not column.decimal):
            return text
        text = text.replace(",", ".")
        return text.partition(".")[0] if column.whole else text

    def with_commas(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns whose commas are decimal ones, and those of which nobody can tell; not of ages."""
        found = [
            (name, column)
            for name, column in self.columns.items()
            if column.numbers and column.commas and not is_of_ages(name)
        ]
        decimal = tuple(name for name, column in found if column.decimal)
        return decimal, tuple(name for name, column in found if not column.decimal)


@lru_cache(maxsize=1024)
def is_of_ages(name: str) -> bool:
    """Whether a column has ages by its name, such as `age`, `PatientAge` and `age at diagnosis`."""
    return not _AGES.isdisjoint(_LETTERS.findall(name.casefold().replace("'", "")))
