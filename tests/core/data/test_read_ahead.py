"""Batches are read ahead of whoever wants them, in order, and no further than they may."""

import threading
from collections.abc import Iterator

import pytest

from bccli.core.data.image_batches import read_ahead


class Source:
    """Numbers, of which it is known how many were taken, and whether the source was closed."""

    def __init__(self, count: int, *, failing: bool = False) -> None:
        self.count, self.failing = count, failing
        self.taken, self.closed = 0, False
        self.progress = threading.Condition()

    def numbers(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                with self.progress:
                    self.taken += 1
                    self.progress.notify_all()
                yield number
            if self.failing:
                raise ValueError("damaged")
        finally:
            self.closed = True

    def until(self, taken: int) -> None:
        """Wait until so many are taken."""
        with self.progress:
            assert self.progress.wait_for(lambda: self.taken >= taken, 60)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_all_come_in_order(count: int) -> None:
    source = Source(count)
    assert [*read_ahead(source.numbers())] == [*range(count)]
    assert source.closed


def test_so_many_are_taken_before_they_are_wanted() -> None:
    source = Source(50)
    numbers = read_ahead(source.numbers(), 3)
    assert source.taken == 0
    assert next(numbers) == 0
    source.until(3)
    assert next(numbers) == 1
    source.until(4)
    assert source.taken <= 4
    numbers.close()
    assert source.closed
    assert source.taken <= 5


def test_an_error_comes_after_what_was_there_before_it() -> None:
    source = Source(5, failing=True)
    numbers = read_ahead(source.numbers())
    assert [next(numbers) for _ in range(5)] == [*range(5)]
    with pytest.raises(ValueError, match="damaged"):
        next(numbers)
    assert source.closed


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    numbers = read_ahead(Source(50).numbers())
    next(numbers)
    numbers.close()
    assert threading.active_count() == before
