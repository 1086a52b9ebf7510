"""seen.csv: the images that a run was trained on or chosen by, and what another dataset shares with them."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bccli.core.data.audit import audit_between, hash_table
from bccli.core.data.dataset import Dataset
from bccli.core.data.leakage import Leak
from bccli.core.data.manifest import SPLITS, Sample, is_sha256
from bccli.core.errors import DataError
from bccli.core.files import write_text
from bccli.core.reading.texts import table_rows
from bccli.core.runs.run_folder import TRAINING_IMAGES_FILE, Run, folds_of

_COLUMNS = ("path", "split", "dataset", "patient", "sha256", "perceptual", "blank")
_USED = ("train", "val")
_HASH = re.compile("[0-9a-f]{1,16}")
_REMEDY = "copy the whole folder again"


@dataclass(frozen=True)
class TrainingImage:
    """An image of train or val, its split in the run, and its `perceptual` hash; a `blank` one is empty."""

    sample: Sample
    split: str
    perceptual: int
    blank: bool


def training_images_in(
    samples: Sequence[Sample], split_codes: np.ndarray, hashes: np.ndarray
) -> list[TrainingImage]:
    """The images of train and val among samples (n,), by the codes of their splits (n,).

    `hashes` (n,) are their image hashes as `audit.hashes_of` gives them.
    """
    return [
        TrainingImage(samples[index], SPLITS[code], *hashes[index].tolist())
        for index, code in enumerate(split_codes.tolist())
        if code >= 0 and SPLITS[code] in _USED
    ]


def write_training_images(run: Run, images: Iterable[TrainingImage]) -> None:
    """Write the seen.csv of a run."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image in images:
        sample = image.sample
        identity = sample.path, image.split, sample.dataset, sample.patient, sample.sha256
        writer.writerow([*identity, f"{image.perceptual:016x}", int(image.blank)])
    write_text(run.root / TRAINING_IMAGES_FILE, stream.getvalue())


def training_images_of(run: Run) -> list[TrainingImage]:
    """The images that a run, or the networks of its folds, were trained on or chosen by."""
    return [
        TrainingImage(
            Sample(patient=row["patient"], dataset=row["dataset"], sha256=row["sha256"], path=row["path"]),
            row["split"],
            int(row["perceptual"], 16),
            row["blank"] == "1",
        )
        for row in _read_rows(run)
    ]


def _read_rows(run: Run) -> Iterator[dict[str, str]]:
    """The rows of a run's seen.csv, or of those of its folds."""
    for member in [run] if TRAINING_IMAGES_FILE in run.info.files else folds_of(run):
        path = member.file(TRAINING_IMAGES_FILE)
        for number, row in table_rows(path, _REMEDY, _COLUMNS):
            if not _HASH.fullmatch(row["perceptual"]):
                raise DataError(f"{path} row {number}: has no perceptual hash; {_REMEDY}")
            if (hashed := row["sha256"]) and not is_sha256(hashed):
                raise DataError(
                    f"{path} row {number}: sha256 {hashed[:80]!r} is not 64 hexadecimal digits; {_REMEDY}"
                )
            yield row


def from_elsewhere(runs: Iterable[Run], own: Iterable[Sample]) -> list[TrainingImage]:
    """The images that runs, and those before them, were trained on or chosen by, each once, besides one's
    `own` images of train and val."""
    known = {_identity(sample) for sample in own}
    found = {_identity(image.sample): image for run in runs for image in training_images_of(run)}
    return [image for key, image in found.items() if key not in known]


def _identity(sample: Sample) -> tuple[str, str, str]:
    return sample.dataset, sample.patient, sample.sha256 or sample.path


def audit_against(
    images: Sequence[TrainingImage], dataset: Dataset, *, chosen: np.ndarray | None = None
) -> Leak:
    """What a dataset, or its `chosen` images (images,), shares with images that a run was trained on or
    chosen by."""
    hashes = hash_table([image.perceptual for image in images], [image.blank for image in images])
    return audit_between(dataset, [image.sample for image in images], hashes, chosen=chosen)[0]
