"""The training loop: one for every network that bccli trains, exact to the step after an interruption.

A step's result depends only on the state before it, on the seed and on its number: the order of an
epoch is `default_rng([seed, epoch])`, dropout is seeded by (seed, epoch, step), and how an image is
augmented by the seed, the image and its turn. So a run that was killed and continued has the same history
as one that was not.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.data.image_batches import read_ahead
from bccli.core.errors import DivergedError, Stopped, TrainingError
from bccli.core.models import backend
from bccli.core.models.devices.sharing import placed
from bccli.core.progress import SILENT, Watcher
from bccli.core.training.checkpoint import Checkpoint, Progress
from bccli.core.training.inputs import Features, Inputs, order_of, turns_of
from bccli.core.training.learning_rate import cuts_so_far, learning_rate
from bccli.core.training.objectives.objective import Objective, of_classes
from bccli.core.training.pace import Pace, remaining_words
from bccli.core.training.parallel.replicas import ONE_DEVICE, Replicas
from bccli.core.training.settings import MEASURES, Schedule
from bccli.core.training.trainee import CompiledBefore, compile_steps, inference_step
from bccli.core.weights.copying import copy_weights, put_weights

Load = Callable[..., Iterator[Any]]
"""What loads batches: it takes positions (n,), perhaps a turn for each, and how many are wanted at a time."""

_OTHER_DIGITS = "the result is not to the byte that of equal machines"


@dataclass(frozen=True)
class Examples:
    """Inputs and truth; `train` and `val` are positions in them, `labels` class numbers.

    Where something else than classes is learned, `truth_of` gives the truth (n, width) of some positions.

    With `augmented_val`, val is augmented as train is, as Keras's generators have it. `watched_test` are the
    positions of test if it is to be reported in each epoch, and none otherwise.
    """

    inputs: Inputs
    labels: np.ndarray
    classes: int
    train: np.ndarray
    val: np.ndarray
    augmented_val: bool = False
    watched_test: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    truth_of: Callable[[np.ndarray], np.ndarray] | None = None

    def truth(self, positions: np.ndarray) -> np.ndarray:
        """The truth float32 (n, width) at positions (n,): of classes, a 1 for each."""
        if self.truth_of is not None:
            return self.truth_of(positions)
        return np.eye(self.classes, dtype=np.float32)[self.labels[positions]]


class Fit:
    """One training: a network from inputs to scores, its examples, and the state on the disk.

    `depths` are those of `Trainee`; `on_state` and `on_epoch` are called once a state is saved or an epoch
    has ended. Steps that were `compiled` for the network before are used again. The `objective` is that of
    the schedule's classes unless another one is given. The network was made in the scope of its `replicas`,
    which take one step per call. Batches of images are put ahead to a `place`, the only GPU, if there is one.
    """

    def __init__(
        self,
        network: Any,
        examples: Examples,
        schedule: Schedule,
        state: Path,
        *,
        watcher: Watcher = SILENT,
        on_state: Callable[[Progress], None] = lambda progress: None,
        on_epoch: Callable[[dict[str, float]], None] | None = None,
        depths: Sequence[int] | None = None,
        compiled: CompiledBefore | None = None,
        objective: Objective | None = None,
        replicas: Replicas = ONE_DEVICE,
    ) -> None:
        self.progress = Progress()
        self.examples, self.schedule, self.watcher, self.state = examples, schedule, watcher, state
        self.on_epoch = on_epoch or (lambda row: None)
        self.objective = objective or _of_classes(schedule, examples.classes)
        self.class_weights = _class_weights(examples, schedule.class_weights)
        signature = examples.inputs.signature()
        several = examples.inputs.steps_per_call(schedule.batch_size)
        self.steps_per_call = several if replicas.count == 1 else 1
        steps = compile_steps(
            network, schedule, signature, self.objective, self.steps_per_call,
            depths=depths, before=compiled, replicas=replicas,
        )  # fmt: skip
        self.trainee, self._train_steps, self.replicas = steps.trainee, steps.train, replicas
        self.network, self._predict = network, steps.predict
        has_gpu = replicas.count == 1 and backend.device_class() == "gpu"
        self.place = "GPU:0" if has_gpu and not isinstance(examples.inputs, Features) else None
        self._checkpoint = Checkpoint(state, on_state)
        self._pace, self._has_foretold = Pace(), False

    def run(self) -> Progress:
        """Train until the schedule ends; the network then has the weights of the best epoch.

        Raises Stopped after a signal, once the state is saved; DivergedError for a loss that is no number,
        and then the network has the weights of the best epoch before; TrainingError without enough memory.
        """
        if progress := self._checkpoint.load(self.trainee):
            self.progress = progress
            self.watcher.note(f"continuing after {self.progress.epoch} epochs and {self.progress.step} steps")
            if moved := self._checkpoint.moved(self.trainee):
                self.watcher.warn(f"it goes on with other hardware ({moved}): {_OTHER_DIGITS}")
        place = f"{self.progress.epoch} epochs and {self.progress.step} steps"
        self.replicas.agree("a state of its training", place)
        trainee = self.trainee
        self.replicas.take_over([*self.network.variables, *trainee.optimizer.variables, trainee.decay])
        with interruption.deferred(), self.watcher.training(), self._enough_memory():
            while not self.finished:
                self._epoch()
        self.save()
        if self._pace.images and not isinstance(self.examples.inputs, Features):  # of those it says nothing
            self.watcher.note(f"trained {self._pace.per_second:,.1f} images a second")
        put_weights(self.network, self.trainee.best_weights)
        return self.progress

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        """Say what helps where TensorFlow finds no room for a batch."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.ResourceExhaustedError:
            size = self.schedule.batch_size
            smaller = f"--batch-size {size // 2}" if size > 1 else "images of a smaller --size"
            precision = "" if self.schedule.mixed_precision else ", or --mixed-precision on a GPU"
            raise TrainingError(
                f"out of memory with batches of {size} images; try {smaller}{precision}"
            ) from None

    @property
    def finished(self) -> bool:
        """Whether the schedule has come to its end."""
        return self.progress.stopped_early or self.progress.epoch >= self.schedule.epochs

    def predict(self, positions: np.ndarray) -> np.ndarray:
        """What the network says of positions (n,) in inference mode: of classes their probabilities."""
        return self._predict_all(positions, self.examples.inputs.batches, stoppable=False)

    def _predict_all(self, positions: np.ndarray, load: Load, *, stoppable: bool) -> np.ndarray:
        """In the middle of training it is `stoppable`: a signal is obeyed between two batches."""
        answers = []
        for chosen, _, batch in self._loaded(load, positions):
            said = self._predict(batch, len(chosen)).numpy()
            answers.append(self.objective.answers(said))
            if stoppable:
                self._stop_if_requested()
        return np.concatenate(answers) if answers else np.zeros((0, self.objective.width))

    def hand_over(self, network: Any) -> None:
        """Give the weights to a twin of the network in another precision, and predict with that one."""
        if network is self.network:
            return
        copy_weights(self.network, network)
        signature = self.examples.inputs.signature()
        self.network, self._predict = network, inference_step(network, signature)
        self.replicas = ONE_DEVICE

    def _epoch(self) -> None:
        """The rest of the current epoch, its validation, and what follows from it."""
        began, is_whole, progress = time.monotonic(), self.progress.step == 0, self.progress
        self._pace.begin()
        self._train_epoch()
        self.trainee.sums.numpy()  # a GPU is still at work
        self._pace.add(time.monotonic() - began)
        row = self._measure_epoch()
        watched = self._watch_test()
        rate = {"lr": float(self.trainee.rate.numpy())} if self.schedule.rates.changing else {}
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.history.append({"epoch": progress.epoch, **row, **watched, **rate})
        if progress.judge(row, self.schedule):
            self.trainee.keep_weights()
        self.trainee.forget_sums()
        self.watcher.epoch(progress.epoch, self.schedule.epochs, row | watched, progress.kept_epoch)
        self.on_epoch(progress.history[-1])
        if is_whole:
            self._foretell(time.monotonic() - began - self._pace.compiling)
        if self.finished or self._checkpoint.due:
            self.save()

    def _foretell(self, seconds: float) -> None:
        """After the first whole epoch of this process, say how long the others will take, if that is long."""
        # A first epoch of few calls is nearly all compilation.
        if self._has_foretold or not (self.steps_per_call == 1 or self._pace.warm):
            return
        self._has_foretold = True
        words = remaining_words(self.schedule, self.progress.epoch, seconds)
        if words and not self.finished:
            self.watcher.note(words)

    def _train_epoch(self) -> None:
        schedule, train, labels = self.schedule, self.examples.train, self.examples.labels
        order = train[order_of(schedule, self.progress.epoch, len(train))]
        turns = turns_of(schedule, self.progress.epoch, len(train))
        steps = schedule.steps(len(train))
        if self.progress.step == 0:
            self.trainee.forget_sums()
        done = self.progress.step * schedule.batch_size
        cuts = self._cuts()
        load = self.examples.inputs.training_batches
        for chosen, own, batch in self._loaded(load, order[done:], turns[done:]):
            truth, weights = self.examples.truth(own), self.class_weights[labels[own]]
            first = self.progress.step
            now = range(first, first - (-len(chosen) // schedule.batch_size))
            seeds = np.stack([*map(self._seeds, now)])
            rates = np.array([self._rate(step, cuts) for step in now], np.float32)
            began = time.monotonic()
            asked = self._train_steps(
                batch, truth, weights, seeds, rates, float(first),
                float(self.progress.epoch >= schedule.head_epochs),
                np.array([len(chosen), interruption.stop_requested()], np.float32),
            )  # fmt: skip
            self._pace.step(len(chosen), time.monotonic() - began)
            self.progress.step = now.stop
            self.watcher.step(self.progress.step, steps)
            if self._checkpoint.overdue:
                self.save()
            self._stop_if_requested(asked)

    def _loaded(
        self, load: Load, positions: np.ndarray, *about: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
        """Batch by batch of positions (n,): they, those of them that this worker loads, and what is loaded.

        `load` takes positions, what is `about` each of them, and how many are wanted at a time.
        """
        size, count = self.schedule.batch_size * self.steps_per_call, len(positions)
        wholes = [slice(start, min(start + size, count)) for start in range(0, count, size)]
        shares = [np.arange(whole.start, whole.stop)[self._share_of(whole)] for whole in wholes]
        places = iter(zip(wholes, shares, strict=True))
        # Of a last batch that is short, the share may be the larger one: that of fewer images than replicas.
        cut = len(shares) - (len(shares) > 1 and len(shares[-1]) > len(shares[0]))
        for group in filter(None, (shares[:cut], shares[cut:])):
            here = np.concatenate(group)
            for batch in self._ahead(load(positions[here], *(each[here] for each in about), len(group[0]))):
                whole, share = next(places)
                yield positions[whole], positions[share], batch

    def _ahead(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches; images for the only GPU are there before the step that they are for."""
        if self.place is None:
            return batches
        place = [self.place]
        return read_ahead(placed(batch, place)[0] for batch in batches)

    def _share_of(self, whole: slice) -> slice:
        return self.replicas.share(whole.stop - whole.start)

    def _stop_if_requested(self, asked: Any = None) -> None:
        """A safe point: after a signal, save and raise Stopped, as all workers do after the same step; how
        many are `asked` to do so, a step may know."""
        known = asked is not None and self.replicas.workers > 1  # to look at it is to wait for the step
        if asked > 0 if known else self.replicas.wants(interruption.stop_requested()):
            self.save()
            interruption.stop_if_requested()
            raise Stopped("stopped with another worker; run the same command again to continue")

    def _cuts(self) -> int:
        """How often the epochs before this one have cut the learning rate."""
        monitor = self.schedule.monitor
        if monitor not in MEASURES:
            return 0
        values = (row[monitor] for row in self.progress.history)
        return cuts_so_far(self.schedule.rates, values, rising=MEASURES[monitor])

    def _rate(self, step: int, cuts: int) -> float:
        steps = self.schedule.steps(len(self.examples.train))
        return learning_rate(self.schedule.rates, self.progress.epoch * steps + step, steps, cuts=cuts)

    def _seeds(self, step: int) -> np.ndarray:
        return self.trainee.step_seeds(self.progress.epoch, step)

    def _measure_epoch(self) -> dict[str, float]:
        loss, hits, count, first_bad = self.trainee.sums.numpy().tolist()
        if first_bad >= 0:
            raise self._diverged("loss is no longer a number in", int(first_bad) + 1)
        row = {"loss": loss / count, "accuracy": hits / count}
        if len(self.examples.val):
            row |= self._validate()
            if not np.isfinite(row["val_loss"]):
                raise self._diverged("weights are no longer numbers after", self.progress.step)
        return row

    def _diverged(self, what: str, step: int) -> DivergedError:
        """The error for numbers that are none any more; the network gets the best weights before."""
        put_weights(self.network, self.trainee.best_weights)
        return DivergedError(
            f"the {what} epoch {self.progress.epoch + 1}, step {step}; try a smaller --lr or --clip-norm 1",
            kept_epoch=self.progress.kept_epoch,
        )

    def _validate(self) -> dict[str, Any]:
        val, inputs = self.examples.val, self.examples.inputs
        load = inputs.batches
        if self.examples.augmented_val:
            load = partial(_augmented, inputs, self.progress.epoch)
        return self._measure("val", val, load)

    def _watch_test(self) -> dict[str, Any]:
        """The figures of test as it is, for people to see: nothing is decided by them."""
        test = self.examples.watched_test
        return self._measure("test", test, self.examples.inputs.batches) if len(test) else {}

    def _measure(self, split: str, positions: np.ndarray, load: Load) -> dict[str, Any]:
        """Loss and accuracy of a split by the weights of now; a signal is obeyed between two batches."""
        answers = self._predict_all(positions, load, stoppable=True)
        loss, accuracy = self.objective.measured(self.examples.truth(positions), answers)
        return {f"{split}_loss": loss, f"{split}_accuracy": accuracy}

    def save(self) -> None:
        """Write the whole state, if this worker leads."""
        if self.replicas.leads:
            self._checkpoint.save(self.trainee, self.progress)


def _augmented(inputs: Inputs, epoch: int, positions: np.ndarray, size: int) -> Iterator[Any]:
    """Batches of val as training sees them."""
    return inputs.training_batches(positions, np.full(len(positions), epoch), size)


def _of_classes(schedule: Schedule, classes: int) -> Objective:
    return of_classes(
        classes, loss=schedule.loss, output=schedule.output, label_smoothing=schedule.label_smoothing
    )


def _class_weights(examples: Examples, kind: str) -> np.ndarray:
    """A weight per class (classes,): ones, or inversely proportional to the class's share in train."""
    counts = np.bincount(examples.labels[examples.train], minlength=examples.classes)
    if kind == "none":
        return np.ones(examples.classes, np.float32)
    return (counts.sum() / (len(counts) * np.maximum(counts, 1))).astype(np.float32)
