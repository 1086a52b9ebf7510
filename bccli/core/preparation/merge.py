"""The end of `prepare` and `augment`: the journals become manifest, quarantine, preview and audit."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.audit import hashes_path, store_hashes
from bccli.core.data.audit_pairs import NEAR, Pair, conflicts_json, registered, write_pairs
from bccli.core.data.dataset import (
    AUDIT_FILE,
    CACHE_FOLDER,
    JOURNALS_FOLDER,
    MANIFEST_FILE,
    PREVIEW_FILE,
    QUARANTINE_FILE,
    STATS_FILE,
)
from bccli.core.data.leakage import ImageFacts, Leak, audit_folds, audit_splits
from bccli.core.data.lookalikes import IDENTICAL
from bccli.core.data.manifest import MANIFEST, SPLITS, Sample
from bccli.core.datasets.file_sizes import total_bytes
from bccli.core.datasets.verification import UNTOLD, Tally
from bccli.core.errors import DataError
from bccli.core.files import replacing, write_bytes
from bccli.core.preparation.chunks import read_entries
from bccli.core.preparation.counts import Background, Census, JournalTally
from bccli.core.preparation.preview_png import Selection, draw_preview
from bccli.core.preparation.stats_png import draw_stats
from bccli.core.preparation.survey import Survey, metadata_counts
from bccli.core.progress import Watcher

_LEFT_OUT = ("copy", "other_view", "other_task")
"""Images that readers leave out for these reasons count as excluded."""
EXCLUSIONS = {
    "no_tissue": "have no patch with enough tissue",
    "no_region": "have no mask, and so no region to cut out",
    "aspect_ratio": "have an aspect ratio outside of --aspect",
}
"""The reasons for which the method leaves out an image, in the words of a warning."""


def merge(
    out: Path, found: Survey, watcher: Watcher, pairs: tuple[Pair, ...] = (), *, positive: str
) -> dict[str, Any]:
    """Write all but dataset.json; returns what the journals add to it. DataError where a class is lost.

    `pairs` are raw images that show one picture, their paths those that they have in `out`; `positive` is
    the positive class.
    """
    tally = JournalTally({name: number for number, name in enumerate(found.names)})
    selection = Selection(found.classes)
    metadata = {**found.metadata, **(_tags(out) if found.films else {})}
    left_out = _write_tables(out, tally, selection, found.tally, [*metadata])
    for label in found.classes:
        if not any(count for (_, name), count in tally.census.images.items() if name == label):
            raise DataError(f"{out}: no image of class {label} {_why_none(out, left_out)}")
    write_bytes(out / PREVIEW_FILE, draw_preview(out, selection))
    background = found.background(positive)
    write_bytes(out / STATS_FILE, draw_stats(tally.census, found.classes, background))
    excluded = {remark.kind: remark.count for remark in found.tally.remarked() if remark.kind in _LEFT_OUT}
    excluded |= {kind: left_out[kind] for kind in EXCLUSIONS if left_out[kind]}
    facts = tally.facts()
    leaks = audit_of(facts, np.array(tally.split_code, np.int32), folds=tally.folds)
    pairs = (*_with_paths(out, pairs), *_prepared_pairs(out, facts, leaks, pairs))
    if pairs:
        write_pairs(out / AUDIT_FILE, pairs)
    image_hashes = hashes_path(out / CACHE_FOLDER, tally.content.hexdigest())
    store_hashes(image_hashes, np.array(tally.perceptual, np.uint64), facts.blank)
    return {
        "counts": counts_of(tally.census, found.classes),
        **_ages(background),
        "sources": left_out["read"] + sum(left_out[kind] for kind in EXCLUSIONS),
        "quarantined": left_out["bad"],
        "excluded": excluded,
        "unstained": left_out["unstained"],
        "blank": asdict(tally.blank_sources) if tally.blank_sources.count else None,
        "remarks": {
            remark.kind: {
                "count": remark.count,
                "first": [] if remark.kind in UNTOLD else list(remark.first),
            }
            for remark in found.tally.remarked()
        },
        "audit": {split: leak.to_json() for split, leak in leaks.items()},
        "conflicts": conflicts_json(pairs),
        **({"metadata": told} if (told := metadata_counts(metadata)) else {}),
        "content_hash": tally.content.hexdigest(),
        "bytes": total_bytes(out),
    }


def _why_none(out: Path, left_out: Counter[str]) -> str:
    """Explain why a class has no image, in words that follow its name."""
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


def audit_of(facts: ImageFacts, codes: np.ndarray, *, folds: bool) -> dict[str, Leak]:
    """The leaks into test and val, or between folds; `codes` (images,) are numbers of splits or folds."""
    return {"folds": audit_folds(facts, codes)} if folds else audit_splits(facts, codes)


def _with_paths(out: Path, pairs: Sequence[Pair]) -> Iterator[Pair]:
    """The pairs with their images as the manifest has them; an image that was left out has no path."""
    wanted = {sample.path for pair in pairs for sample in (pair.one, pair.other) if sample.path}
    there = {sample.path: sample for _, sample in _rows(out) if sample.path in wanted} if wanted else {}
    for pair in pairs:
        one, other = (there.get(sample.path, replace(sample, path="")) for sample in (pair.one, pair.other))
        yield replace(pair, one=one, other=other)


def _prepared_pairs(
    out: Path, facts: ImageFacts, leaks: dict[str, Leak], known: Sequence[Pair]
) -> Iterator[Pair]:
    """Pairs that only the prepared images show: those of equal pixels, and those alike across splits.

    Augmented copies are left out, as they look like their originals.
    """
    originals = (facts.parents < 0) & ~facts.blank
    rows = np.flatnonzero(originals)
    _, first, indices = np.unique(facts.pixels[rows], return_index=True, return_inverse=True)
    equal = [
        pair for pair in zip(rows.tolist(), rows[first[indices]].tolist(), strict=True) if len(set(pair)) > 1
    ]
    near = [pair for leak in leaks.values() for pair in leak.pairs if originals[list(pair)].all()]
    wanted = {row for pair in (*equal, *near) for row in pair}
    samples = {row: sample for row, sample in _rows(out) if row in wanted} if wanted else {}
    listed = {frozenset((pair.one.source, pair.other.source)) for pair in known}

    def new(kind: str, rows: Sequence[tuple[int, int]]) -> Iterator[Pair]:
        for row, partner in rows:
            one, other = samples[row], samples[partner]
            if frozenset((one.source, other.source)) in listed:
                continue
            if one.source != other.source or one.label != other.label:
                bits = 0 if kind == IDENTICAL else facts.distance(row, partner)
                yield Pair(kind, one, other, bits)

    yield from new(IDENTICAL, equal)
    yield from registered(list(new(NEAR, near)), out)


def _rows(out: Path) -> Iterator[tuple[int, Sample]]:
    """The rows of the manifest with their numbers."""
    entries = (prepared for journal in _journals(out) for prepared in read_entries(journal).prepared)
    return ((number, prepared.sample) for number, prepared in enumerate(entries))


def counts_of(census: Census, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Images and patients per split or fold and class, in the order of both."""
    order = {split: number for number, split in enumerate(SPLITS)}
    keys = sorted(
        census.images, key=lambda key: (order.get(key[0], len(key[0])), key[0], classes.index(key[1]))
    )
    return [
        {
            "part": split,
            "label": label,
            "images": census.images[split, label],
            "patients": census.patients_of(split, label) or None,
        }
        for split, label in keys
    ]


