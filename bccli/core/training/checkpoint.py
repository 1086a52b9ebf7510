"""The state of a training on the disk: written often enough, and taken up after an interruption."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bccli.core.errors import DataError
from bccli.core.files import replacing
from bccli.core.interruption import saving
from bccli.core.runs.provenance import change_of, hardware
from bccli.core.runs.starts import progressed
from bccli.core.training.settings import MEASURES, Schedule
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
                facts = {"progress": asdict(progress), "hardware": hardware()}
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
        try:
            with np.load(self._path, allow_pickle=False) as content:
                progress = Progress(**json.loads(str(content["progress"])))
                if "hardware" in content.files:
                    self._hardware = json.loads(str(content["hardware"]))
                weights = [content[f"weight_{index}"] for index in range(len(trainee.best_weights))]
                trainee.best_weights = [content[f"best_{index}"] for index in range(len(weights))]
                for index, variable in enumerate(trainee.optimizer.variables):
                    variable.assign(content[f"optimizer_{index}"])
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._path}: is damaged ({error}); remove the run's folder and start again"
            ) from None
        put_weights(trainee.network, weights)
        trainee.sums.assign(np.array(progress.sums))
        self._stored = progress.epoch, progress.step
        return progress

    @property
    def moved(self) -> str:
        """How the hardware that the state comes from differs from this one; empty where it does not."""
        return change_of(self._hardware, hardware())

    def _note(self, progress: Progress) -> None:
        """Where a step has been made since the last state, this start was not in vain."""
        if (now := (progress.epoch, progress.step)) != self._stored:
            self._stored = now
            progressed()
