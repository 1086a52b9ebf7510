"""The first pass over a raw dataset: hashes of whole decoded images, before anything is made of them.

They are stored beside the unfinished dataset, some images to a file, so that a killed pass goes on where it
was. Each shard begins with its own share and goes on with what the others have not done yet, so that it need
not wait for them.
"""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.catalog import DATASETS
from bccli.core.data.dataset import JOURNALS_FOLDER
from bccli.core.data.lookalikes import ImageHashes, Lookalikes
from bccli.core.data.manifest import Sample
from bccli.core.datasets import Reading
from bccli.core.datasets.loading import load_raw, root_of
from bccli.core.errors import DataError, ImageError
from bccli.core.files import file_hash, write_bytes
from bccli.core.imaging.formats.colours import to_rgb
from bccli.core.imaging.formats.decoding import decode_deep
from bccli.core.imaging.hashes import grey_image, is_blank, pixel_hash
from bccli.core.imaging.likeness import SIDE, WINDOWS, probe_hashes, small_grey
from bccli.core.progress import Watcher
from bccli.core.reading.archives import read_arrays
from bccli.core.reading.regular_files import open_file
from bccli.core.reading.rows import find_rows, read_rows
from bccli.core.runs.shard import Shard
from bccli.core.runs.starts import counted, progressed
from bccli.core.workers import in_order

_PER_CHUNK = 64
_CHUNKS_IN_MEMORY = 256
_SAMPLE_BYTES = 1 << 16
_ENTRY = np.dtype(
    [
        ("pixels", "<u8"),
        ("usable", "?"),
        ("probes", "<u8", (len(WINDOWS),)),
        ("grey", "u1", (SIDE, SIDE)),
    ]
)


@dataclass(frozen=True)
class _Job:
    number: int
    samples: tuple[Sample, ...]
    source: Path
    reading: Reading
    folder: Path


@dataclass(frozen=True)
class Pass:
    """A pass over the raw dataset `source`, whose `samples` yields `count` samples to hash; `folder` stores
    the hashes."""

    samples: Callable[[], Iterator[Sample]]
    count: int
    source: Path
    reading: Reading
    folder: Path


def hashes_folder(out: Path) -> Path:
    """The folder of hashes of the unfinished dataset `out`."""
    return out / JOURNALS_FOLDER / "hashes"


def hash_images(work: Pass, shard: Shard, workers: int, watcher: Watcher) -> ImageHashes:
    """Hash the images that have no stored hash; unreadable ones get none. Raises Stopped after a signal."""
    work.folder.mkdir(parents=True, exist_ok=True)
    names: dict[int, str] = {}
    known = {name for name in os.listdir(work.folder) if not name.startswith("starts-")}
    starts = f"starts-{shard.in_names}-after-{len(known)}"
    with (
        counted(work.folder / starts, work.source),
        interruption.deferred(),
        watcher.track(work.count, "images looked at for copies") as advance,
        closing(in_order(_hash_chunk, _jobs(work, shard), workers)) as results,
    ):
        for number, name, count in results:
            names[number] = name
            advance(count)
            if name not in known:
                progressed()
            interruption.stop_if_requested()
    return _read(work.folder, [names[number] for number in sorted(names)])


def hash_copies(work: Pass, suspects: np.ndarray) -> ImageHashes:
    """Hashes of those images only, of the `suspects` (n,), whose files are equal to another's byte for byte.

    It reads some bytes of each file, and the whole file where another one has the same bytes.
    """
    root = root_of(work.source)
    paths = {row: root / sample.source for row, sample in enumerate(work.samples()) if suspects[row]}
    rows = list(paths)
    for read in (_middle, file_hash):
        contents = _each(read, [paths[row] for row in rows])
        often = Counter(contents)
        rows = [row for row, content in zip(rows, contents, strict=True) if content and often[content] > 1]
    pixels, usable = np.zeros(len(suspects), np.uint64), np.zeros(len(suspects), bool)
    shown = _each(_pixels_and_use, [paths[row] for row in rows])
    for row, (hashed, use) in zip(rows, shown, strict=True):
        pixels[row], usable[row] = hashed, use
    none = np.zeros((len(suspects), len(WINDOWS)), np.uint64)
    return ImageHashes(pixels, usable, none, lambda row: np.zeros((SIDE, SIDE), np.uint8))


def _each(work: Callable[[Any], Any], things: list[Any]) -> list[Any]:
    """Do the work on each thing by several threads, and return the results; a signal stops it."""
    found = []
    with interruption.deferred(), ThreadPoolExecutor() as pool:
        for result in pool.map(work, things):
            found.append(result)
            interruption.stop_if_requested()
    return found


