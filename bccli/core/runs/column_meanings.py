"""Columns of other tools' tables that may mean what a column of ours means, under another name."""

import re
from collections.abc import Iterator, Mapping, Sequence

from bccli.core.data.foreign_tables import split_of
from bccli.core.data.patients import known_patient

Columns = Mapping[str, Sequence[str]]

_PATIENT = re.compile(
    r"(?:anon(?:ymi[sz]ed)?)?patients?(?:id|ids|identifier|no|nr|num|number|code|key|name)?"
)
"""Names of columns that can only mean the patient, in small letters and digits."""
_PERSON = re.compile(
    r"(?:case|subject|participant|person|individual|woman|donor|client|mrn|pid|study|exam|medicalrecord)s?"
    r"(?:id|ids|identifier|no|nr|num|number|code|key)?"
)
"""Names of columns that may mean the patient, or one of several images or examinations of one."""
_SPLIT = re.compile(r"(?:sub|data)?(?:set|split)s?|partition|phase|stage|fold|usage")


def _bare(column: str) -> str:
    return re.sub(r"[\W_]+", "", column).casefold()


def patients_in(columns: Columns) -> tuple[Sequence[str] | None, list[str]]:
    """What a table says of patients, None where nothing, and what has to be said of where that was found.

    The column is `patient`. Where it is not there, another one whose name can mean nothing else is taken.
    """
    given = columns.get("patient")
    if given is not None and any(map(known_patient, given)):
        return given, [*_contradicted(given, columns), *_shortened(given)]
    there = [name for name, cells in columns.items() if name != "patient" and any(map(known_patient, cells))]
    sure = [name for name in there if _PATIENT.fullmatch(_bare(name))]
    if len(sure) == 1 and given is None:
        return columns[sure[0]], [f"patients are those of the column {sure[0]}"]
    maybe = sure or [name for name in there if _PERSON.fullmatch(_bare(name))]
    if not maybe:
        return given, []
    these = f"column {maybe[0]}" if len(maybe) == 1 else f"columns {' and '.join(maybe)}"
    hint = (
        f"the {these} may say whose images are, and nobody is taken for a patient by it: call the column of "
        "patients patient"
    )
    return given, [hint]


def _contradicted(given: Sequence[str], columns: Columns) -> Iterator[str]:
    """Which other column of patients groups rows otherwise than `patient` does."""
    for name, cells in columns.items():
        if name == "patient" or not _PATIENT.fullmatch(_bare(name)) or not any(map(known_patient, cells)):
            continue
        pairs = len(set(zip(given, cells, strict=True)))
        if pairs > min(len(set(given)), len(set(cells))):
            yield f"patients are those of the column patient, and {name} names others for some rows"


def _shortened(patients: Sequence[str]) -> Iterator[str]:
    """That a spreadsheet has cut the numbers of patients, so that several may have become one."""
    if found := next((patient for patient in patients if _SHORTENED.fullmatch(patient.strip())), ""):
        yield (
            f"patients such as {found} are numbers that a spreadsheet has shortened, and one may stand for "
            "several: export them as text"
        )


_SHORTENED = re.compile(r"[0-9][.,][0-9]+E\+[0-9]+", re.IGNORECASE)


def splits_hint(columns: Columns) -> Iterator[str]:
    """Which column seems to be the split, where none is called so: all rows are measured alike."""
    if any(columns.get("split", ())):
        return
    for name, cells in columns.items():
        given = set(cells) - {""}
        if _SPLIT.fullmatch(_bare(name)) and len(given) > 1 and all(map(split_of, given)):
            yield f"the column {name} seems to be the split, and all rows are measured: call it split"


def owners_hint(columns: Columns) -> Iterator[str]:
    """That the column `group` of another tool joins rows."""
    groups = set(columns.get("group", ())) - {""}
    if groups:
        yield (
            f"rows of one group, of which there are {len(groups):,}, are drawn as one in intervals: if the "
            "column group is not of images that belong together, give it another name"
        )
