"""Samples with what the headers of their DICOM files say, where no list says it."""

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from bccli.core.data.manifest import Metadata, Sample
from bccli.core.datasets.layout.image_files import is_image_name
from bccli.core.imaging.formats.decoding import DICOM_SUFFIXES
from bccli.core.imaging.formats.dicom_tags import read_tags

COLUMNS = ("scanner", "age")
"""The metadata that headers say; they also say view and side."""


def may_be_dicom(name: str) -> bool:
    """Whether an image may be DICOM by its name, which other formats' endings rule out."""
    return not is_image_name(name) or os.path.splitext(name)[1].lower() in DICOM_SUFFIXES


def with_tags(sample: Sample, root: Path, columns: Collection[str]) -> tuple[Sample, Metadata]:
    """A sample of a file below `root` with its view and side, if it has none, and those of `columns` that
    the header says; and what was added to its metadata."""
    if not may_be_dicom(sample.source):
        return sample, ()
    tags = read_tags(root / sample.source)
    more = tuple((name, text) for name in columns if (text := getattr(tags, name)))
    return replace(
        sample,
        view=sample.view or tags.view,
        side=sample.side or tags.side,
        metadata=(*sample.metadata, *more),
    ), more