def _middle(path: Path) -> bytes:
    """Some bytes in the middle of a file, behind headers that many have in common; none where it is gone."""
    try:
        with open_file(path) as stream:
            stream.seek(max(path.stat().st_size // 2 - _SAMPLE_BYTES // 2, 0))
            return hashlib.sha256(stream.read(_SAMPLE_BYTES)).digest()
    except OSError:
        return b""


def _pixels_and_use(path: Path) -> tuple[int, bool]:
    """An image's pixels hashed, and whether they can be read and are not blank."""
    try:
        image = to_rgb(decode_deep(path))
    except ImageError:
        return 0, False
    return int(pixel_hash(image)[:16], 16), not is_blank(image)


def write_lookalikes(path: Path, found: Lookalikes) -> None:
    """Store the lookalikes, on which all shards have to agree."""
    stream = io.BytesIO()
    np.savez(stream, of=found.of, distance=found.distance, similarity=found.similarity)
    write_bytes(path, stream.getvalue())


def read_lookalikes(path: Path, count: int) -> Lookalikes | None:
    """The lookalikes of `count` images that a shard has stored; None for none or damaged ones."""
    if not path.exists():
        return None
    with suppress(DataError):
        arrays = read_arrays(path)
        found = [arrays[name] for name in ("of", "distance", "similarity") if name in arrays]
        if [(table.shape, table.dtype.kind) for table in found] == [((count,), kind) for kind in "iif"]:
            of, distance, similarity = found
            if np.all((of >= 0) & (of < count)):
                return Lookalikes(of, distance, similarity)
    return None


def _jobs(work: Pass, shard: Shard) -> Iterator[_Job]:
    """All chunks: first those from the shard's own share on, then those before it."""
    chunks = -(-work.count // _PER_CHUNK)
    first = chunks * (shard.number - 1) // shard.count
    yield from (job for job in _chunks(work) if job.number >= first)
    if first:
        yield from (job for job in _chunks(work) if job.number < first)


def _chunks(work: Pass) -> Iterator[_Job]:
    samples: list[Sample] = []
    number = 0
    for sample in work.samples():
        samples.append(sample)
        if len(samples) == _PER_CHUNK:
            yield _Job(number, tuple(samples), work.source, work.reading, work.folder)
            samples, number = [], number + 1
    if samples:
        yield _Job(number, tuple(samples), work.source, work.reading, work.folder)


def _hash_chunk(job: _Job) -> tuple[int, str, int]:
    """Hash one chunk unless that is done. Returns (number, name of its file, images)."""
    name = f"{job.number:07d}-{_inputs_hash(job)}.npy"
    if not _is_whole(job.folder / name, len(job.samples)):
        table = np.zeros(len(job.samples), _ENTRY)
        for index, sample in enumerate(job.samples):
            interruption.stop_if_requested()
            try:
                image = to_rgb(_load(sample, job))
            except ImageError:
                continue
            table[index] = _entry(image)
        stream = io.BytesIO()
        np.save(stream, table, allow_pickle=False)
        write_bytes(job.folder / name, stream.getvalue())
    return job.number, name, len(job.samples)


def _is_whole(path: Path, count: int) -> bool:
    """Whether a chunk is there; a damaged one is made again."""
    try:
        found = find_rows(path, _ENTRY)
    except FileNotFoundError:
        return False
    return found is not None and found.count == count


def _load(sample: Sample, job: _Job) -> np.ndarray:
    """The whole image, without its mask where it lies in a file."""
    if DATASETS[sample.dataset].draws_masks:
        return load_raw(sample, job.source, job.reading)[0]
    return decode_deep(root_of(job.source) / sample.source)


def _entry(image: np.ndarray) -> tuple[int, bool, np.ndarray, np.ndarray]:
    """The hashes of an image uint8 (height, width, 3), its blankness, and its small grey image."""
    whole = np.asarray(grey_image(image))
    grey = small_grey(whole)
    return int(pixel_hash(image)[:16], 16), not is_blank(whole), probe_hashes(grey), grey


def _inputs_hash(job: _Job) -> str:
    """A hash of the chunk's files by name, size and time."""
    digest = hashlib.sha256()
    root = root_of(job.source)
    for sample in job.samples:
        try:
            status = os.stat(root / sample.source)
            state = f"{status.st_size},{status.st_mtime_ns}"
        except OSError:
            state = "-"
        digest.update(f"{sample.source}\x1f{state}\x1e".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _read(folder: Path, names: list[str]) -> ImageHashes:
    """The hashes of all chunks; small greys stay on the disk until one is asked for.

    Raises DataError where a chunk was damaged or removed meanwhile.
    """
    columns: dict[str, list[np.ndarray]] = {"pixels": [], "usable": [], "probes": []}
    for name in names:
        rows = _chunk(folder / name)
        for field, values in columns.items():
            values.append(rows[field].copy())
    recent = lru_cache(_CHUNKS_IN_MEMORY)(lambda number: _chunk(folder / names[number]))
    return ImageHashes(
        **{field: np.concatenate(values) for field, values in columns.items()},
        grey=lambda row: recent(row // _PER_CHUNK)[row % _PER_CHUNK]["grey"],
    )


def _chunk(path: Path) -> np.ndarray:
    """The rows of a chunk."""
    table = read_rows(path, _ENTRY) if path.exists() else None
    if table is None:
        raise DataError(f"{path}: was damaged or removed while it was used; run the same command again")
    return table
