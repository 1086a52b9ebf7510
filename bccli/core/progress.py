"""What long work tells whoever watches it. Core calls these; the console shows them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watcher:
    """Hears of notes, warnings and progress; this one keeps silent."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def warn(self, text: str) -> None:
        """Something the user may want to change."""

    @contextmanager
    def track(self, total: int, what: str) -> Iterator[Callable[[int], None]]:
        """Yield a function that is told how many more of `total` are done."""
        yield lambda amount: None

    @contextmanager
    def training(self) -> Iterator[None]:
        """Inside the block, `step` and `epoch` tell how a training goes on."""
        yield

    def step(self, number: int, of: int) -> None:
        """One more step of an epoch is done, `number` of them so far."""

    def epoch(self, number: int, of: int, row: dict[str, float], best: int = 0) -> None:
        """One epoch of training is over; `row` holds its figures, `best` is the best epoch so far."""


SILENT = Watcher()
