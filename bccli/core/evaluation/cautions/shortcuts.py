"""How well traits that have nothing to do with tissue predict the labels of a dataset.

For each trait a small model is fitted on some patients and asked about others. An area under the curve well
above 0.5 says that a network could learn the trait in place of the disease: Zech et al. 2018, "Variable
generalization performance of a deep learning model to detect pneumonia in chest radiographs",
DOI 10.1371/journal.pmed.1002683. Colour may be a part of the disease, so what is found is to be looked at.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import pixels_of
from bccli.core.data.manifest import Sample
from bccli.core.errors import BccliError
from bccli.core.evaluation.cautions.run_dataset import some_of
from bccli.core.files import write_text
from bccli.core.imaging.opencv import load_cv2
from bccli.core.metrics.figures import measure

MOST_IMAGES, FOLDS, FEWEST_PATIENTS = 3_000, 5, 10
_FLAT = 2.0
"""Grey levels by which pixels of a line deviate that is of one colour."""
_BRIGHT = 247


@dataclass(frozen=True)
class Shortcut:
    """A trait, and the area under the curve (macro average) of who knows nothing else, with its 95 % interval
    over patients; or why there is none."""

    trait: str
    auc: float | None = None
    ci: tuple[float, float] | None = None
    n: int = 0
    reason: str = ""

    def to_row(self) -> dict[str, Any]:
        """As printed."""
        low, high = self.ci or (None, None)
        return {
            "trait": self.trait, "auc": self.auc, "auc_low": low, "auc_high": high, "n": self.n,
            "reason": self.reason,
        }  # fmt: skip

    def sentence(self) -> str:
        """A trait that predicts labels, in words."""
        limits = f" (95 % interval {self.ci[0]:.3f} to {self.ci[1]:.3f})" if self.ci else ""
        return (
            f"{self.trait} alone predicts the labels of patients that were left out, with an AUC of "
            f"{self.auc:.3f}{limits}; look whether a network could learn it in place of the disease"
        )

    @property
    def is_suspicious(self) -> bool:
        """Whether the trait predicts the label beyond chance, and not just by a little."""
        lowest = self.ci[0] if self.ci else self.auc
        return lowest is not None and lowest > 0.6


def _size(image: np.ndarray, sample: Sample, file: int) -> Sequence[float]:
    return [np.log(image.shape[0]), np.log(image.shape[1])]


def _aspect(image: np.ndarray, sample: Sample, file: int) -> Sequence[float]:
    return [np.log(image.shape[1] / image.shape[0])]


def _border(image: np.ndarray, sample: Sample, file: int) -> Sequence[float]:
    """Of each side how far in rows or columns are of one colour, as a share of the image, and how bright."""
    grey, found = image.mean(axis=2), []
    for lines in (grey, grey[::-1], grey.T, grey.T[::-1]):
        flat = lines.std(axis=1) <= _FLAT
        count = len(flat) if flat.all() else int(flat.argmin())
        found += [count / len(flat), lines[:count].mean() / 255 if count else 0.0]
    return found


def _colour(image: np.ndarray, sample: Sample, file: int) -> Sequence[float]:
    pixels = image.reshape(-1, 3)
    return [*pixels.mean(axis=0), *pixels.std(axis=0)]


def _marks(image: np.ndarray, sample: Sample, file: int) -> Sequence[float]:
    """White spots: letters and rulers of a scanner."""
    white = (image.min(axis=2) >= _BRIGHT).astype(np.uint8)
    count, _, stats, _ = load_cv2().connectedComponentsWithStats(white, connectivity=8)
    areas = stats[1:, 4] / white.size
    return [white.mean(), np.log1p(count - 1), areas.max(initial=0.0)]


def _file_size(image: np.ndarray, sample: Sample, file: int) -> Sequence[float]:
    return [file / (image.shape[0] * image.shape[1])]


SHORTCUTS_FILE = "shortcuts.csv"


def write_shortcuts(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write shortcuts.csv with the rows of one dataset or several."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SHORTCUTS_FILE, stream.getvalue())


TRAITS: dict[str, Callable[[np.ndarray, Sample, int], Sequence[float]]] = {
    "size": _size,
    "aspect": _aspect,
    "border": _border,
    "mean colour": _colour,
    "scanner marks": _marks,
    "file size": _file_size,
}
"""What is tried, each alone, of prepared images; a file's size is that by pixel."""


def probe(dataset: Dataset) -> list[Shortcut]:
    """Try all traits on originals of known patients, evenly chosen where there are very many."""
    if not dataset.info.images:
        return _nothing("its images are elsewhere (--no-images)")
    samples = [sample for sample in dataset.samples if sample.patient and not sample.parent]
    samples = some_of(samples, MOST_IMAGES)
    labels = np.array([dataset.classes.index(sample.label) for sample in samples], np.int64)
    patients = np.array([sample.patient for sample in samples], str)
    if why := _obstacle(labels, patients, len(dataset.classes)):
        return _nothing(why)
    with ThreadPoolExecutor() as pool:
        measured = list(pool.map(lambda sample: _traits_of(dataset, sample), samples))
    known = np.array([one is not None for one in measured])
    rows, labels, patients = [one for one in measured if one], labels[known], patients[known]
    if why := _obstacle(labels, patients, len(dataset.classes)):
        return _nothing(f"of the images that can be read, {why}")
    return [
        _shortcut(trait, np.array([row[trait] for row in rows]), labels, patients, dataset.classes)
        for trait in TRAITS
    ]


def _nothing(why: str) -> list[Shortcut]:
    return [Shortcut(trait, reason=why) for trait in TRAITS]


def _obstacle(labels: np.ndarray, patients: np.ndarray, classes: int) -> str:
    for number in range(classes):
        if (count := len(np.unique(patients[labels == number]))) < FEWEST_PATIENTS:
            return f"a class has {count} patients, and it takes {FEWEST_PATIENTS}"
    return ""


def _traits_of(dataset: Dataset, sample: Sample) -> dict[str, Sequence[float]] | None:
    try:
        image = pixels_of(dataset.root, sample)
        file = (dataset.root / sample.path).stat().st_size
    except (BccliError, OSError):
        return None
    return {trait: measured(image, sample, file) for trait, measured in TRAITS.items()}


def _shortcut(
    trait: str, values: np.ndarray, labels: np.ndarray, patients: np.ndarray, classes: Sequence[str]
) -> Shortcut:
    if (values == values[0]).all():
        return Shortcut(trait, 0.5, (0.5, 0.5), len(values), "is the same for all images")
    probabilities = _out_of_fold(values, labels, patients, len(classes))
    figures = measure(labels, probabilities, list(classes), patients=list(patients), rounds=1000)
    limits = (figures.ci or {}).get("roc_auc")
    return Shortcut(trait, figures.roc_auc, (limits[0], limits[1]) if limits else None, len(values))


def _out_of_fold(values: np.ndarray, labels: np.ndarray, patients: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (n, classes) of models that had not seen the patients."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    found = np.full((len(labels), classes), 1 / classes)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(values, labels, patients):
        model = make_pipeline(
            StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler(),
            LogisticRegression(max_iter=1000, class_weight="balanced"),
        )  # fmt: skip
        model.fit(values[train], labels[train])
        found[np.ix_(test, model[-1].classes_)] = model.predict_proba(values[test])
    return found
