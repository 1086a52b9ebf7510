"""The three states of an item, and the records that checklists are made of."""

from collections.abc import Callable
from dataclasses import dataclass

from bccli.core.evaluation.checklists.facts import Facts

FILLED, NOT_MET, FOR_AUTHORS = "filled", "not met", "for the authors"
STATES = FILLED, NOT_MET, FOR_AUTHORS


@dataclass(frozen=True)
class Answer:
    """What is known of an item: its state, a text, and where the facts of the text stand.

    A text for the authors is what the run knows beside what only they can say.
    """

    state: str
    text: str = ""
    where: str = ""


def filled(text: str, where: str) -> Answer:
    """An item that stored facts answer."""
    return Answer(FILLED, text, where)


def not_met(text: str, where: str = "") -> Answer:
    """An item of which the run shows that it is not so."""
    return Answer(NOT_MET, text, where)


def for_authors(text: str = "", where: str = "") -> Answer:
    """An item that no run can answer, or not this one."""
    return Answer(FOR_AUTHORS, text, where)


def nobody_knows(facts: Facts) -> Answer:
    """The answer of items that no run can know."""
    return for_authors()


def together(*answers: Answer) -> Answer:
    """One answer of several, filled where all of them are, else the first that is not."""
    for answer in answers:
        if answer.state != FILLED:
            return answer
    places = dict.fromkeys(answer.where for answer in answers)
    return filled(" ".join(answer.text for answer in answers), "; ".join(places))


@dataclass(frozen=True)
class Item:
    """An item: its number and section in the paper, what it asks for in our words, and what answers it."""

    number: str
    section: str
    what: str
    answer: Callable[[Facts], Answer] = nobody_knows


@dataclass(frozen=True)
class Checklist:
    """A checklist, and the paper that it is from."""

    name: str
    title: str
    citation: str
    items: tuple[Item, ...]
