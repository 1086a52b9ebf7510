"""Which vector belongs to which image: by names, by the pixels, or by where a patch lies in its slide."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.manifest import SPLITS, Sample
from bccli.core.errors import DataError
from bccli.core.vectors.contents import NamedVectors, Rows, SlideVectors
from bccli.core.vectors.sources import Vectors

DATASET_FACT = "dataset_hash"
"""What bccli calls the hash of the dataset that it computed vectors of."""
_NAMED = 3
"""So many names are examples."""
_WHOLE = -1


@dataclass(frozen=True)
class Match:
    """The vectors of the n rows of a dataset.

    `files` (n,) number the vectors' tables or slides, -1 where a row has none; `rows` (n,) are the positions
    in them, -1 where all vectors of a slide belong to the row. `extra` are names that belong to no row, or
    slides with vectors that belong to none; `unused` is how many vectors that are.
    """

    vectors: Vectors
    samples: tuple[Sample, ...]
    files: np.ndarray
    rows: np.ndarray
    extra: tuple[str, ...] = ()
    unused: int = 0

    @property
    def there(self) -> np.ndarray:
        """Whether each row has a vector (n,)."""
        found: np.ndarray = self.files >= 0
        return found

    @property
    def of_slides(self) -> bool:
        """Whether a row has all vectors of a slide."""
        return bool((self.rows[self.there] == _WHOLE).all())

    def slide(self, row: int) -> SlideVectors:
        """The slide of a row."""
        return self.vectors.slides[int(self.files[row])]

    def values(self) -> Rows:
        """A vector for each row (n, width): its own, or the mean of its slide's; NaN where there is none."""
        if self.of_slides:
            return _means(self)
        sources = self.vectors.slides or self.vectors.tables
        return MatchedRows(tuple(one.values for one in sources), self.files, self.rows, self.vectors.width)


@dataclass(frozen=True)
class MatchedRows:
    """Vectors (n, width) from the rows of several files, read where they are needed."""

    sources: tuple[Rows, ...]
    files: np.ndarray
    rows: np.ndarray
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, width)."""
        return len(self.files), self.width

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Those at some positions, float32 (positions, width)."""
        files, rows = self.files[positions], self.rows[positions]
        found = np.full((len(files), self.width), np.nan, np.float32)
        for number in np.unique(files[files >= 0]).tolist():
            here = np.flatnonzero(files == number)
            found[here] = self.sources[number][rows[here]]
        return found


BLOCK = 4096
"""So many vectors of a slide are read at once."""


def blocks_of(values: Rows) -> Iterable[np.ndarray]:
    """All vectors of a file, some at a time, in their order."""
    count = values.shape[0]
    return (values[np.arange(start, min(start + BLOCK, count))] for start in range(0, count, BLOCK))


def _means(match: Match) -> np.ndarray:
    found = np.full((len(match.files), match.vectors.width), np.nan, np.float32)
    for row in np.flatnonzero(match.there).tolist():
        values = match.slide(row).values
        total = sum(block.sum(axis=0, dtype=np.float64) for block in blocks_of(values))
        found[row] = total / values.shape[0]
    return found


def match_vectors(vectors: Vectors, dataset: Dataset) -> Match:
    """Find the vectors of a dataset's rows.

    Raises DataError where no row has one, or where patches cannot be told apart.
    """
    if vectors.of_slides and dataset.preparation.patches is not None:
        match = _match_patches(vectors, dataset)
    elif vectors.of_slides:
        match = _match_slides(vectors, dataset)
    else:
        match = _match_names(vectors, dataset)
    if not match.there.any():
        raise _others(vectors, dataset)
    return match


def _others(vectors: Vectors, dataset: Dataset) -> DataError:
    """The error for vectors of other images."""
    theirs = ", ".join(map(repr, vectors.names[:_NAMED]))
    ours = ", ".join(repr(sample.source or sample.path) for sample in dataset.samples[:_NAMED])
    hint = "where each patch lies, the slide's name, " if dataset.preparation.patches else ""
    return DataError(
        f"{vectors.path}: has vectors of other images ({theirs}, …) than {dataset.root} ({ours}, …); images "
        f"are told by {hint}the path in the manifest, the source, or the name without folder and ending"
    )


