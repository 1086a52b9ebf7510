"""The end of `prepare` and `augment`: journals become manifest, quarantine, preview and audit."""

import csv
import io
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.auditing import keep_looks, looks_path
from bccli.core.census import Background, Census
from bccli.core.chunks import JOURNALS, read_entries
from bccli.core.errors import DataError
from bccli.core.files import replacing, write_bytes
from bccli.core.leakage import Traits, audit_folds, audit_splits
from bccli.core.preview import Selection, draw_preview
from bccli.core.records import COLUMNS, SPLITS, ContentHash, Sample
from bccli.core.remarks import Remarks
from bccli.core.stats import draw_stats
from bccli.core.surveying import Survey
from bccli.core.verification import Tally
from bccli.core.watching import Watcher

_LEFT_OUT = ("copy", "other_view")
"""What readers leave out that counts as excluded."""
EXCLUSIONS = {
    "no_tissue": "have no patch with enough tissue",
    "no_region": "have no mask, and so no region to cut out",
    "aspect_ratio": "have an aspect ratio outside of --aspect",
}
"""Why the method leaves out an image, in the words of a warning."""


@dataclass
class _Tally:
    """What grows while the journals are read: a few numbers per image, counters and the content hash."""

    patients: dict[str, int]
    content: ContentHash = field(default_factory=ContentHash)
    folds: bool = False
    census: Census = field(default_factory=Census)
    seen: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    part: array = field(default_factory=lambda: array("i"))
    patient: array = field(default_factory=lambda: array("i"))
    pixels: array = field(default_factory=lambda: array("Q"))
    perceptual: array = field(default_factory=lambda: array("Q"))
    blank: array = field(default_factory=lambda: array("b"))
    parent: array = field(default_factory=lambda: array("i"))
    blank_sources: Remarks = field(default_factory=Remarks)
    original: tuple[str, int] = "", -1  # the last one's path and row: children follow theirs

    def add(self, sample: Sample, perceptual: int, blank: bool) -> None:
        self.content.add(sample)
        part = part_of(sample)
        self.folds |= sample.fold is not None
        number = self.patients[sample.patient] if sample.patient else -1
        self.census.add(sample, part)
        self.seen.setdefault((part, sample.label), set()).update([number] if number >= 0 else [])
        if not sample.parent:
            self.original = sample.path, len(self.parent)
        self.parent.append(self.original[1] if sample.parent == self.original[0] else -1)
        self.part.append(SPLITS.index(sample.split) if sample.split else sample.fold or 0)
        self.patient.append(number)
        self.pixels.append(int(sample.sha256[:16], 16))
        self.perceptual.append(perceptual)
        self.blank.append(blank)

    def traits(self) -> Traits:
        return Traits(
            patients=np.array(self.patient, np.int32),
            pixels=np.array(self.pixels, np.uint64),
            perceptual=np.array(self.perceptual, np.uint64),
            blank=np.array(self.blank, bool),
            parents=np.array(self.parent, np.int32),
        )


def part_of(sample: Sample) -> str:
    """The split of a sample, or `fold K`."""
    return sample.split or ("" if sample.fold is None else f"fold {sample.fold}")


def merge(out: Path, found: Survey, watcher: Watcher) -> dict[str, Any]:
    """Write all but dataset.json; returns what the journals add to it. DataError where a class is lost."""
    tally = _Tally({name: number for number, name in enumerate(found.names)})
    selection = Selection(found.classes)
    left_out = _write_tables(out, tally, selection, found.tally)
    for label in found.classes:
        if not any(count for (_, name), count in tally.census.images.items() if name == label):
            raise DataError(f"{out}: no image of class {label} {_why_none(out, left_out)}")
    write_bytes(out / "preview.png", draw_preview(out, selection))
    background = found.background()
    write_bytes(out / "stats.png", draw_stats(tally.census, found.classes, background))
    excluded = {remark.kind: remark.count for remark in found.tally.remarked() if remark.kind in _LEFT_OUT}
    excluded |= {kind: left_out[kind] for kind in EXCLUSIONS if left_out[kind]}
    traits = tally.traits()
    audit = audit_of(traits, np.array(tally.part, np.int32), folds=tally.folds)
    looks = looks_path(out / ".cache", tally.content.hexdigest())
    keep_looks(looks, np.array(tally.perceptual, np.uint64), traits.blank)
    return {
        "counts": _counts(tally, found.classes),
        **_ages(background),
        "sources": left_out["read"] + sum(left_out[kind] for kind in EXCLUSIONS),
        "quarantined": left_out["bad"],
        "excluded": excluded,
        "unstained": left_out["unstained"],
        "blank": asdict(tally.blank_sources) if tally.blank_sources.count else None,
        "remarks": {
            remark.kind: {"count": remark.count, "first": list(remark.first)}
            for remark in found.tally.remarked()
        },
        "audit": audit,
        "content_hash": tally.content.hexdigest(),
    }


