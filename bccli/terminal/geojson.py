"""Predictions of patches as GeoJSON (RFC 7946) in pixels of the image, which QuPath reads as detections."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from bccli.core.files import to_json

Row = Mapping[str, Any]

_POSITIVE = 213, 94, 0
_COLOURS = (0, 114, 178), (0, 158, 115), (230, 159, 0), (204, 121, 167), (86, 180, 233), (240, 228, 66)
"""Colours that people with any colour vision tell apart: Okabe and Ito 2008, "Color Universal Design"."""


def write_geojson(
    rows: Iterable[Row], stream: IO[str], classes: Sequence[str], patch: int, positive: str | None = None
) -> None:
    """Write a collection with a square of `patch` pixels for each row, as they come.

    What could not be read has no place in an image, and is listed behind the squares as `errors`.
    """
    colours, errors = _colours(classes, positive), []
    stream.write('{"type": "FeatureCollection", "features": [')
    before = "\n"
    try:
        for row in rows:
            if row["error"] or row["row"] is None:
                errors.append({"image": row["path"], "error": row["error"]})
                continue
            stream.write(before + to_json(_feature(row, patch, colours)))
            stream.flush()
            before = ",\n"
    finally:  # whole also where the rows end with an exception, as JSON is
        stream.write(f'\n], "errors": {to_json(errors)}}}\n')


def _colours(classes: Sequence[str], positive: str | None) -> dict[str, tuple[int, int, int]]:
    others = [name for name in classes if name != positive]
    found = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(others)}
    return found | ({positive: _POSITIVE} if positive else {})


def _feature(row: Row, patch: int, colours: Mapping[str, tuple[int, int, int]]) -> dict[str, Any]:
    label = row["predicted"]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*_square(row["col"], row["row"], patch)]]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": label, "color": colours[label]},
            "measurements": {name: row[name] for name in row if name.startswith(("p_", "probability"))},
            "image": row["path"],
        },
    }


def _square(left: int, top: int, side: int) -> Iterator[tuple[int, int]]:
    """Its corners against the clock as it is seen, and the first one again."""
    for right, below in ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0)):
        yield left + right * side, top + below * side