def _journals(out: Path) -> Iterator[Path]:
    yield from sorted(path for path in (out / JOURNALS_FOLDER).glob("*.json") if path.stem.isdecimal())


def _tags(out: Path) -> dict[str, Counter[str]]:
    """How often the headers of images said each text, by column."""
    found: dict[str, Counter[str]] = {}
    for journal in _journals(out):
        for column, text in read_entries(journal).tags:
            found.setdefault(column, Counter())[text] += 1
    return found


def _write_tables(
    out: Path, tally: JournalTally, selection: Selection, remarked: Tally, metadata: Sequence[str]
) -> Counter[str]:
    """Stream the journals into manifest.csv and quarantine.csv; returns numbers of bad, excluded, … images.

    Remarks in the journals are added to those of the reader in `remarked`.
    """
    left_out: Counter[str] = Counter()
    with ExitStack() as stack:
        manifest = table_writer(stack, out / MANIFEST_FILE, (*MANIFEST, *metadata))
        quarantine = None
        for journal in _journals(out):
            entries = read_entries(journal)
            for prepared in entries.prepared:
                manifest.writerow(prepared.sample.to_manifest(metadata))
                tally.add(prepared.sample, prepared.perceptual, prepared.blank)
                selection.add(prepared.sample)
            if entries.bad and quarantine is None:
                quarantine = table_writer(stack, out / QUARANTINE_FILE, ("path", "reason"))
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


def table_writer(stack: ExitStack, path: Path, header: tuple[str, ...]) -> Any:
    """A CSV writer of a file that is complete once the stack is closed, or not there at all."""
    binary = stack.enter_context(replacing(path))
    text = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
    stack.callback(text.detach)
    stack.callback(text.flush)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    return writer
