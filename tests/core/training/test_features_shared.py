"""Processes that share a cache: the features of each image are computed once, whoever wants which of them."""

import hashlib
import multiprocessing
import signal
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core import interruption
from bccli.core.data.manifest import Sample
from bccli.core.errors import Stopped
from bccli.core.progress import Watcher
from bccli.core.runs import division
from bccli.core.runs.feature_store import FeatureStore
from bccli.core.training import features
from bccli.core.training.features import FeatureKey, compute_vectors

KEY = FeatureKey("none", "none", "none", (1, 1))
BATCH = 8


@dataclass(frozen=True)
class Numbered:
    """Images that are numbers; those of one number have the same pixels."""

    numbers: tuple[int, ...]

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(Sample(f"{number}.png", "a", sha256=hash_of(number)) for number in self.numbers)

    def batches(self, order: np.ndarray, batch_size: int) -> Iterator[Any]:
        raise NotImplementedError

    arrays = batches

    def signature(self) -> Any:
        raise NotImplementedError


def hash_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


class Logging:
    """Makes of an image its number and logs that; before batch `stuck_at` it says so and goes no further."""

    width, batch_size = 2, BATCH

    def __init__(self, log: Path, stuck_at: int | None = None, stuck: Any = None) -> None:
        self.log, self.stuck_at, self.stuck = log, stuck_at, stuck
        self.batches = 0

    def vectors(self, images: Any, order: np.ndarray) -> Generator[np.ndarray, None, None]:
        for start in range(0, len(order), BATCH):
            self.before_batch()
            self.batches += 1
            numbers = [images.numbers[position] for position in order[start : start + BATCH]]
            with self.log.open("a") as stream:
                stream.write("".join(f"{number}\n" for number in numbers))
            yield np.array([[number, -number] for number in numbers], np.float32)

    def before_batch(self) -> None:
        if self.batches == self.stuck_at:
            self.stuck.set()
            multiprocessing.Event().wait()


def expected(numbers: tuple[int, ...]) -> np.ndarray:
    return np.array([[number, -number] for number in numbers], np.float32)


def compute(
    place: Path, name: str, sets: list[tuple[int, ...]], barrier: Any, stuck_at: int | None, stuck: Any
) -> None:
    """In a process of its own: the features of one set after the other, begun when all are there."""
    small_steps()
    barrier.wait(60)
    maker = Logging(place / f"{name}.log", stuck_at, stuck)
    for number, wanted in enumerate(sets):
        values = compute_vectors(Numbered(wanted), maker, KEY, place / "cache")
        assert isinstance(values, np.ndarray)
        np.save(place / f"{name}-{number}.npy", values)


def small_steps() -> None:
    """Chunks and buckets of few images, so that few images are many of them."""
    features.CHUNK, division.BUCKET = 2 * BATCH, BATCH


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "CHUNK", 2 * BATCH)
    monkeypatch.setattr(division, "BUCKET", BATCH)


def start(
    place: Path, works: list[list[tuple[int, ...]]], *, stuck_at: int | None = None, others: int = 0
) -> tuple[list[Any], Any, Any]:
    """A process for each work, of which the first is `stuck_at` a batch; `others` are at the barrier, too."""
    context = multiprocessing.get_context("spawn")
    barrier, stuck = context.Barrier(len(works) + others), context.Event()
    processes = [
        context.Process(
            target=compute,
            args=(place, str(number), sets, barrier, None if number else stuck_at, stuck),
        )
        for number, sets in enumerate(works)
    ]
    for process in processes:
        process.start()
    return processes, barrier, stuck


def computed(place: Path) -> Counter[int]:
    """How often each image was computed."""
    return Counter(int(line) for path in place.glob("*.log") for line in path.read_text().splitlines())


ALL = tuple(range(600))
SETS = {
    "the same": [[ALL]] * 3,
    "overlapping folds": [[ALL[:400]], [ALL[200:]], [ALL[:200] + ALL[400:]]],
    "a few and many": [[ALL[:5], ALL[100:110], ALL[:300]], [ALL], [ALL[::7], ALL[::3]]],
    "nothing in common": [[ALL[::3]], [ALL[1::3]], [ALL[2::3]]],
    "images twice": [[ALL[:100] * 2], [ALL[:100]], [ALL[50:150] * 3]],
}


@pytest.mark.parametrize("sets", SETS.values(), ids=SETS)
def test_three_processes_compute_each_image_once(tmp_path: Path, sets: list[list[tuple[int, ...]]]) -> None:
    processes, *locks = start(tmp_path, sets)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0], locks
    wanted = {number for work in sets for each in work for number in each}
    assert computed(tmp_path) == Counter(wanted)
    for name, work in enumerate(sets):
        for number, each in enumerate(work):
            np.testing.assert_array_equal(np.load(tmp_path / f"{name}-{number}.npy"), expected(each))
    assert not list((tmp_path / "cache").rglob(".claims*"))


