"""The speed of a training, and the sentences that report it."""

from dataclasses import dataclass

from bccli.core.preparation.estimate import time_words
from bccli.core.training.settings import Schedule

# How long the rest of a training takes is said where it takes so many seconds.
_WORTH_SAYING = 10


@dataclass
class Pace:
    """How fast training goes, validation left out, and the first epoch, in which it is compiled and warms up;
    where there is no other, its first step."""

    images: int = 0
    seconds: float = 0.0
    compiling: float = 0.0
    _steps: int = 0
    _epochs: int = 0

    def begin(self) -> None:
        """An epoch begins."""
        if self._epochs == 1:
            self.images, self.seconds, self.compiling = 0, 0.0, 0.0
        self._epochs += 1

    def step(self, images: int, seconds: float) -> None:
        """One step is done, or several in one call."""
        if self._steps == 0:
            self.compiling = seconds
        else:
            self.images += images
        self._steps += 1

    def add(self, seconds: float) -> None:
        """The steps of an epoch have taken so long."""
        self.seconds += seconds

    @property
    def warm(self) -> bool:
        """Whether an epoch has gone before this one."""
        return self._epochs > 1

    @property
    def per_second(self) -> float:
        """Images a second."""
        return self.images / max(self.seconds - self.compiling, 1e-9)


def remaining_words(schedule: Schedule, epoch: int, seconds: float) -> str:
    """How long the epochs after this one take if each takes so many seconds; empty where that is short."""
    left = schedule.epochs - epoch
    if seconds * left < _WORTH_SAYING:
        return ""
    most = " at most" if schedule.patience or schedule.stop_at else ""
    slow = f"about {time_words(seconds)} an epoch; the other {left}"
    others = slow if seconds >= 1 else f"the other {left} epochs"
    return f"{others} take {time_words(seconds * left)}{most}"
