"""The state of a training on the disk: written often enough, and taken up after an interruption."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from bccli.core.files import replacing
from bccli.core.interruption import saving
from bccli.core.reading.archives import open_arrays
from bccli.core.reading.json_types import misfit
from bccli.core.runs.provenance import change_of, hardware
from bccli.core.runs.starts import progressed
from bccli.core.training.settings import LAST, MEASURES, Schedule
from bccli.core.training.trainee import Trainee
from bccli.core.weights.copying import put_weights

# A state is written when this share of the time since the last one pays for it, and in long epochs at
# least every five minutes.
_STATE_SHARE = 0.05
_STATE_SECONDS = 300


@dataclass
class Progress:
    """The progress of a training; with the arrays of the networks, this is the whole state."""

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, -1.0])
    best: float | None = None
    kept_epoch: int = 0
    stopped_early: bool = False
    history: list[dict[str, float]] = field(default_factory=list)

    def judge(self, row: dict[str, float], schedule: Schedule) -> bool:
        """Whether the epoch that has just ended is the best one so far; also decides whether to stop."""
        if schedule.monitor == LAST:
            value, sign = float(self.epoch), 1
        else:
            value, sign = row[schedule.monitor], 1 if MEASURES[schedule.monitor] else -1
        is_best = self.best is None or sign * value > sign * self.best
        if is_best:
            self.best, self.kept_epoch = value, self.epoch
        if schedule.patience is not None and self.epoch - self.kept_epoch >= schedule.patience:
            self.stopped_early = True
        if schedule.stop_at:
            measure, target = schedule.stop_at
            if (1 if MEASURES[measure] else -1) * (row[measure] - target) > 0:
                self.stopped_early, self.kept_epoch = True, self.epoch
                return True
        return is_best


class _Hardware(TypedDict, total=False):
    gpus: list[str]
    replicas: int


def _progress_in(arrays: Mapping[str, np.ndarray]) -> Progress:
    """The progress in a state. Raises ValueError for what is none; a loss may be no number."""
    text = _text(arrays, "progress")
    known = {field.name: field.type for field in fields(Progress)}
    facts = json.loads(text, parse_constant=lambda name: 0.0)
    wrong = misfit(facts, dict[str, Any], "progress") or next(
        filter(None, (misfit(facts[name], known.get(name), f"progress.{name}") for name in facts)), None
    )
    if wrong:
        raise ValueError(f"{wrong} cannot be so")
    return Progress(**json.loads(text))


def _hardware_in(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The hardware that a state comes from, empty where it is not known. Raises ValueError."""
    if "hardware" not in arrays:
        return {}
    found: dict[str, Any] = json.loads(_text(arrays, "hardware"))
    if wrong := misfit(found, _Hardware, "hardware"):
        raise ValueError(f"{wrong} cannot be so")
    return found


def _text(arrays: Mapping[str, np.ndarray], name: str) -> str:
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    return str(arrays[name])


def _array(arrays: Mapping[str, np.ndarray], name: str, like: Any) -> np.ndarray:
    """An array of the shape of another. Raises ValueError for any other."""
    found = arrays.get(name)
    if found is None or found.shape != tuple(like.shape) or found.dtype.kind not in "biuf":
        raise ValueError(f"{name} is missing or has another shape")
    return found


def _hardware_of(trainee: Trainee) -> dict[str, Any]:
    """The hardware that trains, with the number of replicas where there are several."""
    count = trainee.replicas.count
    return hardware() | ({"replicas": count} if count > 1 else {})


class Checkpoint:
    """The file of a training's state; `on_state` is called after each time that it is written."""

    def __init__(self, path: Path, on_state: Callable[[Progress], None]) -> None:
        self._path, self._on_state = path, on_state
        self._saved_at, self._cost = time.monotonic(), 0.0
        self._stored = 0, 0
        self._hardware: dict[str, Any] = {}

    @property
    def due(self) -> bool:
        """Whether saving costs little, measured by the time since the last state."""
        return self._cost < _STATE_SHARE * (time.monotonic() - self._saved_at)

    @property
    def overdue(self) -> bool:
        """Whether the last state is so old that the next one cannot wait for the end of the epoch."""
        return time.monotonic() - self._saved_at > _STATE_SECONDS

    def save(self, trainee: Trainee, progress: Progress) -> None:
        """Write the whole state, which no signal interrupts: weights, optimiser, best weights, progress."""
        started = time.monotonic()
        progress.sums = trainee.sums.numpy().tolist()
        arrays = {f"weight_{index}": value for index, value in enumerate(trainee.network.get_weights())}
        arrays |= {f"best_{index}": value for index, value in enumerate(trainee.best_weights)}
        arrays |= {f"optimizer_{index}": v.numpy() for index, v in enumerate(trainee.optimizer.variables)}
        with saving():
            with replacing(self._path) as stream:
                facts = {"progress": asdict(progress), "hardware": _hardware_of(trainee)}
                arrays |= {name: np.array(json.dumps(value)) for name, value in facts.items()}
                np.savez(stream, **arrays)
            self._on_state(progress)
            self._note(progress)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started

    def load(self, trainee: Trainee) -> Progress | None:
        """Give a network and its optimiser the state on the disk; None where there is none.

        Raises DataError for a damaged file.
        """
        if not self._path.exists():
            return None
        with open_arrays(self._path, sys.maxsize, "remove the run's folder and start again") as arrays:
            progress = _progress_in(arrays)
            self._hardware = _hardware_in(arrays)
            like = trainee.best_weights
            weights = [_array(arrays, f"weight_{index}", old) for index, old in enumerate(like)]
            best = [_array(arrays, f"best_{index}", old) for index, old in enumerate(like)]
            for index, variable in enumerate(trainee.optimizer.variables):
                variable.assign(_array(arrays, f"optimizer_{index}", variable))
        trainee.best_weights = best
        put_weights(trainee.network, weights)
        trainee.sums.assign(np.array(progress.sums))
        self._stored = progress.epoch, progress.step
        return progress

    def moved(self, trainee: Trainee) -> str:
        """How the hardware that the state comes from differs from this one; empty where it does not."""
        return change_of(self._hardware, _hardware_of(trainee))

    def _note(self, progress: Progress) -> None:
        """Where a step has been made since the last state, this start was not in vain."""
        if (now := (progress.epoch, progress.step)) != self._stored:
            self._stored = now
            progressed()