def test_what_a_killed_process_had_not_stored_is_computed_by_others(tmp_path: Path) -> None:
    """It is killed with one chunk stored and one batch computed, while the others wait for it or work."""
    processes, _barrier, stuck = start(tmp_path, [[ALL]] * 3, stuck_at=3)
    assert stuck.wait(60)
    processes[0].kill()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [-signal.SIGKILL, 0, 0]
    counts = computed(tmp_path)
    lost = [int(line) for line in (tmp_path / "0.log").read_text().splitlines()[2 * BATCH :]]
    assert len(lost) == BATCH
    assert counts == Counter(ALL) + Counter(lost)
    np.testing.assert_array_equal(np.load(tmp_path / "1-0.npy"), expected(ALL))


class Noting(Watcher):
    """Hears the notes."""

    def __init__(self, on_note: Any = lambda text: None) -> None:
        self.notes: list[str] = []
        self.on_note = on_note

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.on_note(text)


def test_who_is_waited_for_is_said_and_a_signal_ends_the_wait(tmp_path: Path, small: None) -> None:
    """Another process has all that is left in its hands, and does not go on."""
    (other,), barrier, stuck = start(tmp_path, [[ALL]], stuck_at=0, others=1)
    barrier.wait(60)
    assert stuck.wait(60)
    watcher = Noting(lambda text: interruption.request(signal.SIGTERM))
    maker = Logging(tmp_path / "own.log")
    try:
        with pytest.raises(Stopped):
            compute_vectors(Numbered(ALL), maker, KEY, tmp_path / "cache", watcher=watcher)
    finally:
        interruption.forget()
        other.kill()
        other.join()
    (note,) = watcher.notes
    assert f"process {other.pid} on" in note
    done = computed(tmp_path)
    assert 500 < done.total() == len(done) < 600
    store = FeatureStore(tmp_path / "cache" / "features" / KEY.name, 2)
    assert sorted(store.missing(map(hash_of, ALL))) == sorted(hash_of(n) for n in ALL if n not in done)


class Signalled(Logging):
    """Gets a signal before a batch."""

    def before_batch(self) -> None:
        if self.batches == self.stuck_at:
            interruption.request(signal.SIGTERM)


@pytest.mark.parametrize("at", [0, 1, 2, 5, 20])
def test_a_signal_stores_what_is_computed_and_frees_what_is_claimed(
    tmp_path: Path, small: None, at: int
) -> None:
    with pytest.raises(Stopped):
        compute_vectors(Numbered(ALL), Signalled(tmp_path / "a.log", at), KEY, tmp_path)
    interruption.forget()
    done = computed(tmp_path)
    assert done.total() == (at + 1) * BATCH
    assert not list(tmp_path.rglob("*.claim*"))
    watcher = Noting()
    compute_vectors(Numbered(ALL), Logging(tmp_path / "b.log"), KEY, tmp_path, watcher=watcher)
    assert computed(tmp_path) == Counter(ALL)
    assert f"features: {done.total()} of 600 images were in the cache" in watcher.notes


class Failing(Logging):
    """Fails at a batch."""

    def before_batch(self) -> None:
        if self.batches == self.stuck_at:
            raise ValueError("no image")


def test_an_error_frees_what_is_claimed(tmp_path: Path, small: None) -> None:
    with pytest.raises(ValueError, match="no image"):
        compute_vectors(Numbered(ALL), Failing(tmp_path / "a.log", 5), KEY, tmp_path)
    assert not list(tmp_path.rglob("*.claim*"))


def test_a_cache_that_has_all_is_only_read(tmp_path: Path) -> None:
    images, maker = Numbered(ALL), Logging(tmp_path / "a.log")
    values = compute_vectors(images, maker, KEY, tmp_path / "cache")
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "cache").rglob("*"))
    np.testing.assert_array_equal(compute_vectors(images, maker, KEY, tmp_path / "cache"), values)
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "cache").rglob("*")) == before
    assert computed(tmp_path) == Counter(ALL)


def test_a_lone_process_stores_whole_chunks(tmp_path: Path) -> None:
    """Its batches are full but for the last one, and its chunks as large as they may be."""
    numbers = tuple(range(1200))
    compute_vectors(Numbered(numbers), Logging(tmp_path / "a.log"), KEY, tmp_path)
    chunks = [len(np.load(path)) for path in tmp_path.rglob("*.npy")]
    assert sorted(chunks) == [1200 - 2 * features.CHUNK, features.CHUNK, features.CHUNK]


def test_a_damaged_chunk_is_computed_again(tmp_path: Path) -> None:
    numbers, maker = tuple(range(1000)), Logging(tmp_path / "a.log")
    compute_vectors(Numbered(numbers), maker, KEY, tmp_path / "cache")
    damaged = sorted((tmp_path / "cache").rglob("*.npy"))[0]
    lost = len(np.load(damaged))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    values = compute_vectors(Numbered(numbers), maker, KEY, tmp_path / "cache")
    np.testing.assert_array_equal(values, expected(numbers))
    assert computed(tmp_path).total() == 1000 + lost
