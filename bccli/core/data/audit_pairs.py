"""audit.csv: pairs of images that look alike or contradict each other, by the user's own file names."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core.data.image_batches import pixels_of
from bccli.core.data.leakage import ImageFacts, Leak
from bccli.core.data.lookalikes import IDENTICAL, SIMILAR
from bccli.core.data.manifest import Sample
from bccli.core.files import write_text
from bccli.core.imaging.likeness import ALIKE, probe_hashes, similarity, small_grey

COLUMNS = (
    "kind",
    *(f"{name}_{side}" for name in ("path", "source", "label", "split", "patient") for side in "ab"),
    "distance",
    "similarity",
)
NEAR = "near_duplicate"
"""A pair whose hashes are close, of images whose patients are known: nobody is joined by it."""
_REGISTERED = 2000
"""So many near-duplicates of one audit are registered; of more, the similarity stays empty."""
_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """An image and the first one of its picture; `similarity` is None where it was not measured."""

    kind: str
    one: Sample
    other: Sample
    distance: int = 0
    similarity: float | None = 1.0

    @property
    def conflict(self) -> bool:
        """Whether one picture has two labels."""
        same = self.kind in (IDENTICAL, SIMILAR) or (self.similarity or 0) >= ALIKE
        return same and self.one.label != self.other.label

    def to_row(self) -> list[str]:
        """Its cells in the order of `COLUMNS`."""
        both = (self.one, self.other)
        splits = [split_or_fold(sample) for sample in both]
        cells = [getattr(sample, name) for name in ("path", "source", "label") for sample in both]
        measured = "" if self.similarity is None else f"{self.similarity:.4f}"
        patients = [sample.patient for sample in both]
        return [self.kind, *cells, *splits, *patients, str(self.distance), measured]


def split_or_fold(sample: Sample) -> str:
    """The split of a sample, or `fold K`."""
    return sample.split or ("" if sample.fold is None else f"fold {sample.fold}")


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write audit.csv, contradictions first."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(pair.to_row() for pair in sorted(pairs, key=lambda pair: not pair.conflict))
    write_text(path, stream.getvalue())


def conflicts_json(pairs: Sequence[Pair]) -> dict[str, Any]:
    """How many pairs and images contradict each other, and the first of them by name.

    Both images of the pairs `kept` are in the dataset; of the others, one at least was left out.
    """
    found = [pair for pair in pairs if pair.conflict]
    images = {sample.source or sample.path for pair in found for sample in (pair.one, pair.other)}
    return {
        "pairs": len(found),
        "kept": sum(bool(pair.one.path and pair.other.path) for pair in found),
        "images": len(images),
        "examples": [[pair.one.source, pair.other.source] for pair in found[:_SHOWN]],
    }


def conflict_sentence(conflicts: Mapping[str, Any], where: str) -> str:
    """The contradictions in words; `where` lists them."""
    number = conflicts["pairs"]
    pairs = "1 pair of images shows" if number == 1 else f"{number} pairs of images show"
    named = ", ".join(" = ".join(pair) for pair in conflicts["examples"])
    more = ", …" if number > len(conflicts["examples"]) else ""
    return f"{pairs} one picture under two labels ({named}{more}); {where}"


def registered(pairs: Sequence[Pair], root: Path, others: Path | None = None) -> Iterator[Pair]:
    """Near-duplicates of prepared images, with their similarity where there are not too many of them.

    The first of each lie below `root`, their partners below `others`, by default there, too.
    """
    for number, pair in enumerate(pairs):
        if number >= _REGISTERED:
            yield replace(pair, similarity=None)
            continue
        value = compare_images(pixels_of(root, pair.one), pixels_of(others or root, pair.other))
        yield replace(pair, similarity=value)


def crossing_pairs(
    leak: Leak, facts: ImageFacts, samples: Sequence[Sample], root: Path, others: Path | None = None
) -> tuple[Pair, ...]:
    """What a leak of prepared images holds, as pairs; augmented relatives left out. As `registered`."""
    near = [
        Pair(NEAR, samples[row], samples[partner], facts.distance(row, partner))
        for row, partner in leak.pairs
        if not (samples[row].parent or samples[partner].parent)
    ]
    equal = (Pair(IDENTICAL, samples[row], samples[partner]) for row, partner in leak.equal)
    return (*equal, *registered(near, root, others))


def compare_images(one: np.ndarray, other: np.ndarray) -> float:
    """The structural similarity of two images uint8 after registration."""
    greys = small_grey(one), small_grey(other)
    probes = [probe_hashes(grey) for grey in greys]
    distances = [np.bitwise_count(probes[side] ^ probes[1 - side][0]) for side in (0, 1)]
    side = int(distances[1].min() < distances[0].min())
    return similarity(greys[side], greys[1 - side], int(distances[side].argmin()))
