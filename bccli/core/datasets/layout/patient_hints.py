"""Hints at patients in the images' paths, where the user does not say how to find them."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bccli.core.datasets.layout.image_files import magnification_of

_SEPARATORS = "_-. "
_MOST_FIELDS = 3
_FEWEST_PATIENTS = 3
_LEAST_REPEATS = 1.5
# So few parts of so many images each are subtypes, magnifications or sites, and not patients.
_FEW, _MANY_IMAGES = 12, 100
_ENOUGH_IMAGES = 4
_COORDINATE = re.compile(r"(?:.*[_. -])?[xy]\d+", re.IGNORECASE)  # of a patch in its slide
_PATIENCE = 2000
"""After so many images, a part that hardly ever repeats is given up."""


@dataclass
class _Candidate:
    """An expression, and how often its part of the path was met with which class."""

    expression: str
    pattern: re.Pattern[str]
    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    images: int = 0
    fits: bool = True

    def add(self, label: str, name: str) -> None:
        match = self.pattern.search(name)
        value = match.group(1) if match else ""
        other = value.lower() == label.lower() or magnification_of(value) or _COORDINATE.fullmatch(value)
        self.fits = bool(value) and not other
        self.met[label, value] += 1
        self.images += 1
        if self.images == _PATIENCE:
            self.fits &= self.images >= _LEAST_REPEATS * len(self.met)

    @property
    def values(self) -> list[str]:
        """The different parts, in the order in which they were met."""
        return list(dict.fromkeys(value for _, value in self.met))

    def is_likely(self) -> bool:
        """Whether the parts repeat as patients do: several of each class, with several images each."""
        count = len(self.values)
        if not self.fits or count < _FEWEST_PATIENTS or self.images < _LEAST_REPEATS * count:
            return False
        if count <= _FEW and self.images > _MANY_IMAGES * count:
            return False
        images: Counter[str] = Counter()
        for (label, _), number in self.met.items():
            images[label] += number
        values = Counter(label for label, _ in self.met)
        return all(values[label] > 1 for label in images if images[label] >= _ENOUGH_IMAGES)


def patient_hint(images: Iterable[tuple[str, str, int]]) -> str:
    """A sentence with an expression for `--patient-regex`, by the (class, path, folders down to the class) of
    images; empty where no part of the paths repeats as patients would.

    Of several parts it is the coarsest: folders below the class, else as little as may be of the names.
    """
    candidates: list[_Candidate] | None = None
    for label, name, depth in images:
        if candidates is None:
            candidates = [_Candidate(text, re.compile(text)) for text in _expressions(depth)]
        for candidate in candidates:
            if candidate.fits:
                candidate.add(label, name)
    likely = next((candidate for candidate in candidates or () if candidate.is_likely()), None)
    if likely is None:
        return ""
    few = ", ".join(likely.values[:3])
    return (
        f"parts of the paths repeat as patients would ({few}, …: {len(likely.values)} of them for "
        f"{likely.images} images); if they are the patients, add --patient-regex "
        f"{shlex.quote(likely.expression)}"
    )


def _expressions(depth: int) -> Iterator[str]:
    """Expressions from coarse to fine; images lie in `depth` folders that say their class and split."""
    yield "^" + "[^/]+/" * depth + "([^/]+)/"
    for before in range(_MOST_FIELDS):
        for mark in _SEPARATORS:
            value, literal = f"[^/{mark}]+", "[.]" if mark == "." else mark
            yield f"/({(value + literal) * before}{value}){literal}[^/]*$"
    yield r"/([^/]*?\d+)[A-Za-z][^/]*[.][^/]+$"
