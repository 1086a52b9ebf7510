"""Contours as OsiriX exports them: a property list of images, each with its regions of interest.

A region has a Name such as Mass, and Point_px, the corners of its outline as texts such as "(1027.5, 2210)":
pixels from the top left corner, x before y. One or two points mark single pixels, as of a calcification.
"""

import plistlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccli.core.errors import DataError, ImageError
from bccli.core.reading.limits import CONTOURS_BYTES
from bccli.core.reading.regular_files import explained, read_bytes

_NUMBER = r"([+-]?\d{1,7}(?:[.,]\d{0,20})?)"
_POINT = re.compile(rf"\s*[({{]\s*{_NUMBER}\s*[,;]\s*{_NUMBER}\s*[)}}]\s*")
_LONGEST_POINT = 100


@dataclass(frozen=True)
class Contour:
    """A region's name and its points (x, y) in pixels; none where they cannot be read: `is_damaged`."""

    name: str
    points: tuple[tuple[float, float], ...]
    is_damaged: bool = False


def read_contours(path: Path) -> tuple[Contour, ...]:
    """The regions of all images of a property list, those without a point left out.

    Raises ImageError, in words that follow the file's name, where it is no such list.
    """
    try:
        content = plistlib.loads(read_bytes(path, CONTOURS_BYTES), fmt=plistlib.FMT_XML)
        regions = [region for image in content["Images"] for region in image.get("ROIs") or ()]
        contours = [_contour(region) for region in regions]
    except DataError:
        raise ImageError(f"is larger than {CONTOURS_BYTES:,} bytes, the most that is read") from None
    except OSError as error:
        raise ImageError(f"cannot be read ({explained(error)})") from None
    except MemoryError:
        raise
    except Exception:  # plistlib raises whatever its steps raise, and refuses entities
        raise ImageError("is no property list of contours, or a damaged one") from None
    return tuple(contour for contour in contours if contour.points or contour.is_damaged)


def _contour(region: dict[str, Any]) -> Contour:
    name, texts = str(region.get("Name") or "").strip(), region.get("Point_px") or []
    matches = [_POINT.fullmatch(text) for text in texts if len(text) <= _LONGEST_POINT]
    points = tuple((_real(match[1]), _real(match[2])) for match in matches if match)
    announced = region.get("NumberOfPoints", len(texts))
    is_whole = len(points) == len(texts) == announced
    return Contour(name, points) if is_whole else Contour(name, (), True)


def _real(text: str) -> float:
    return float(text.replace(",", "."))
