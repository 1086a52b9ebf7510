"""The checklists that bccli fills, by name; what --help names imports nothing else."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bccli.core.evaluation.checklists.facts import Facts
    from bccli.core.evaluation.checklists.state import Checklist

CHECKLISTS = {"claim": "claim:CLAIM", "tripod-ai": "tripod_ai:TRIPOD_AI"}
"""Where each checklist is, as "module:table" in this folder."""


@dataclass(frozen=True)
class Row:
    """A row of a filled checklist, as it is printed."""

    item: str
    section: str
    what: str
    state: str
    text: str
    where: str


@dataclass(frozen=True)
class Filled:
    """A filled checklist of a run or table of this `name`."""

    checklist: "Checklist"
    name: str
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many items are in each state."""
        from bccli.core.evaluation.checklists.state import STATES

        return {state: sum(row.state == state for row in self.rows) for state in STATES}


def fill(name: str, facts: "Facts") -> Filled:
    """The checklist of a name, filled from facts."""
    module, _, table = CHECKLISTS[name].partition(":")
    checklist = getattr(import_module(f"{__package__}.{module}"), table)
    answers = [(item, item.answer(facts)) for item in checklist.items]
    rows = tuple(
        Row(item.number, item.section, item.what, answer.state, answer.text, answer.where)
        for item, answer in answers
    )
    return Filled(checklist, facts.figures.name or "", rows)
