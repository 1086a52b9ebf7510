"""Patches and boxes as GeoJSON (RFC 7946) in pixels of the image, which QuPath reads as detections."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from bccli.core.files import to_json

Row = Mapping[str, Any]

_POSITIVE = 213, 94, 0
_COLOURS = (0, 114, 178), (0, 158, 115), (230, 159, 0), (204, 121, 167), (86, 180, 233), (240, 228, 66)
"""Colours that people with any colour vision tell apart: Okabe and Ito 2008, "Color Universal Design"."""


def write_geojson(
    rows: Iterable[Row],
    stream: IO[str],
    classes: Sequence[str],
    patch: int | None,
    positive: str | None = None,
) -> None:
    """Write a collection with a square of `patch` pixels for each row, as they come, or where that is None
    the boxes of each.

    What could not be read has no place in an image, and is listed behind the squares as `errors`.
    """
    colours, errors = _colours(classes, positive), []
    stream.write('{"type": "FeatureCollection", "features": [')
    before = "\n"
    try:
        for row in rows:
            if row["error"] or (patch and row["row"] is None):
                errors.append({"image": row["path"], "error": row["error"]})
                continue
            features = (
                [_feature(row, patch, colours)] if patch else _boxes(row, positive or classes[-1], colours)
            )
            for feature in features:
                stream.write(before + to_json(feature))
                before = ",\n"
            stream.flush()
    finally:  # whole also where the rows end with an exception, as JSON is
        stream.write(f'\n], "errors": {to_json(errors)}}}\n')


def _colours(classes: Sequence[str], positive: str | None) -> dict[str, tuple[int, int, int]]:
    others = [name for name in classes if name != positive]
    found = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(others)}
    return found | ({positive: _POSITIVE} if positive else {})


def _feature(row: Row, patch: int, colours: Mapping[str, tuple[int, int, int]]) -> dict[str, Any]:
    measured = {name: row[name] for name in row if name.startswith(("p_", "probability"))}
    corner = row["col"], row["row"], row["col"] + patch, row["row"] + patch
    return _detection(row["path"], row["predicted"], colours, measured, corner)


def _boxes(row: Row, label: str, colours: Mapping[str, tuple[int, int, int]]) -> Iterator[dict[str, Any]]:
    """A feature for each box of a row."""
    for text in filter(None, row["boxes"].split(";")):
        *edges, score = text.split(",")
        left, top, right, bottom = map(int, edges)
        yield _detection(row["path"], label, colours, {"score": float(score)}, (left, top, right, bottom))


def _detection(
    path: str,
    label: str,
    colours: Mapping[str, tuple[int, int, int]],
    measured: Mapping[str, Any],
    edges: tuple[int, int, int, int],
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*_corners(*edges)]]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": label, "color": colours[label]},
            "measurements": dict(measured),
            "image": path,
        },
    }


def _corners(left: int, top: int, right: int, bottom: int) -> Iterator[tuple[int, int]]:
    """The corners of a box against the clock as it is seen, and the first one again."""
    yield from ((left, top), (left, bottom), (right, bottom), (right, top), (left, top))
