"""Any images in one folder per class."""

import re
from collections.abc import Iterator
from pathlib import Path

from bccli.core.datasets import Reading, Skip
from bccli.core.datasets.walking import image_files
from bccli.core.errors import UsageError
from bccli.core.records import Sample


def read_folder(source: Path, reading: Reading, skip: Skip) -> Iterator[Sample]:
    """Yield the images; the first folder is the class, the patient is what the expression finds in the path.

    A group in the expression is the patient, without one the whole match; no match is an unknown patient.
    """
    pattern = _compile(reading.patient_regex)
    for name in image_files(source):
        label, _, rest = name.partition("/")
        if not rest:
            skip(name)
            continue
        match = pattern.search(name) if pattern else None
        patient = (match.group(1) if match.re.groups else match.group()) if match else ""
        yield Sample(label=label, patient=patient or "", dataset="folder", source=name)


def _compile(expression: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(expression) if expression else None
    except re.error as error:
        raise UsageError(f"--patient-regex {expression!r} is no regular expression: {error}") from None
