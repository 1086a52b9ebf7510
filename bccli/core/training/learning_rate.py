"""Learning rates: pure functions of the step's number and of the epochs before, so that a continued training
has the same ones."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bccli.core.errors import UsageError


@dataclass(frozen=True)
class Rates:
    """The learning rate's course; lengths are in epochs, `of` is how many there will be in all.

    `schedule` is a row of `SCHEDULES`. `decay` and `decay_epochs` are for those that decay.
    """

    lr: float
    of: int
    schedule: str = "constant"
    warmup: float = 0.0
    decay: float | None = None
    decay_epochs: float | None = None

    @property
    def changing(self) -> bool:
        """Whether the rate is not the same in all steps."""
        return self.schedule != "constant" or self.warmup > 0


@dataclass(frozen=True)
class RateSchedule:
    """What multiplies the learning rate after some epochs; whether it needs a decay, or knows the end.

    One that `waits` is multiplied by the decay once more for each of the `plateaus`.
    """

    factor: Callable[[Rates, float], float]
    decays: bool = False
    ends: bool = False
    waits: bool = False


def _cosine(rates: Rates, passed: float) -> float:
    """From 1 to 0 over all epochs (Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5, no restarts)."""
    return (1 + math.cos(math.pi * min(1.0, passed / (rates.of - rates.warmup)))) / 2


def _exponential(rates: Rates, passed: float) -> float:
    return (rates.decay or DECAY) ** (passed / (rates.decay_epochs or DECAY_EPOCHS))


def _step(rates: Rates, passed: float) -> float:
    return (rates.decay or DECAY) ** math.floor(passed / (rates.decay_epochs or DECAY_EPOCHS))


def plateaus(values: Iterable[float], wait: float, *, rising: bool) -> int:
    """How often the values of all epochs so far have not got better for `wait` epochs, each time anew.

    Better is by more than `_LEAST_GAIN`, as in Keras's ReduceLROnPlateau, of `rising` values upwards.

    >>> plateaus([0.9, 0.5, 0.6, 0.7, 0.4, 0.4, 0.4], 2, rising=False)
    2
    """
    best, since, found = -math.inf, 0, 0
    for value in values:
        gain = value if rising else -value
        since += 1
        if gain > best + _LEAST_GAIN:
            best, since = gain, 0
        elif since >= wait:
            found, since = found + 1, 0
    return found


_LEAST_GAIN = 1e-4
DECAY, DECAY_EPOCHS = 0.1, 10.0
SCHEDULES = {
    "constant": RateSchedule(lambda rates, passed: 1.0),
    "cosine": RateSchedule(_cosine, ends=True),
    "exponential": RateSchedule(_exponential, decays=True),
    "step": RateSchedule(_step, decays=True),
    "plateau": RateSchedule(lambda rates, passed: 1.0, decays=True, waits=True),
}


def learning_rate(rates: Rates, step: int, steps: int, *, cuts: int = 0) -> float:
    """The rate of the step of this number, counted from 0 over all epochs, of which each has `steps`.

    Over the warm-up it grows evenly up to the full rate; the schedule begins after it. A schedule that waits
    has been cut so often before.
    """
    first = rates.warmup * steps
    if step < first:
        return rates.lr * min(1.0, (step + 1) / first)
    decayed = float((rates.decay or DECAY) ** cuts)
    return rates.lr * SCHEDULES[rates.schedule].factor(rates, (step - first) / steps) * decayed


def cuts_so_far(rates: Rates, values: Iterable[float], *, rising: bool) -> int:
    """How often a schedule that waits has been cut by the monitored values of all epochs before; else 0."""
    if not SCHEDULES[rates.schedule].waits:
        return 0
    return plateaus(values, rates.decay_epochs or DECAY_EPOCHS, rising=rising)


def check_rates(rates: Rates) -> None:
    """Raises UsageError for options that contradict each other."""
    if rates.warmup >= rates.of:
        raise UsageError(f"--warmup {rates.warmup:g} leaves nothing of --epochs {rates.of}; make it shorter")
    if not SCHEDULES[rates.schedule].decays:
        for option, value in (("--decay", rates.decay), ("--decay-epochs", rates.decay_epochs)):
            if value is not None:
                names = " or ".join(name for name, row in SCHEDULES.items() if row.decays)
                raise UsageError(
                    f"{option} does not go with --schedule {rates.schedule}; say --schedule {names}"
                )
