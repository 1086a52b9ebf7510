"""Files that are named after others in their folder with a word more, such as `a_seg.png` beside `a.png`."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from bccli.core.datasets.layout.image_files import stem_of

_LETTER = r"[^\W\d_]"
_WORDS = rf"{_LETTER}{{2,}}(?:[\W_]+{_LETTER}{{2,}})*"
_SUFFIX = re.compile(rf"(?P<words>[\W_]*{_WORDS})(?:[\W_]?\d+)?[\W_]*")
_PREFIX = re.compile(rf"[\W_]*{_WORDS}[\W_]*")
_CUT = re.compile(rf"(?=[\W_])|(?<=[\W_])|(?<=\d)(?={_LETTER})|(?<={_LETTER})(?=\d)")
_SEVERAL = 3
"""So many files have to have others named after them in one way before that is no accident."""


class Twin(NamedTuple):
    """The stem after which a file is named, and the rest of its own stem, both in small letters."""

    stem: str
    more: str


def named_after(names: Collection[str]) -> dict[str, Twin]:
    """Find the files of a folder that are named after others there, by name.

    The rest of their stems is words, perhaps with a number behind them, and at least half of the files that
    are named after no others have such a twin. Views, sides and numbers have no bare name beside them.
    """
    stems = {stem_of(name).lower() for name in names}
    found = {name: twin for name in names if (twin := _twin(stem_of(name).lower(), stems))}
    bare = len(stems) - len({stem_of(name).lower() for name in found})
    with_twins: dict[str, set[str]] = defaultdict(set)
    for twin in found.values():
        with_twins[twin.more].add(twin.stem)
    return {name: twin for name, twin in found.items() if 2 * len(with_twins[twin.more]) >= bare}


def _twin(stem: str, stems: Collection[str]) -> Twin | None:
    """The shortest of the stems that a stem has before or behind words of its own."""
    cuts = [match.start() for match in _CUT.finditer(stem)]
    for cut in cuts:
        if stem[:cut] in stems and (match := _SUFFIX.fullmatch(stem, cut)):
            return Twin(stem[:cut], match["words"])
    for cut in reversed(cuts):
        if stem[cut:] in stems and _PREFIX.fullmatch(stem, 0, cut):
            return Twin(stem[cut:], stem[:cut])
    return None


class NamedAfter:
    """Reports files that are named after others, once several are in the same way."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._kinds: dict[str, tuple[set[str], list[str]]] = {}

    def add(self, name: str, twin: Twin) -> None:
        """Take up a file by its path."""
        others, waiting = self._kinds.setdefault(twin.more, (set(), []))
        waiting.append(name)
        if len(others) < _SEVERAL:
            others.add(f"{name.rpartition('/')[0]}/{twin.stem}")
        if len(others) == _SEVERAL:
            for each in waiting:
                self._report(each)
            waiting.clear()

    def add_all(self, paths: Iterable[str]) -> None:
        """Take up what is named after others among paths of many folders."""
        folders: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            folder, _, name = path.rpartition("/")
            folders[folder].append(name)
        for folder, names in folders.items():
            for name, twin in named_after(names).items():
                self.add(f"{folder}/{name}" if folder else name, twin)