def _match_names(vectors: Vectors, dataset: Dataset) -> Match:
    samples = dataset.samples
    found = np.full(len(samples), -1)
    names = vectors.names
    if any(table.pixels for table in vectors.tables):
        _take(found, _by_pixels(vectors.tables, samples))
    own = np.array([_is_of(table, dataset) for table in vectors.tables for _ in table.names], bool)
    _by_names(found, samples, names, own)
    starts = np.cumsum([0, *(len(table.names) for table in vectors.tables)])
    files = np.where(found >= 0, np.searchsorted(starts, found, side="right") - 1, -1)
    extra = np.setdiff1d(np.arange(len(names)), found)
    rows = np.where(found >= 0, found - starts[files], 0)
    return Match(vectors, samples, files, rows, _first(names[index] for index in extra.tolist()), len(extra))


def _is_of(table: NamedVectors, dataset: Dataset) -> bool:
    """Whether a table's names may be paths in a dataset: those that bccli wrote are of one dataset only, and
    another one has the same paths for other images."""
    return table.facts.get(DATASET_FACT) in (None, dataset.hash)


def _first(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, _ in zip(names, range(_NAMED), strict=False))


def _take(found: np.ndarray, more: np.ndarray) -> None:
    lacking = found < 0
    found[lacking] = more[lacking]


def _by_pixels(tables: Sequence[NamedVectors], samples: Sequence[Sample]) -> np.ndarray:
    numbers: dict[str, int] = {}
    start = 0
    for table in tables:
        for number, text in enumerate(table.pixels, start):
            numbers.setdefault(text, number)
        start += len(table.names)
    return np.array([numbers.get(sample.sha256, -1) for sample in samples])


def _by_names(found: np.ndarray, samples: Sequence[Sample], names: Sequence[str], own: np.ndarray) -> None:
    """Fill in the number of the name that belongs to each sample, from the surest way to the last one."""
    plain = [name.replace("\\", "/").removeprefix("./") for name in names]
    ways: Sequence[tuple[Callable[[Sample], str], Callable[[str], str]]] = (
        (lambda sample: sample.path, str),
        (_source, str),
        (lambda sample: _base(_source(sample)), _base),
        (lambda sample: _stem(_source(sample)), _base),
        (lambda sample: _stem(_source(sample)), _stem),
    )
    taken = set(found[found >= 0].tolist())
    for number, (of_sample, of_name) in enumerate(ways):
        if (found >= 0).all():
            return
        usable = [index not in taken and bool(number or own[index]) for index in range(len(plain))]
        theirs = _unique(of_name(name) if fits else "" for name, fits in zip(plain, usable, strict=True))
        ours = _unique(of_sample(sample) for sample in samples)
        for key, row in ours.items():
            if found[row] < 0 and key in theirs:
                found[row] = theirs[key]
                taken.add(theirs[key])


def _source(sample: Sample) -> str:
    """What an image was made of, "" for an augmented copy, whose vector is not that of its original."""
    return "" if sample.parent else (sample.source or sample.path)


def _base(name: str) -> str:
    return PurePosixPath(name).name


