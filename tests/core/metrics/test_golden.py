"""All figures of small studies, to nine digits. `python -m tests.core.metrics.test_golden` writes them anew.

What a change of these figures is for belongs into the message of the commit that changes `golden.json`.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core.metrics.comparison import Side, compare
from bccli.core.metrics.figures import measure
from bccli.core.metrics.limits import Spread, as_wide_as_wilson, beyond, expanded_reach, student
from bccli.core.metrics.losses import LOSSES, Loss
from bccli.core.metrics.support import Support
from bccli.core.runs.predictions import Predictions
from tests import golden

GOLDEN = Path(__file__).with_name("golden.json")
BINARY = ("benign", "malignant")


def study(sizes: list[int], classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels, probabilities to two digits and patients: one for each number of images, of one class each."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    labels = owners % classes
    drawn = rng.dirichlet(np.ones(classes), len(labels)) + 0.5 * np.eye(classes)[labels]
    shares = np.round(drawn / drawn.sum(axis=1, keepdims=True), 2)
    shares[:, 0] = 1 - shares[:, 1:].sum(axis=1)
    return labels, shares, [f"p{owner}" for owner in owners]


def figures(sizes: list[int], classes: tuple[str, ...], **options: Any) -> dict[str, Any]:
    labels, shares, patients = study(sizes, len(classes))
    return measure(labels, shares, classes, patients=patients, **{"rounds": 300, **options}).to_json()


def both(sizes: list[int], classes: tuple[str, ...], *, rounds: int | None = 200, **changes: Any) -> dict:
    """Two classifiers of the same images."""
    sides = []
    for name, seed in (("first", 0), ("second", 1)):
        labels, shares, patients = study(sizes, len(classes), seed)
        table = Predictions(
            classes=classes, splits=(), patients=tuple(patients), labels=labels,
            predicted=shares.argmax(axis=1), probabilities=shares,
            paths=tuple(f"{number}.png" for number in range(len(labels))),
        )  # fmt: skip
        sides.append(Side(name, replace(table, **changes)))
    return compare(*sides, positive=None, rounds=rounds)


def limits_of(point: float, values: list[float], without: list[float], clusters: int) -> list[Any]:
    """The limits of a measure by all kinds of support."""
    spread = Spread(point, np.array(values), np.array(without), clusters)
    kinds = [
        Support(9, 9.0),
        Support(2, 1.5),
        Support(9, 3.0, widened=False),
        Support(1, 1.0),
        Support(1, 1, 1),
    ]
    found = [spread.limits(support, "group") for support in kinds]
    hulls = [Support(9, 6.0, hull=hull) for hull in (None, 0.0, 0.25, 1.0)]
    first = found[0][0]
    wide = [asdict(as_wide_as_wilson(first, spread, hull)) for hull in hulls] if first else None
    return [[limits and asdict(limits), why] for limits, why in found] + [wide, spread.acceleration]


RISING = [0.5 + number / 100 for number in range(40)]
SKEWED = [0.5 + 0.4 * (number / 40) ** 3 for number in range(40)]
GAPS = [math.nan if number % 4 == 0 else 0.5 + number / 100 for number in range(40)]
EVEN = [3] * 14
UNEVEN = [1, 9, 2, 4, 1, 1, 6, 2, 3, 5, 1, 2, 8, 1, 2, 3, 1, 2]
TWO_ON_EACH = tuple(f"p{number // 6}" for number in range(42))  # images of both classes

CASES: dict[str, Callable[[], Any]] = {
    "two classes": lambda: figures(EVEN, BINARY),
    "two classes, patients of many and few images": lambda: figures(UNEVEN, BINARY, positive="benign"),
    "three classes": lambda: figures(UNEVEN, ("a", "b", "c")),
    "three grades": lambda: figures(UNEVEN, ("grade_1", "grade_2", "grade_3")),
    "few of a class": lambda: figures([2] * 9, ("a", "b")),
    "no mistake": lambda: measure(
        np.arange(24) // 2 % 2, np.eye(2)[np.arange(24) // 2 % 2], BINARY,
        patients=[f"p{number // 2}" for number in range(24)], rounds=None,
    ).to_json(),
    "images of unknown patients": lambda: measure(*study(EVEN, 2)[:2], BINARY, rounds=100).to_json(),
    "as many rounds as the digits need": lambda: figures([5] * 60, BINARY, rounds=None),
    "smoothed labels": lambda: {
        name: measure(*study(EVEN, 3)[:2], "abc", loss=Loss(name, 0.2)).loss for name in LOSSES
    },
    "comparison": lambda: both(EVEN, BINARY),
    "comparison of three classes": lambda: both(UNEVEN, ("a", "b", "c")),
    "comparison, patients of both classes": lambda: both(EVEN, BINARY, patients=TWO_ON_EACH),
    "comparison of many patients": lambda: both([1] * 40, BINARY),
    "comparison of images": lambda: both([1] * 12, BINARY, patients=("",) * 12),
    "comparison of four patients": lambda: both([4] * 4, BINARY),
    "comparison without intervals": lambda: both(EVEN, BINARY, rounds=0),
    "comparison without probabilities": lambda: both(EVEN, BINARY, probabilities=None),
    "limits": lambda: limits_of(0.7, RISING, RISING[::4], 10),
    "limits of a skewed measure": lambda: limits_of(0.6, SKEWED, [0.6] * 9 + [0.2], 10),
    "limits skewed the other way": lambda: limits_of(0.6, SKEWED, [0.6] * 9 + [0.9, math.nan], 2),
    "limits with gaps": lambda: limits_of(0.7, GAPS, RISING[::4], 10),
    "limits below all rounds": lambda: limits_of(0.1, RISING, RISING[::4], 10),
    "limits above all rounds": lambda: limits_of(0.99, RISING, RISING[::4], 10),
    "limits of what hardly depends on whom": lambda: limits_of(0.6, SKEWED, [0.6] * 9 + [0.6 - 1e-7], 10),
    "limits of 1": lambda: limits_of(1.0, RISING, RISING[::4], 10),
    "limits of nothing right": lambda: limits_of(0.0, RISING, RISING[::4], 10),
    "limits of what is nearly the same": lambda: limits_of(0.5, [0.5] * 20 + [0.5 + 1e-13], [0.5] * 4, 4),
    "limits of what is seldom defined": lambda: limits_of(0.5, [0.5, 0.6, 0.7] + [math.nan] * 2, [0.5], 4),
    "limits of what is never defined": lambda: limits_of(0.5, [math.nan] * 3, [math.nan], 4),
    "limits of nothing": lambda: limits_of(0.5, [], [], 0),
    "limits of all or nothing": lambda: [asdict(beyond(share, n)) for share in (0, 1) for n in (5, 12)],
    "student": lambda: [student(share, n) for share in (0.975, 0.9) for n in (1, 1.5, 2, 3, 4.5, 10)],
    "reach": lambda: [expanded_reach(n) for n in (1, 2, 2.5, 3, 7, 100)],
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_all_figures_of_a_study_are_as_they_were(name: str) -> None:
    golden.check(GOLDEN, name, CASES[name]())


if __name__ == "__main__":
    golden.write(GOLDEN, CASES)