def _why_none(out: Path, left_out: Counter[str]) -> str:
    """Why a class has no image, after its name."""
    kinds = [kind for kind in EXCLUSIONS if left_out[kind]]
    if not kinds:
        return f"could be read; see {out / 'quarantine.csv'}"
    reasons = ", ".join(f"{left_out[kind]} images {EXCLUSIONS[kind]}" for kind in kinds)
    return f"is left: {reasons}; choose another --task or other steps"


def _ages(background: Background) -> dict[str, Any]:
    """Mean ages in years as stored in dataset.json; nothing where no patient's age is known."""
    if not background.ages:
        return {}
    groups = {"": background.ages, **background.class_ages}
    return {
        "ages": [
            {"label": label, "patients": len(ages), "mean": round(sum(ages) / len(ages), 2)}
            for label, ages in groups.items()
        ]
    }


def audit_of(traits: Traits, parts: np.ndarray, *, folds: bool) -> dict[str, Any]:
    """The audit as stored in dataset.json: what crosses into test and val, or between folds."""
    if folds:
        return {"folds": audit_folds(traits, parts).to_json()}
    return {split: leak.to_json() for split, leak in audit_splits(traits, parts).items()}


def _counts(tally: _Tally, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Images and patients per split or fold and class, in the order of both."""
    order = {split: number for number, split in enumerate(SPLITS)}
    keys = sorted(
        tally.census.images, key=lambda key: (order.get(key[0], len(key[0])), key[0], classes.index(key[1]))
    )
    return [
        {
            "part": part,
            "label": label,
            "images": tally.census.images[part, label],
            "patients": len(tally.seen[part, label]) or None,
        }
        for part, label in keys
    ]


def _journals(out: Path) -> Iterator[Path]:
    yield from sorted(path for path in (out / JOURNALS).glob("*.json") if path.stem.isdecimal())


def _write_tables(out: Path, tally: _Tally, selection: Selection, remarked: Tally) -> Counter[str]:
    """Stream the journals into manifest.csv and quarantine.csv; returns how many are bad, excluded, …

    What was remarked upon in the making is added to what the reader `remarked` upon.
    """
    left_out: Counter[str] = Counter()
    with ExitStack() as stack:
        manifest = _writer(stack, out / "manifest.csv", COLUMNS)
        quarantine = None
        for journal in _journals(out):
            entries = read_entries(journal)
            for prepared in entries.prepared:
                manifest.writerow(prepared.sample.to_row())
                tally.add(prepared.sample, prepared.perceptual, prepared.blank)
                selection.add(prepared.sample)
            if entries.bad and quarantine is None:
                quarantine = _writer(stack, out / "quarantine.csv", ("path", "reason"))
            if quarantine is not None:
                quarantine.writerows(entries.bad)
            for source, what in entries.blank:
                tally.blank_sources.add(source, what)
            for source, kind in entries.remarked:
                remarked.remark(source, kind)
            left_out["read"] += len({prepared.sample.source for prepared in entries.prepared})
            left_out.update(entries.excluded)
            for kind in ("bad", "unstained"):
                left_out[kind] += len(getattr(entries, kind))
    return left_out


def _writer(stack: ExitStack, path: Path, header: tuple[str, ...]) -> Any:
    binary = stack.enter_context(replacing(path))
    text = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
    stack.callback(text.detach)
    stack.callback(text.flush)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    return writer
