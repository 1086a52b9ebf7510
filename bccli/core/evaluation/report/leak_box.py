"""What splits of a dataset share, and pictures under two labels, as pairs of images side by side."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bccli.core.data.audit import audit_all
from bccli.core.data.audit_pairs import COLUMNS, NEAR, Pair, split_or_fold
from bccli.core.data.dataset import AUDIT_FILE, Dataset
from bccli.core.data.leakage import leak_sentences
from bccli.core.data.lookalikes import IDENTICAL, SIMILAR
from bccli.core.data.manifest import Sample
from bccli.core.errors import BccliError
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.album import Album, Picture
from bccli.core.evaluation.report.run_data import RunData
from bccli.core.reading.texts import table_rows

MOST = 8
"""Pairs that are shown."""
_KINDS = {IDENTICAL: "the same pixels", SIMILAR: "one picture, as it seems", NEAR: "much alike"}


@dataclass(frozen=True)
class Side:
    """One image of a pair."""

    name: str
    label: str
    split: str
    patient: str
    picture: Picture | None


@dataclass(frozen=True)
class ShownPair:
    """Two images that are alike, in words how, and whether their labels contradict each other."""

    how: str
    conflict: bool
    sides: tuple[Side, Side]


@dataclass(frozen=True)
class LeakBox:
    """The audit of a dataset: its sentences, some pairs, contradictions first, and how many there are of
    these and of the others."""

    data: str
    sentences: tuple[str, ...]
    pairs: tuple[ShownPair, ...]
    conflicts: int
    others: int


def leak_box(data: RunData, album: Album) -> LeakBox | Absent:
    """The leak box of a dataset."""
    dataset = data.dataset
    try:
        findings = list(audit_all([dataset]))
        known = list(_stored_conflicts(dataset))
    except (BccliError, OSError) as error:
        return Absent(f"The audit of {dataset.root} cannot be made: {error}.")
    crossing = [pair for finding in findings for pair in finding.pairs]
    conflicts = list(_each_once([*(pair for pair in crossing if pair.conflict), *known]))
    others = [pair for pair in _each_once(crossing) if not pair.conflict]
    sentences = [s for finding in findings for s in leak_sentences({finding.split: finding.leak.to_json()})]
    shown = _spread(conflicts, others)
    return LeakBox(
        str(dataset.root),
        tuple(sentences),
        tuple(_shown(pair, dataset.root, album) for pair in shown),
        len(conflicts),
        len(others),
    )


def _spread(conflicts: list[Pair], others: list[Pair]) -> list[Pair]:
    """Some pairs of both kinds, as many of one as the other leaves room for."""
    room = max(MOST // 2, MOST - len(others))
    first = conflicts[:room]
    return first + others[: MOST - len(first)]


def _each_once(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Pairs without those that stand there in the other order, too."""
    known: set[frozenset[str]] = set()
    for pair in pairs:
        key = frozenset(sample.path or sample.source for sample in (pair.one, pair.other))
        if key not in known:
            known.add(key)
            yield pair


def _stored_conflicts(dataset: Dataset) -> Iterator[Pair]:
    """Contradictions that `prepare` has listed, those of images within one split and of left-out ones too."""
    path = dataset.root / AUDIT_FILE
    if not path.is_file():
        return
    samples = {sample.path: sample for sample in dataset.samples}
    for _, row in table_rows(path, "prepare the dataset again", COLUMNS):
        one, other = (_sample(row, side, samples) for side in "ab")
        if row["kind"] in _KINDS and one.label != other.label:
            pair = Pair(row["kind"], one, other, similarity=_number(row["similarity"]))
            if pair.conflict:
                yield pair


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _sample(row: dict[str, str], side: str, samples: dict[str, Sample]) -> Sample:
    """The image of a row as the manifest has it; of one that was left out, what the row says."""
    left_out = Sample(
        source=row[f"source_{side}"], label=row[f"label_{side}"], patient=row[f"patient_{side}"]
    )
    return samples.get(row[f"path_{side}"], left_out)


def _shown(pair: Pair, root: Path, album: Album) -> ShownPair:
    sides = [_side(sample, root, album) for sample in (pair.one, pair.other)]
    how = _KINDS.get(pair.kind, pair.kind)
    alike = "" if pair.similarity in (None, 1.0) else f", similarity {pair.similarity:.2f}"
    return ShownPair(how + alike, pair.conflict, (sides[0], sides[1]))


def _side(sample: Sample, root: Path, album: Album) -> Side:
    picture = album.picture(album.pixels(root, sample)) if sample.path else None
    split = split_or_fold(sample) if sample.path else "left out"
    return Side(sample.source or sample.path, sample.label, split, sample.patient, picture)
