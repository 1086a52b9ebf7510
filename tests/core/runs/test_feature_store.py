"""The store of features: however many chunks there are, few files are open, and each image has its own."""

import hashlib
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bccli.core.runs import feature_store
from bccli.core.runs.feature_store import MANY, FeatureStore

WIDTH = 3


def hashes(count: int, first: int = 0) -> list[str]:
    """Names of images."""
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(first, first + count)]


def vectors(names: list[str]) -> np.ndarray:
    """The features that belong to images (images, WIDTH)."""
    return np.array([[int(name[start : start + 4], 16) for start in (0, 4, 8)] for name in names], np.float32)


def filled(folder: Path, chunks: int, rows: int = 2) -> tuple[FeatureStore, list[str]]:
    """A store with so many chunks, and its images."""
    store, names = FeatureStore(folder, WIDTH), hashes(chunks * rows)
    for start in range(0, len(names), rows):
        store.add(names[start : start + rows], vectors(names[start : start + rows]))
    return store, names


@contextmanager
def few_files(count: int) -> Iterator[None]:
    """So many more files at most than are open now."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + count, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def all_right(store: FeatureStore, names: list[str]) -> None:
    """Each image has its features, alone, in any order, and all at once."""
    assert store.missing(names) == []
    rows = store.rows(names)
    order = np.random.default_rng(0).permutation(len(names))
    expected = vectors(names)
    for positions in (np.arange(len(names)), order, order[:5], order[:0]):
        np.testing.assert_array_equal(rows[positions], expected[positions])


@pytest.mark.parametrize("limit", [4, 30])
def test_three_hundred_chunks_need_no_three_hundred_files(tmp_path: Path, limit: int) -> None:
    _, names = filled(tmp_path / "store", 300)
    with few_files(limit):
        all_right(FeatureStore(tmp_path / "store", WIDTH), names)


def test_many_small_chunks_become_few(tmp_path: Path) -> None:
    store, names = filled(tmp_path / "store", MANY - 1)
    store.merge()
    assert len([*(tmp_path / "store").iterdir()]) == MANY - 1
    more = hashes(2, first=len(names))
    store.add(more, vectors(more))
    store.merge()
    assert [path.suffix for path in (tmp_path / "store").iterdir()] == [".npy"]
    all_right(store, names + more)
    all_right(FeatureStore(tmp_path / "store", WIDTH), names + more)


def test_others_go_on_reading_what_was_put_together(tmp_path: Path) -> None:
    store, names = filled(tmp_path / "store", MANY)
    other = FeatureStore(tmp_path / "store", WIDTH)
    rows = other.rows(names)
    store.merge()
    for positions in (np.arange(3), np.arange(len(names))):
        np.testing.assert_array_equal(rows[positions], vectors(names)[positions])
    other.merge()
    all_right(other, names)


def test_who_is_killed_while_it_puts_chunks_together_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, names = filled(tmp_path / "store", MANY)
    removed: list[Path] = []
    unlink = Path.unlink

    def killed(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".npy" and len(removed) == 10:
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        store.merge()
    monkeypatch.undo()
    again = FeatureStore(tmp_path / "store", WIDTH)
    all_right(again, names)
    again.merge()
    all_right(again, names)


def test_only_one_puts_chunks_together(tmp_path: Path) -> None:
    store, names = filled(tmp_path / "store", MANY)
    with store._alone() as alone:
        assert alone
        other = FeatureStore(tmp_path / "store", WIDTH)
        other.merge()
        assert len([*(tmp_path / "store").glob("*.npy")]) == MANY
    all_right(other, names)


def test_a_damaged_chunk_is_as_none(tmp_path: Path) -> None:
    _, names = filled(tmp_path / "store", 3)
    path = sorted((tmp_path / "store").glob("*.npy"))[1]
    path.write_bytes(path.read_bytes()[:-1])
    store = FeatureStore(tmp_path / "store", WIDTH)
    assert len(store.missing(names)) == 2
    with pytest.raises(KeyError):
        store.rows(names)


def test_what_has_gone_for_good_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "_PATIENCE", (0,))
    store, names = filled(tmp_path / "store", 3)
    rows = store.rows(names)
    for path in (tmp_path / "store").glob("*.npy"):
        path.unlink()
    with pytest.raises((OSError, KeyError)):
        rows[np.arange(len(names))]
