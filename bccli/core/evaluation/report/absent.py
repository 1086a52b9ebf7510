"""A part of a report that does not apply."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Absent:
    """Why a part of a report is not there: a sentence."""

    why: str
