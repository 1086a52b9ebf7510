"""Any images in one folder per class, with splits and masks where the folders' names say so."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bccli.core.data.manifest import Sample, join_masks
from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.layout.class_names import DistinctNames
from bccli.core.datasets.layout.folders import find_layout
from bccli.core.datasets.layout.image_files import dataset_files
from bccli.core.datasets.layout.listings import ImagePatients
from bccli.core.datasets.layout.masks_beside import MasksBeside
from bccli.core.datasets.layout.named_after import NamedAfter
from bccli.core.errors import UsageError


def read_folder(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the images with their masks, in the order of their paths.

    Raises DataError where the folders are no classes, two of them are one, or one holds another's masks.
    """
    files = dataset_files(source, skip)
    layout, masks, labels = find_layout(source), MasksBeside(source), DistinctNames()
    patients, twins = _patients(reading), NamedAfter(lambda name: skip(name, "twin"))
    for name in files:
        if masks.is_mask(name):
            skip(name, "orphan_mask" if masks.is_orphan(name) else "mask")
            continue
        label, split = layout.label_and_split(name)
        if not label:
            skip(name)
            continue
        if label not in labels:
            labels.add(label, f"{source / layout.class_folder(name)}")
        if twin := masks.twin_of(name):
            twins.add(name, twin)
        patient = patients.find(name)
        if patient is None:
            skip(name, patients.lacking)
        yield Sample(
            label=label,
            split=split,
            patient=patient or "",
            dataset="folder",
            source=name,
            mask=join_masks(masks.masks_of(name)),
        )
    patients.check()


class _Patients(Protocol):
    """A source of patients; `lacking` is the remark about an image that has none."""

    lacking: str

    def find(self, name: str) -> str | None:
        """The patient of an image, None where there is none."""

    def check(self) -> None:
        """Raise where no image has a patient."""


def _patients(reading: Reading) -> _Patients:
    if reading.patient_list:
        return ImagePatients(reading.patient_list)
    return _InPaths(reading.patient_regex) if reading.patient_regex else _Unknown()


class _Unknown:
    """Nobody knows the patients."""

    lacking = ""

    def find(self, name: str) -> str:
        return ""

    def check(self) -> None:
        return


class _InPaths:
    """Takes patients from an image's path by an expression: its group, or without one the whole match."""

    lacking = "unmatched"

    def __init__(self, expression: str) -> None:
        try:
            self._pattern = re.compile(expression)
        except re.error as error:
            raise UsageError(f"--patient-regex {expression!r} is no regular expression: {error}") from None
        self._found, self._example = False, ""

    def find(self, name: str) -> str | None:
        match = self._pattern.search(name)
        groups = (match.groups() or (match.group(),)) if match else ()
        patient = next((group for group in groups if group), None)
        self._found |= patient is not None
        self._example = self._example or name
        return patient

    def check(self) -> None:
        """Raises UsageError where nothing was found in any path."""
        if self._example and not self._found:
            raise UsageError(
                f"--patient-regex {self._pattern.pattern!r} finds no patient in any path below SOURCE, "
                f"such as {self._example!r}; correct it"
            )
