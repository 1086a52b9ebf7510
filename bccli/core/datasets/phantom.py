"""phantom: synthetic images with nothing to download; a sample's source name is all it takes to draw it.

A source is `KIND/PATIENT/slideN/PATIENT_sN_NUMBER_LABEL.png` and names no file.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.loading import Raw
from bccli.core.errors import DataError
from bccli.core.imaging.phantoms import LABELS, SCENE, VIEWS, draw_phantom, find_kind

_SOURCE = re.compile(
    r"(?P<kind>[^/]+)/P(?P<patient>\d+)/slide(?P<slide>\d+)/"
    r"P(?P=patient)_s(?P=slide)_(?P<number>\d+)_(?P<label>[^/_]+)\.png"
)


def read_phantom(kind: str, *, count: int, patients: int, seed: int) -> Iterator[Sample]:
    """Yield `count` samples of the kind, patient by patient, spread evenly over the patients.

    Patients alternate between benign and malignant; the slides of two patients in four are 2, of
    the others 3, in both classes alike. Raises DataError for an unknown kind or impossible numbers.
    """
    find_kind(kind)
    _check_numbers(count, patients, seed)
    for patient in range(1, patients + 1):
        images = count // patients + (patient <= count % patients)
        slides = 2 + (patient - 1) // 2 % 2
        for image in range(images):
            yield _describe(kind, patient, 1 + image * slides // images, image + 1)


def _check_numbers(count: int, patients: int, seed: int) -> None:
    """Raise DataError unless both classes get a patient, every patient an image, and the seed can draw."""
    if seed < 0:
        raise DataError(f"phantom: seed {seed} is negative; use 0 or more")
    if count < 1 or patients < 1:
        raise DataError(f"phantom: {count} images of {patients} patients; both numbers must be positive")
    if patients < len(LABELS):
        raise DataError("phantom: 1 patient makes 1 class; ask for at least 2 patients")
    if count < patients:
        raise DataError(
            f"phantom: {count} images are too few for {patients} patients; ask for at least one each"
        )


def _describe(kind: str, patient: int, slide: int, number: int) -> Sample:
    """The sample of one image, numbered from 1 within its patient."""
    label = LABELS[(patient - 1) % len(LABELS)]
    name = f"P{patient:03d}"
    view, side = VIEWS[(slide - 1) % len(VIEWS)] if kind == "mammography" else ("", "")
    return Sample(
        label=label,
        patient=name,
        dataset="phantom",
        source=f"{kind}/{name}/slide{slide}/{name}_s{slide}_{number:03d}_{label}.png",
        view=view,
        side=side,
    )


def draw_sample(
    source: str, *, seed: int, size: tuple[int, int] = (SCENE, SCENE)
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw the image and the mask that a sample's `source` names.

    `size` is (width, height) in pixels; the image is height × width × 3, the mask height × width
    of 0 and 255. Raises DataError for a name that no phantom has.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise DataError(f"{source}: not the name of a phantom; take it from the manifest's column source")
    patient, slide, number = (int(match[group]) for group in ("patient", "slide", "number"))
    return draw_phantom(
        match["kind"], match["label"], seed=seed, patient=patient, slide=slide, number=number, size=size
    )


def read_kind(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """`read_phantom` as a reader of `bccli prepare`: `source` is the kind."""
    return read_phantom(str(source), count=reading.count, patients=reading.patients, seed=reading.seed)


def load_phantom(sample: Sample, source: Path, reading: Reading) -> Raw:
    """`draw_sample` as a loader of `bccli prepare`."""
    return Raw(*draw_sample(sample.source, seed=reading.seed))
