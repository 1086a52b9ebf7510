"""What a run decides by thresholds and sets that `evaluate` has locked on val."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bccli.core.prediction.image_rows import Row
from bccli.core.runs.run_folder import Run
from bccli.core.runs.temperature import temperature_of

NEGATIVE, POSITIVE, REFER = "negative", "positive", "refer"


@dataclass(frozen=True)
class Decisions:
    """The thresholds of a triage, as run.json has it, and the limits of conformal sets, by class."""

    triage: Mapping[str, Any] | None = None
    limits: Mapping[str, float] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that an answer gets."""
        known = {"decision": self.triage, "set": self.limits}
        return tuple(name for name, facts in known.items() if facts)

    def of(self, probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, str]:
        """The decision about an image, and the classes of its set, for probabilities (classes,).

        They are rounded as predictions.csv has them, of which thresholds and limits were found: of surest
        answers there is 1, and what a run says of the same images is a little less.
        """
        if not self.columns:
            return {}
        shares = dict(zip(classes, map(_rounded, probabilities.tolist()), strict=True))
        found = {}
        if self.triage:
            found["decision"] = _decision(self.triage, shares[self.triage["positive"]])
        if self.limits:
            found["set"] = "|".join(name for name in classes if shares[name] >= _rounded(self.limits[name]))
        return found


NO_DECISIONS = Decisions()


def _rounded(probability: float) -> float:
    from bccli.core.runs.predictions import as_stored  # nobody else needs it to label images

    return float(as_stored(probability))


def _decision(triage: Mapping[str, Any], share: float) -> str:
    """Negative below a threshold that sets aside, positive from one on that flags; refer for both or
    neither."""
    found = set()
    for rule in triage["rules"]:
        below = share < _rounded(rule["threshold"])
        if rule["rule"] == "ppv":
            found |= set() if below else {POSITIVE}
        else:
            found |= {NEGATIVE} if below else set()
    return found.pop() if len(found) == 1 else REFER


@dataclass
class Tally:
    """How many rows have which decision, and how many are unlike the images of training."""

    rows: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    unlike: Counter[str] = field(default_factory=Counter)

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, and count them."""
        for row in rows:
            self.rows += not row["error"]
            if row.get("decision"):
                self.decisions[row["decision"]] += 1
            if row.get("unlike"):
                self.unlike["all"] += 1
                self.unlike.update(row["unlike"].split("|"))
            yield row

    def decided(self) -> str:
        """The decisions in words; empty where there are none."""
        return ", ".join(f"{count:,} {name}" for name, count in self.decisions.most_common())

    def warning(self) -> str:
        """A sentence about images that are unlike those of training; empty where there are none."""
        if not self.unlike:
            return ""
        counts = self.unlike.most_common()
        traits = ", ".join(f"{name} {count:,}" for name, count in counts if name != "all")
        return (
            f"{self.unlike['all']:,} of {self.rows:,} images are unlike those of training ({traits}); what "
            "is promised of the run does not hold for them"
        )


def decisions_of(run: Run) -> tuple[Decisions, str]:
    """The decisions that are stored with a run, and a sentence about those that do not hold any more."""
    stored = {"triage": run.info.triage, "conformal": run.info.conformal}
    stale = [name for name, facts in stored.items() if facts and facts["temperature"] != temperature_of(run)]
    kept = {name: None if name in stale else facts for name, facts in stored.items()}
    sets = kept["conformal"]
    why = "; ".join(
        f"{run.root}: its {name} was locked at another temperature and is left out; run bccli evaluate "
        f"{_OPTIONS[name]} again"
        for name in stale
    )
    return Decisions(kept["triage"], sets["limits"] if sets else None), why


_OPTIONS = {"triage": "--triage", "conformal": "--coverage"}
