"""The figures of a detector's boxes for a terminal, for papers and for programs.

Hits are those by the rule `either`; the JSON has the others besides.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bccli.core.detection.froc import RATES
from bccli.core.detection.matching import LEAST_IOU
from bccli.core.detection.study import SIZED, SIZES
from bccli.terminal.figure_cells import Figures, Row, limits_in_words, title_of

Facts = Mapping[str, Any]

_DIGITS = 2
"""Decimals of limits, as a thousand rounds bear."""
_OVERLAPS = ("0.1", "0.3", "0.5")


def _at(rate: str, base: str = "all") -> Callable[[Facts], Facts]:
    return lambda froc: _rule(froc)[base]["sensitivity"].get(rate) or {}


def _mean(base: str) -> Callable[[Facts], Facts]:
    return lambda froc: _rule(froc)[base]["mean"]


def _precision(overlap: str) -> Callable[[Facts], Facts]:
    return lambda froc: froc["average_precision"].get(overlap) or {}


def _point(name: str) -> Callable[[Facts], Facts]:
    return lambda froc: _rule(froc)["point"][name]


def _rule(froc: Facts) -> Any:
    return froc["rules"][SIZED]


_RATES = tuple(f"{rate:g}" for rate in RATES)
_COLUMNS: Mapping[str, Callable[[Facts], Facts]] = {
    "froc_mean": _mean("all"),
    "froc_mean_normal": _mean("normal"),
    **{f"sensitivity_at_{rate}": _at(rate) for rate in _RATES},
    **{f"ap_{overlap}": _precision(overlap) for overlap in _OVERLAPS},
    **{name: _point(name) for name in ("iou_of_hits", "iou_of_lesions", "false_per_film")},
}
FLAT = tuple(_COLUMNS)
"""The measures that CSV has of boxes, each with its interval."""
FLAT_LIMITS = tuple(f"{name}_{end}" for name in FLAT for end in ("low", "high"))


def flat_columns(row: Figures) -> Row:
    """Measures and limits of a run as CSV has them, None where it has no boxes."""
    found = {name: measured(row, name) for name in FLAT}
    return {
        **{name: facts.get("value") for name, facts in found.items()},
        **{f"{name}_{end}": facts.get(end) for name, facts in found.items() for end in ("low", "high")},
    }


def measured(row: Figures, name: str) -> Facts:
    """The value and limits of a column of boxes; empty for another column, or a run without boxes."""
    froc, column = row.get("froc"), _COLUMNS.get(name)
    return column(froc) if froc and column else {}


def limits_of_boxes(row: Figures, name: str) -> str:
    """The interval of such a column, where there is one."""
    return _limits(measured(row, name))


def box_tables(figures: Sequence[Figures], *, briefly: bool) -> Iterator[list[Row]]:
    """The tables of boxes, of runs that have some: lesions found at each rate, then what else is measured;
    or `briefly` a row for each run."""
    shown = [row for row in figures if row.get("froc")]
    if briefly:
        yield from [brief_rows([title_of(row) for row in shown], shown)] if shown else ()
        return
    for rows in (_rate_rows, _further_rows):
        if found := [entry for row in shown for entry in rows(row)]:
            yield found


def brief_rows(names: Sequence[str], figures: Sequence[Figures]) -> list[Row]:
    """A row for each run or stratum with boxes, with what one chooses by."""
    return [
        {
            "run": name,
            "lesions": row["froc"]["lesions"],
            "found at 1 false box a film": _shown(_at("1")(row["froc"])),
            "on normal films": _shown(_at("1", "normal")(row["froc"])),
            "mean of all rates": _shown(_mean("all")(row["froc"])),
            "AP (IoU 0.3)": _shown(_precision("0.3")(row["froc"])),
            "IoU of those found": _shown(_point("iou_of_hits")(row["froc"])),
        }
        for name, row in zip(names, figures, strict=True)
    ]


def _rate_rows(row: Figures) -> Iterator[Row]:
    """Which share of the lesions is found at so many false boxes a film."""
    bases = {"all": "lesions found, on all films", "normal": "lesions found, on normal films"}
    facts = _rule(row["froc"])
    for rate in facts["all"]["sensitivity"]:
        shares = {name: _shown(facts[base]["sensitivity"][rate]) for base, name in bases.items()}
        yield {"run": title_of(row), "false boxes a film": rate, **shares}
    means = {name: _shown(facts[base]["mean"]) for base, name in bases.items()}
    yield {"run": title_of(row), "false boxes a film": "mean of these", **means}


def _further_rows(row: Figures) -> Iterator[Row]:
    """Average precision, and what boxes from the threshold on come to."""
    froc = row["froc"]
    for overlap, facts in froc["average_precision"].items():
        yield _further(row, f"average precision, IoU from {overlap} on", facts)
    for name, what in _POINT.items():
        yield _further(row, what, _point(name)(froc))
    for size in SIZES:
        facts = froc["sizes"][size]
        noun = "lesion" if facts["lesions"] == 1 else "lesions"
        if facts["lesions"]:
            yield _further(row, f"{facts['lesions']:,} {size} {noun}: found", facts["sensitivity"])
            yield _further(row, f"{size} lesions: IoU of those found", facts["iou_of_hits"])


_POINT = {
    "sensitivity": "lesions found",
    "false_per_film": "false boxes a film",
    "false_per_normal_film": "false boxes a normal film",
    "iou_of_hits": "IoU of those found",
    "iou_of_lesions": "IoU of all lesions",
}


def _further(row: Figures, what: str, facts: Facts) -> Row:
    return {"run": title_of(row), "boxes": what, "value": _shown(facts)}


def _shown(facts: Facts) -> str:
    value = facts.get("value")
    return "–" if value is None else f"{value:.3f}{_limits(facts)}"


def _limits(facts: Facts) -> str:
    low, high = facts.get("low"), facts.get("high")
    return "" if low is None or high is None else limits_in_words([low, high], _DIGITS)


def box_definitions(figures: Sequence[Figures], *, compared: bool = False) -> Iterator[str]:
    """What the figures of boxes mean, where any run has some, and that those of two are not `compared`."""
    boxed = [row for row in figures if row.get("froc")]
    if boxed:
        yield (
            "a lesion is found where the middle of a box lies in it, or where its own box has an IoU of "
            f"{LEAST_IOU:g} or more with a box; further boxes on it are not false"
        )
    if compared and len(boxed) > 1:
        yield "the comparison is one of whole images; boxes of two detectors are not compared"


def box_sentences(title: str, row: Figures) -> Iterator[str]:
    """What has to be known about the figures of boxes of a run or stratum, which need not have any."""
    froc = row.get("froc")
    if not froc:
        return
    level = row["level"]
    yield (
        f"{title}: {froc['boxes']:,} boxes in {froc['films']:,} films, {froc['normal_films']:,} of them "
        f"without a lesion, the others with {froc['lesions']:,}"
        + ("" if level in ("image", None) else f"; these are counted film by film, not by {level}")
    )
    if not row["group"]:
        yield f"{title}: {_threshold(froc, row['split'])}"
        yield from (f"{title}: {sentence}" for sentence in _sizes(froc))
    yield from (f"{title}: no {', '.join(names)} ({why})" for why, names in _gaps(froc).items())


def _threshold(froc: Facts, split: str | None) -> str:
    threshold = _rule(froc)["point"]["threshold"]
    where = "on val" if froc["given_threshold"] else f"on {split} itself" if split else "on these films"
    if threshold is None:
        return f"no score has at most one false box a film {where}, so that no box is looked at by itself"
    return (
        f"boxes and overlaps beside the rates are those from a score of {threshold:.4f} on, the lowest with "
        f"at most one false box a film {where}"
    )


def _sizes(froc: Facts) -> Iterator[str]:
    """Up to which share of its film a lesion is small and medium."""
    limits = [froc["sizes"][name]["up_to"] for name in SIZES[:2]]
    if None not in limits:
        yield (
            f"small lesions take up to {limits[0]:.2%} of their film, and medium ones up to {limits[1]:.2%}: "
            "each a third of those that are measured"
        )


def _gaps(froc: Facts) -> dict[str, list[str]]:
    """Why figures and intervals are missing, and of what."""
    named = {
        **{f"FROC on {base} films": _mean(base) for base in ("all", "normal")},
        **{f"average precision from {overlap} on": _precision(overlap) for overlap in _OVERLAPS},
        **{what: _point(name) for name, what in _POINT.items()},
    }
    found: dict[str, list[str]] = {}
    for what, of in named.items():
        facts = of(froc)
        if why := facts.get("reason"):
            name = what if facts["value"] is None else f"interval of {what}"
            found.setdefault(why, []).append(name)
    return found