_ENDINGS = {
    *(
        ".bif",
        ".bmp",
        ".czi",
        ".dcm",
        ".dicom",
        ".gif",
        ".isyntax",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".mrxs",
        ".ndpi",
    ),
    *(".ome", ".png", ".qptiff", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu", ".webp"),
    *(".zarr", ".csv", ".h5", ".hdf5", ".npy", ".npz", ".pt", ".pth"),
}
"""What may follow a dot at the end of a name besides a part of it: S3.1 and S3.2 are two slides."""


def _stem(name: str) -> str:
    """A name without its folder and its endings, such as `s` of `a/s.ome.tif`."""
    known = PurePosixPath(name)
    while known.suffix.lower() in _ENDINGS:
        known = known.with_suffix("")
    return known.name


def _unique(keys: Iterable[str]) -> dict[str, int]:
    """The position of each key that is there once."""
    keys = list(keys)
    counts = Counter(keys)
    return {key: position for position, key in enumerate(keys) if key and counts[key] == 1}


def _match_slides(vectors: Vectors, dataset: Dataset) -> Match:
    filled = np.array([slide.values.shape[0] > 0 for slide in vectors.slides])
    names = [slide.name if full else "" for slide, full in zip(vectors.slides, filled, strict=True)]
    found = np.full(len(dataset.samples), -1)
    _by_names(found, dataset.samples, names, np.ones(len(names), bool))
    extra = np.setdiff1d(np.flatnonzero(filled), found).tolist()
    unused = sum(vectors.slides[index].values.shape[0] for index in extra)
    shown = _first(names[index] for index in extra)
    return Match(vectors, dataset.samples, found, np.full(len(found), _WHOLE), shown, unused)


def _match_patches(vectors: Vectors, dataset: Dataset) -> Match:
    """Find each patch by its slide and by where it lies there."""
    if lacking := next((slide for slide in vectors.slides if slide.places is None), None):
        raise DataError(
            f"{lacking.path}: does not say where its patches lie, and {dataset.root} has single patches; add "
            "the array 'coords', left and top of each, or prepare the slides with --no-images"
        )
    samples = dataset.samples
    sources = tuple(dict.fromkeys(_source(sample) for sample in samples if _source(sample)))
    slides = np.full(len(sources), -1)
    whole = [Sample(path=source, source=source) for source in sources]
    _by_names(slides, whole, [slide.name for slide in vectors.slides], np.ones(len(vectors.slides), bool))
    numbers = dict(zip(sources, slides.tolist(), strict=True))
    files = np.array([numbers.get(_source(sample), -1) for sample in samples])
    rows = np.zeros(len(samples), np.int64)
    for number in np.unique(files[files >= 0]).tolist():
        here = np.flatnonzero(files == number)
        at = _places(vectors.slides[number])
        rows[here] = [at.get((samples[row].col or 0, samples[row].row or 0), -1) for row in here.tolist()]
    files[rows < 0] = -1
    rows[files < 0] = 0
    return Match(vectors, samples, files, rows, *_unused(vectors, files))


def _places(slide: SlideVectors) -> dict[tuple[int, int], int]:
    """The vector at each place. Raises DataError where two are at one."""
    assert slide.places is not None
    found: dict[tuple[int, int], int] = {}
    for number, (left, top) in enumerate(slide.places().tolist()):
        if found.setdefault((left, top), number) != number:
            raise DataError(
                f"{slide.path}: two of its vectors are of the patch at {left},{top}; leave one of them out"
            )
    return found


def _unused(vectors: Vectors, files: np.ndarray) -> tuple[tuple[str, ...], int]:
    """Slides with vectors that belong to no patch, the first of them, and how many such vectors there are."""
    used = np.bincount(files[files >= 0], minlength=len(vectors.slides))
    left = np.array([slide.values.shape[0] for slide in vectors.slides]) - used
    slides = np.flatnonzero(left > 0).tolist()
    return _first(vectors.slides[index].name for index in slides), int(left.sum())


def missing_counts(match: Match, split_codes: np.ndarray) -> dict[str, int]:
    """How many images of each split have no vector, without those in no split."""
    lacking = ~match.there & (split_codes >= 0)
    numbers = np.bincount(split_codes[lacking], minlength=len(SPLITS)).tolist()
    return {split: number for split, number in zip(SPLITS, numbers, strict=True) if number}


def missing_sentence(match: Match, split_codes: np.ndarray | None = None) -> str:
    """A warning of images without a vector, which are left out; empty where each has one.

    With `split_codes` (n,), images in no split do not count, and it says how many lack in each.
    """
    used = np.ones(len(match.samples), bool) if split_codes is None else split_codes >= 0
    lacking = np.flatnonzero(~match.there & used).tolist()
    if not lacking:
        return ""
    counts = {} if split_codes is None else missing_counts(match, split_codes)
    named = ", ".join(match.samples[row].source or match.samples[row].path for row in lacking[:_NAMED])
    by_split = ", ".join(f"{number:,} of {split}" for split, number in counts.items())
    where = f" ({by_split})" if by_split else ""
    return (
        f"{len(lacking):,} of {int(used.sum()):,} images have no vector in {match.vectors.path}, and are "
        f"left out{where}: {named}{_more(len(lacking))}"
    )


def extra_sentence(match: Match) -> str:
    """A note on vectors that belong to no image; empty where each does."""
    if not match.unused:
        return ""
    return (
        f"{match.unused:,} vectors in {match.vectors.path} belong to no image of the dataset: "
        f"{', '.join(match.extra)}{_more(match.unused, len(match.extra))}"
    )


def _more(number: int, shown: int = _NAMED) -> str:
    return ", …" if number > shown else ""
