"""Points of diagrams as the path data of SVG: numbers and letters only, whatever the points are of."""

from collections.abc import Callable, Iterable, Sequence

Points = Iterable[tuple[float, float]]

_MARKS: Sequence[tuple[str, str]] = (
    ("dots", "h0"),
    ("strokes", "m-3-3l6 6m-6 0l6-6"),
    ("squares", "h0"),
    ("strokes", "m-4 0h8m-4-4v8"),
    ("strokes", "m0-4l4 7h-8z"),
    ("strokes", "m0-4l4 4l-4 4l-4-4z"),
    ("strokes", "m-3 0h6"),
)
"""Marks that differ in form as well: the class of a path, and what is drawn at each point."""


def on_box(left: float, top: float, width: float, height: float) -> Callable[[float, float], str]:
    """What writes a point of 0…1, upwards, in a box of pixels."""

    def written(x: float, y: float) -> str:
        return f"{left + x * width:.1f} {top + (1 - y) * height:.1f}"

    return written


def line(points: Points, left: float, top: float, width: float, height: float) -> str:
    """A line through points of 0…1.

    >>> line([(0, 0), (1, 1)], 10, 10, 100, 100)
    'M10.0 110.0L110.0 10.0'
    """
    at = on_box(left, top, width, height)
    return "M" + "L".join(at(x, y) for x, y in points)


def marks(points: Points, number: int, left: float, top: float, width: float, height: float) -> str:
    """The mark with this number at each of some points of 0…1."""
    at, drawn = on_box(left, top, width, height), _MARKS[number % len(_MARKS)][1]
    return "".join(f"M{at(x, y)}{drawn}" for x, y in points)


def mark_class(number: int) -> str:
    """The class of the path that the marks with this number make."""
    return _MARKS[number % len(_MARKS)][0]


def level(values: Iterable[float]) -> list[tuple[float, float]]:
    """Points at half height, for a strip."""
    return [(value, 0.5) for value in values]
