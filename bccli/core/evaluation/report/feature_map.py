"""Features of the measured images on their two first principal components, by class and by patient.

Only features that are stored are shown: those of a backbone that was frozen, in the cache of the data or of
the run. Where there are several of one backbone, those that were stored last are taken, and named.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccli.core.data.dataset import CACHE_FOLDER
from bccli.core.data.manifest import Sample
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.run_data import RunData
from bccli.core.metrics.material import Floats
from bccli.core.reading.regular_files import open_file
from bccli.core.reading.rows import read_header
from bccli.core.runs.feature_store import FeatureStore

MOST = 1000
"""Dots of a plot; of more images, so many in even steps."""
_WIDEST = 1 << 16
_COLOURED = 6
"""Patients that have a colour of their own: those with the most images."""


@dataclass(frozen=True)
class Cloud:
    """Dots of one colour, in 0…1 of both axes."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class FeatureMap:
    """Images as dots, coloured by class and by patient (None where no patient is known).

    `explained` are the shares of the variance that both axes hold, `store` the name of the stored features,
    `shown` of `images` the dots.
    """

    store: str
    images: int
    shown: int
    explained: tuple[float, float]
    by_class: tuple[Cloud, ...]
    by_patient: tuple[Cloud, ...] | None


def feature_map(entry: Evaluation, data: RunData | Absent) -> FeatureMap | Absent:
    """The map of the images that were measured, where their features are stored."""
    run = entry.subject.run
    if run is None:
        return Absent("A table of predictions has no features.")
    if isinstance(data, Absent):
        return data
    samples = _measured(entry, data)
    chosen = [samples[index] for index in _even(len(samples), MOST)]
    folders = (data.dataset.root / CACHE_FOLDER, run.root / CACHE_FOLDER)
    found = _stored(folders, run.info.backbone, [sample.sha256 for sample in chosen])
    if found is None or len(chosen) < 3:
        return Absent(
            f"No features of {run.info.backbone or 'this run'} are stored for these images: they are where "
            "its backbone was frozen and the cache is kept."
        )
    name, features = found
    points, explained = components(features)
    by_class, by_patient = _by_class(chosen, points, entry.whole.classes), _by_patient(chosen, points)
    return FeatureMap(name, len(samples), len(chosen), explained, by_class, by_patient)


def _measured(entry: Evaluation, data: RunData) -> list[Sample]:
    """The images that the measured predictions, or their patches, are of."""
    subject = entry.subject.patches or entry.subject
    paths = set(subject.predictions.paths)
    return [sample for sample in data.dataset.samples if sample.path in paths and sample.sha256]


def _even(count: int, most: int) -> list[int]:
    return (
        np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []
    )


def _stored(folders: Sequence[Path], backbone: str, hashes: Sequence[str]) -> tuple[str, Floats] | None:
    """The name of the features that were stored last, of all these images, and they (images, width)."""
    for folder in sorted(_stores(folders, backbone), key=lambda path: -path.stat().st_mtime):
        width = _width_of(folder)
        if not width:
            continue
        store = FeatureStore(folder, width)
        if hashes and not store.missing(hashes):
            return folder.name, np.asarray(store.rows(hashes)[np.arange(len(hashes))], np.float64)
    return None


def _stores(folders: Sequence[Path], backbone: str) -> Iterator[Path]:
    for folder in folders:
        for path in (folder / "features").glob("*"):
            if backbone and path.name.startswith(f"{backbone}-") and path.is_dir():
                yield path


def _width_of(folder: Path) -> int:
    """The number of features of an image, as the first of a store's files says it; 0 where none does."""
    for path in sorted(folder.glob("*.npy")):
        with suppress(OSError), open_file(path) as stream:
            header = read_header(stream)
            if header is None or "features" not in (header[2].names or ()):
                continue
            shape = header[2]["features"].shape
            if len(shape) == 1 and 0 < shape[0] <= _WIDEST:
                return int(shape[0])
    return 0


def components(features: Floats) -> tuple[Floats, tuple[float, float]]:
    """The two first principal components (n, 2) of features (n, width), each in 0…1, and their shares of the
    variance."""
    centred = features - features.mean(axis=0)
    vectors, values, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])
    points = vectors[:, :2] * values[:2] * signs
    whole = float(np.square(values).sum()) or 1.0
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    shares = np.square(values[:2]) / whole
    return (points - low) / np.where(span > 0, span, 1), (float(shares[0]), float(shares[1]))


def _by_class(samples: Sequence[Sample], points: Floats, classes: Sequence[str]) -> tuple[Cloud, ...]:
    return tuple(
        _cloud(name, points, [index for index, sample in enumerate(samples) if sample.label == name])
        for name in classes
    )


def _by_patient(samples: Sequence[Sample], points: Floats) -> tuple[Cloud, ...] | None:
    counts = Counter(sample.patient for sample in samples if sample.patient)
    if not counts:
        return None
    named = [name for name, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_COLOURED]]
    clouds = [
        _cloud(name, points, [index for index, sample in enumerate(samples) if sample.patient == name])
        for name in named
    ]
    others = [index for index, sample in enumerate(samples) if sample.patient not in named]
    return (*clouds, _cloud("all others", points, others)) if others else tuple(clouds)


def _cloud(name: str, points: Floats, indexes: Sequence[int]) -> Cloud:
    return Cloud(name, tuple((float(x), float(y)) for x, y in points[list(indexes)].round(3).tolist()))
