"""Verification of a download: its files are compared with the edition in the catalog."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bccli.core.catalog import Edition
from bccli.core.data.manifest import Sample
from bccli.core.datasets.layout.image_files import PassedOverFiles, stem_of

REMARKS = {
    "unknown": "images whose folder or name this dataset does not know were passed over",
    "renamed": "images that seem to have been renamed were passed over",
    "copy": "copies of images that are there already were passed over",
    "missing": "images that a list of the dataset names are not there",
    "irregular": "images with irregular names were read all the same",
    "no_film": "rows of the list that name no image were passed over",
    "unassessed": "images without an assessment in the list were left out",
    "other_task": "images that do not belong to the task were left out",
    "other_view": "images whose tumour is marked in the other view only were left out",
    "mask_missing": "masks that a list of the dataset names are not there, and their images have none",
    "mask_scaled": "masks of another size than their image, but of its shape, were scaled to it",
    "mask_unfit": "images are not of the size that their circles or contours are for, and have no mask",
    "contours": "files of contours cannot be read; the images have no mask, and --task mass leaves them out",
    "contour": "files have contours with points that cannot be read, and those were left out",
    "dots": "files have marks of one or two points, of which each counts as one pixel",
    "contour_beyond": "images have contours that reach beyond them and were cut off, or lie there altogether",
    "mask": "files are masks of the images beside them, and are used as such",
    "orphan_mask": "masks whose images are not there were passed over",
    "twin": "files are named after images beside them and count as images; if they are masks, call them such "
    "as a_mask.png for a.png, or their folder masks; if they are overlays or copies, move them away",
    "twin_row": "files of the table are named after others of it and count as images; if they are masks, "
    "name them in the column mask; if they are overlays or copies, remove their rows",
    "unmatched": "images are of unknown patients, as --patient-regex finds none in their paths",
    "unlisted": "images are of unknown patients, as the list of --patients does not name them",
    "spelling": "ids that differ only in leading zeros or a trailing .0 were taken for one patient's",
    "without_row": "images have no row in the table of --metadata",
    "without_image": "rows of the table of --metadata name no image here",
    "identifying": "columns of the table say who a patient is, and were left out",
    "patient_column": "columns of the table were taken for its patients, as none is called patient",
    "meaning": "columns of the table were left out, as such names have a meaning of their own",
    "trait": "texts of the lists are none of their known words, and were kept as they stand",
    "contradiction": "images contradict themselves: their names say otherwise than their folders or lists",
}
"""The kinds of readers' remarks, in the words of a warning."""
JOINED = ("without_row", "without_image")
"""The remarks that one note about --metadata is made of."""
UNTOLD = ("without_image",)
"""The remarks whose examples are not stored: they may be of patients who are not in the dataset."""
MADE = ("mask_scaled", "mask_unfit", "contour_beyond")
"""The remarks that come up only while images are prepared."""

_FEW = 3
_MOST = 300
_MOST_NAMES = 2000
"""Of more images than that, names are not compared one by one."""


@dataclass(frozen=True)
class Remark:
    """A remark of a reader: a row of REMARKS, the number of its files, and the first of them."""

    kind: str
    count: int
    first: Sequence[str]

    def sentence(self) -> str:
        """As a warning."""
        return f"{REMARKS[self.kind]}: {_listed(self.count, self.first)}"


@dataclass
class Tally:
    """Counts the content of a raw dataset, image by image while a reader yields it.

    `counts` has (magnification, split, class) for keys; `names` are the first sources; `others` are files
    that are no images by their names.
    """

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    remarks: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    others: PassedOverFiles = field(default_factory=PassedOverFiles)

    def add(self, sample: Sample, size: int) -> None:
        """Count one sample, with its own class and the bytes of its file."""
        self.counts[sample.magnification, sample.split, sample.label] += 1
        if len(self.names) <= _MOST_NAMES:
            self.names.append(sample.source)
        if size == 0:
            self.empty.append(sample.source)

    def remark(self, name: str, kind: str = "unknown") -> None:
        """Count a remark about a file."""
        if kind == "other":
            self.others(name)
            return
        count, first = self.remarks.setdefault(kind, (0, []))
        self.remarks[kind] = count + 1, [*first, name][:_FEW]

    def remarked(self) -> tuple[Remark, ...]:
        """The remarks in the order of REMARKS."""
        return tuple(
            Remark(kind, self.remarks[kind][0], tuple(self.remarks[kind][1]))
            for kind in REMARKS
            if kind in self.remarks
        )


@dataclass(frozen=True)
class Share:
    """The images of a class at a magnification (or in a split): the number found, and that expected."""

    where: str
    label: str
    found: int
    expected: int


