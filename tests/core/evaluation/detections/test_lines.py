"""FROC curves as points of a diagram."""

from typing import Any

from bccli.core.evaluation.detections.lines import LEAST, MOST, froc_lines


def measured(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "reason": None}


def froc(curve: list[tuple[float, float, float]], *, normal: float | None) -> dict[str, Any]:
    """Figures of which a diagram has something, as JSON."""
    base = {"sensitivity": {"1": measured(0.5, 0.3, 0.7)}, "mean": measured(0.5, 0.4, 0.6), "curve": curve}
    empty = {"sensitivity": {"1": measured(normal)}, "mean": measured(normal), "curve": curve}
    return {"rules": {"either": {"all": base, "normal": empty}}}


def test_a_curve_is_a_staircase_from_edge_to_edge() -> None:
    steps = [(0.9, 0.0, 0.25), (0.8, 0.1, 0.5), (0.7, 0.5, 0.75), (0.6, 20.0, 1.0)]
    (line,) = froc_lines(froc(steps, normal=None))
    assert line.corners == ((LEAST, 0.5), (0.5, 0.5), (0.5, 0.75), (MOST, 0.75))
    assert [(rate.false, rate.value, rate.limits) for rate in line.rates] == [(1.0, 0.5, (0.3, 0.7))]
    assert (line.mean, line.limits) == (0.5, (0.4, 0.6))


def test_what_is_found_late_begins_at_nothing() -> None:
    line, other = froc_lines(froc([(0.5, 2.0, 1.0)], normal=0.1))
    assert line.corners == ((LEAST, 0.0), (2.0, 0.0), (2.0, 1.0), (MOST, 1.0))
    assert other.limits is None


def test_films_without_a_lesion_have_no_curve() -> None:
    facts = froc([], normal=None)
    facts["rules"]["either"]["all"]["mean"] = measured(None)
    assert froc_lines(facts) == []