@dataclass(frozen=True)
class Verification:
    """A comparison of a download with an edition. `missing` and `extra` are names, where the edition's are
    known; `empty` are files of 0 bytes."""

    edition: str
    by: str
    shares: tuple[Share, ...]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        """Images of all shares."""
        return sum(share.found for share in self.shares)

    @property
    def expected(self) -> int:
        """Images that belong to the edition."""
        return sum(share.expected for share in self.shares)

    @property
    def complete(self) -> bool:
        """Whether the files are those of the edition, no more and no less."""
        same = all(share.found == share.expected for share in self.shares)
        return same and not (self.missing or self.extra or self.empty)

    def sentences(self) -> list[str]:
        """The warnings, one sentence each; none where the download is whole."""
        sentences = []
        if short := [share for share in self.shares if share.found < share.expected]:
            total = f"{self.found:,} of {self.expected:,} images"
            shares = f" ({self._in_words(short, 'of')})" if len(self.shares) > 1 else ""
            sentences.append(f"{self.edition} is not complete here: {total}{shares}")
        if over := [share for share in self.shares if share.found > share.expected]:
            sentences.append(f"there is more than {self.edition} has: {self._in_words(over, 'instead of')}")
        if self.missing:
            sentences.append(f"missing from {self.edition}: {_listed(len(self.missing), self.missing)}")
        if self.extra:
            sentences.append(f"not of {self.edition} by name: {_listed(len(self.extra), self.extra)}")
        if self.empty:
            files = _listed(len(self.empty), self.empty)
            sentences.append(f"empty files (0 bytes), to be downloaded again: {files}")
        return sentences

    def _in_words(self, shares: Sequence[Share], relation: str) -> str:
        """Shares in words, such as `40×: 610 of 625 benign, 0 of 1,370 malignant; 100×: …`."""
        by_share: dict[str, list[str]] = {}
        for share in shares:
            words = f"{share.found:,} {relation} {share.expected:,} {share.label or 'images'}"
            by_share.setdefault(share.where, []).append(words)
        mark = "×" if self.by == "magnification" else ""
        return "; ".join(
            (f"{where}{mark}: " if where else "") + ", ".join(few) for where, few in by_share.items()
        )

    def to_json(self) -> dict[str, Any]:
        """As stored in dataset.json."""
        return {
            "edition": self.edition,
            "images": self.found,
            "expected": self.expected,
            "complete": self.complete,
            "by": self.by,
            "shares": [asdict(share) for share in self.shares],
            "missing": list(self.missing),
            "extra": list(self.extra),
            "empty": list(self.empty),
        }


def tally_of(samples: Iterable[Sample]) -> Tally:
    """The tally of samples whose files are not looked at."""
    tally = Tally()
    for sample in samples:
        tally.add(sample, -1)
    return tally


def verify(
    tally: Tally, editions: Sequence[Edition], magnifications: Collection[str] = ()
) -> Verification | None:
    """Compare with the edition that the images seem to be of; None where there is nothing to compare with.

    With `magnifications`, only theirs are expected.
    """
    if not editions or not tally.counts:
        return None
    edition = _likeliest(tally, editions)
    shares = tuple(
        Share(where, label, _found(tally, edition, where, label), expected)
        for where, label, expected in edition.counts
        if not magnifications or where in magnifications
    )
    if not shares:
        return None
    missing, extra = _names(tally, edition)
    return Verification(edition.name, edition.by, shares, missing, extra, tuple(tally.empty))


def _likeliest(tally: Tally, editions: Sequence[Edition]) -> Edition:
    """The smallest edition with names of this kind that has room for what was found, else the largest."""
    stems = [_stem(name) for name in tally.names]
    fitting = [edition for edition in editions if _signed(edition, stems)]
    ordered = sorted(fitting or editions, key=lambda edition: edition.images)
    for edition in ordered:
        found = [
            (_found(tally, edition, where, label), expected) for where, label, expected in edition.counts
        ]
        if all(number <= expected + max(2, expected // 20) for number, expected in found):
            return edition
    return ordered[-1]


def _signed(edition: Edition, stems: Sequence[str]) -> bool:
    """Whether most names are of the edition's kind; any are, where it has none."""
    if not edition.sign:
        return True
    return 2 * sum(bool(re.fullmatch(edition.sign, stem)) for stem in stems) > len(stems)


def _found(tally: Tally, edition: Edition, where: str, label: str) -> int:
    """Images of a class ("" for any) at a magnification or in a split ("" for any)."""
    column = ("magnification", "split").index(edition.by)
    return sum(
        number
        for key, number in tally.counts.items()
        if where in ("", key[column] or edition.otherwise) and label in ("", key[2])
    )


def _names(tally: Tally, edition: Edition) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that are missing and names that are too many, where the edition numbers its files."""
    if not edition.stems or len(tally.names) > _MOST_NAMES:
        return (), ()
    expected = [f"{prefix}{number:03d}" for prefix, last in edition.stems for number in range(1, last + 1)]
    known = set(expected)
    there = {_stem(name) for name in tally.names}
    return (
        tuple(stem for stem in expected if stem not in there),
        tuple(name for name in tally.names if _stem(name) not in known),
    )


def _stem(name: str) -> str:
    return stem_of(name).lower()


def _listed(count: int, names: Sequence[str]) -> str:
    """A number and the first names, as `12 (a.png, b.png, c.png, …)`."""
    shown = [*names[:1], *(name for name in names[1:_FEW] if sum(map(len, names[:_FEW])) <= _MOST)]
    return f"{count} ({', '.join(shown)}{', …' if count > len(shown) else ''})"
