"""The training loop: one for every network that bccli trains, exact to the step after an interruption.

A step's result depends only on the state before it, on the seed and on its number: the order of an
epoch is `default_rng([seed, epoch])`, dropout is seeded by (seed, epoch, step), and how an image is
augmented by the seed, the image and its turn. So a run that was killed and continued has the same history
as one that was not.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bccli.core import interruption
from bccli.core.errors import DataError, DivergedError, TrainingError
from bccli.core.files import replacing
from bccli.core.models import runtimes as engines
from bccli.core.models.copying import copy_weights, put_weights
from bccli.core.models.heads import OUTPUTS, find_loss
from bccli.core.models.inference_mode import drawing_layers
from bccli.core.preparation.estimate import time_words
from bccli.core.progress import SILENT, Watcher
from bccli.core.training.inputs import Inputs
from bccli.core.training.learning_rate import learning_rate
from bccli.core.training.order import order_of, turns_of
from bccli.core.training.settings import MEASURES, OPTIMIZERS, Schedule

# A state is written when this share of the time since the last one pays for it, and in long epochs at
# least every five minutes.
_STATE_SHARE = 0.05
_STATE_SECONDS = 300

# What is left of a training is told in advance where it takes so many seconds.
_WORTH_SAYING = 10


@dataclass(frozen=True)
class Examples:
    """Inputs and truth; `train` and `val` are positions in them, `labels` class numbers.

    With `augmented_val`, val is watched in the form that training sees, as Keras's generators have it.
    """

    inputs: Inputs
    labels: np.ndarray
    classes: int
    train: np.ndarray
    val: np.ndarray
    augmented_val: bool = False


@dataclass
class Progress:
    """Where training stands; together with the arrays of the networks this is the whole state."""

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, -1.0])
    best: float | None = None
    kept_epoch: int = 0
    stopped_early: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class _Pace:
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
        """One step is done, or several that were taken together."""
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


class Fit:
    """One training: a network from inputs to scores, its examples, and the state on the disk.

    `depths` has for each trainable variable how many layers with weights lie above it, 0 in the head.
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
    ) -> None:
        import keras
        import tensorflow as tf

        self.network, self.examples, self.schedule = network, examples, schedule
        self.state, self.watcher, self.on_state = state, watcher, on_state
        self.on_epoch = on_epoch or (lambda row: None)
        name, _ = OPTIMIZERS[schedule.optimizer]
        self.optimizer = getattr(keras.optimizers, name)(
            learning_rate=schedule.lr, global_clipnorm=schedule.clip_norm
        )
        self.rate = self.optimizer.learning_rate  # a variable
        if schedule.mixed_precision:
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
        self.optimizer.build(network.trainable_variables)
        self.sums = tf.Variable(np.zeros(4), dtype=tf.float64)
        self.progress = Progress()
        self.best_weights = network.get_weights()
        self.depths = list(depths or [0] * len(network.trainable_variables))
        self.class_weights = _class_weights(examples, schedule.class_weights)
        self.seeds = [layer.seed_generator.state for layer in drawing_layers(network)]
        self.together = examples.inputs.together(schedule.batch_size)
        self._train_steps, self._predict = self._training_steps(), self._inference_step()
        self._saved_at, self._save_cost = time.monotonic(), 0.0
        self._pace, self._foreseen = _Pace(), False

    def run(self) -> Progress:
        """Train until the schedule ends; the network then has the weights of the best epoch.

        Raises Stopped after a signal, once the state is saved; DivergedError for a loss that is no number,
        and then the network has the weights of the best epoch before; TrainingError without enough memory.
        """
        if self._load():
            self.watcher.note(f"continuing after {self.progress.epoch} epochs and {self.progress.step} steps")
        with interruption.deferred(), self.watcher.training(), self._enough_memory():
            while not self.finished:
                self._epoch()
        self.save()
        if self._pace.images:
            self.watcher.note(f"trained {self._pace.per_second:,.1f} images a second")
        put_weights(self.network, self.best_weights)
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
        """Class probabilities (positions, classes) in inference mode."""
        size = self.schedule.batch_size * self.together
        return self._predict_all(self.examples.inputs.batches(positions, size), stoppable=False)

    def _predict_all(self, batches: Iterator[Any], *, stoppable: bool) -> np.ndarray:
        """Where it is `stoppable`, in the middle of training, a signal is honoured between two batches."""
        parts, activate = [], engines.OUTPUTS[self.schedule.output]
        for batch in batches:
            parts.append(activate(self._predict(batch).numpy()))
            if stoppable:
                self._stop_if_requested()
        return np.concatenate(parts) if parts else np.zeros((0, self.examples.classes))

    def hand_over(self, network: Any) -> None:
        """Give the weights to a twin of the network in another precision, and predict with that one."""
        if network is self.network:
            return
        copy_weights(self.network, network)
        self.network, self._predict = network, self._inference_step(network)

    def _training_steps(self) -> Callable[..., None]:
        """The compiled step of training, or so many of them as are taken `together`, one after the other.

        The function takes their inputs, truth and weights, a row per example; their seeds and learning rates,
        a row per step; the number of the first step; and the share of layers below the head in it.
        """
        import tensorflow as tf

        schedule = self.schedule
        loss_of = find_loss(schedule.loss, schedule.output, label_smoothing=schedule.label_smoothing)
        probabilities_of = OUTPUTS[self.schedule.output]
        variables = self.network.trainable_variables
        # Optimizers have one rate for all variables, but their steps can be taken back in part.
        partly = schedule.layer_decay != 1 or schedule.head_epochs > 0
        slowed = [pair for pair in zip(variables, self.depths, strict=True) if partly and pair[1] > 0]

        def train_step(
            x: Any, truth: Any, weights: Any, seeds: Any, number: Any, rate: Any, below: Any
        ) -> None:
            self.rate.assign(rate)
            for place, generator in enumerate(self.seeds):
                generator.assign(tf.cast(seeds[place], generator.dtype))
            with tf.GradientTape() as tape:
                scores = self.network(tf.cast(x, tf.float32), training=True)
                losses = loss_of(truth, scores) * weights
                loss = tf.reduce_mean(losses)
                scaled = self.optimizer.scale_loss(loss)  # itself, but for mixed precision
            before = [tf.identity(variable.value) for variable, _ in slowed]
            self.optimizer.apply(tape.gradient(scaled, variables), variables)
            for (variable, depth), old in zip(slowed, before, strict=True):
                share = schedule.layer_decay**depth * below
                variable.assign(old + (variable.value - old) * share)
            hits = tf.equal(tf.argmax(probabilities_of(scores), -1), tf.argmax(truth, -1))
            first_bad = tf.where(
                tf.math.logical_and(self.sums[3] < 0, ~tf.math.is_finite(tf.cast(loss, tf.float64))),
                number,
                self.sums[3],
            )
            amount = [tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32)), tf.size(weights)]
            more = tf.stack([tf.cast(value, tf.float64) for value in amount])
            self.sums.assign(tf.concat([self.sums[:3] + more, [first_bad]], 0))

        @tf.function(
            input_signature=[
                self.examples.inputs.signature(),
                tf.TensorSpec((None, self.examples.classes), tf.float32),
                tf.TensorSpec((None,), tf.float32),
                tf.TensorSpec((None, len(self.seeds), 2), tf.uint32),
                tf.TensorSpec((None,), tf.float32),
                tf.TensorSpec((), tf.float64),
                tf.TensorSpec((), tf.float32),
            ],
            autograph=False,
        )
        def train_steps(
            x: Any, truth: Any, weights: Any, seeds: Any, rates: Any, first: Any, below: Any
        ) -> None:
            def step(place: Any) -> tuple[Any]:
                here = slice(place * schedule.batch_size, (place + 1) * schedule.batch_size)
                number = first + tf.cast(place, tf.float64)
                train_step(x[here], truth[here], weights[here], seeds[place], number, rates[place], below)
                return (place + 1,)

            if self.together == 1:  # without a loop around it, and without a copy
                train_step(x, truth, weights, seeds[0], first, rates[0], below)
            else:
                tf.while_loop(lambda place: place < tf.size(rates), step, [0], parallel_iterations=1)

        return train_steps

    def _inference_step(self, network: Any = None) -> Callable[..., Any]:
        """The compiled step of inference, of this network or another one, from inputs to scores."""
        import tensorflow as tf

        network = network or self.network

        @tf.function(input_signature=[self.examples.inputs.signature()], autograph=False)
        def predict_step(x: Any) -> Any:
            return network(tf.cast(x, tf.float32), training=False)

        return predict_step

    def _epoch(self) -> None:
        """The rest of the current epoch, its validation, and what follows from it."""
        began, first = time.monotonic(), self.progress.step
        self._pace.begin()
        self._train_epoch()
        self.sums.numpy()  # a GPU is still at work
        self._pace.add(time.monotonic() - began)
        row = self._measure_epoch()
        progress = self.progress
        # Only where it changes: histories of older runs have no such column, and may be continued.
        rate = {"lr": float(self.rate.numpy())} if self.schedule.rates.changing else {}
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.history.append({"epoch": progress.epoch, **row, **rate})
        self._judge(row)
        self.sums.assign(np.array([0.0, 0.0, 0.0, -1.0]))
        self.watcher.epoch(progress.epoch, self.schedule.epochs, row, progress.kept_epoch)
        self.on_epoch(progress.history[-1])
        # A first epoch of few calls is nearly all compilation.
        if first == 0 and not self._foreseen and (self.together == 1 or self._pace.warm):
            self._foresee(time.monotonic() - began - self._pace.compiling)
        if self.finished or self._saving_is_due():
            self.save()

    def _foresee(self, seconds: float) -> None:
        """After a whole epoch of this process, say how long the others will take, if that is long."""
        self._foreseen = True
        left = self.schedule.epochs - self.progress.epoch
        if not self.finished and seconds * left >= _WORTH_SAYING:
            most = " at most" if self.schedule.patience or self.schedule.stop_at else ""
            slow = f"about {time_words(seconds)} an epoch; the other {left}"
            others = slow if seconds >= 1 else f"the other {left} epochs"
            self.watcher.note(f"{others} take {time_words(seconds * left)}{most}")

    def _train_epoch(self) -> None:
        schedule, train, labels = self.schedule, self.examples.train, self.examples.labels
        order = train[order_of(schedule, self.progress.epoch, len(train))]
        turns = turns_of(schedule, self.progress.epoch, len(train))
        steps = schedule.steps(len(train))
        if self.progress.step == 0:
            self.sums.assign(np.array([0.0, 0.0, 0.0, -1.0]))
        done, size = self.progress.step * schedule.batch_size, schedule.batch_size * self.together
        rest, turns = order[done:], turns[done:]
        batches = self.examples.inputs.training_batches(rest, turns, size)
        for number, batch in enumerate(batches):
            chosen = labels[rest[number * size : (number + 1) * size]]
            truth = np.eye(self.examples.classes, dtype=np.float32)[chosen]
            first = self.progress.step
            now = range(first, first - (-len(chosen) // schedule.batch_size))
            seeds, rates = np.stack([*map(self._seeds, now)]), np.array([*map(self._rate, now)], np.float32)
            began = time.monotonic()
            self._train_steps(
                batch, truth, self.class_weights[chosen], seeds, rates, float(first),
                float(self.progress.epoch >= schedule.head_epochs),
            )  # fmt: skip
            self._pace.step(len(chosen), time.monotonic() - began)
            self.progress.step = now.stop
            self.watcher.step(self.progress.step, steps)
            if time.monotonic() - self._saved_at > _STATE_SECONDS:
                self.save()
            self._stop_if_requested()

    def _stop_if_requested(self) -> None:
        """A safe point: after a signal, save and raise Stopped."""
        if interruption.stop_requested():
            self.save()
            interruption.stop_if_requested()

    def _rate(self, step: int) -> float:
        steps = self.schedule.steps(len(self.examples.train))
        return learning_rate(self.schedule.rates, self.progress.epoch * steps + step, steps)

    def _seeds(self, step: int) -> np.ndarray:
        entropy = [self.schedule.seed, self.progress.epoch, step]
        return np.random.SeedSequence(entropy).generate_state(2 * len(self.seeds)).reshape(-1, 2)

    def _measure_epoch(self) -> dict[str, float]:
        loss, hits, count, first_bad = self.sums.numpy().tolist()
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
        put_weights(self.network, self.best_weights)
        kept = self.progress.kept_epoch
        return DivergedError(
            f"the {what} epoch {self.progress.epoch + 1}, step {step}; try a smaller --lr or --clip-norm 1",
            kept_epoch=kept,
        )

    def _validate(self) -> dict[str, Any]:
        from bccli.core.metrics.losses import mean_loss

        val, inputs, size = self.examples.val, self.examples.inputs, self.schedule.batch_size * self.together
        batches = (
            inputs.training_batches(val, np.full(len(val), self.progress.epoch), size)
            if self.examples.augmented_val
            else inputs.batches(val, size)
        )
        probabilities = self._predict_all(batches, stoppable=True)
        labels = self.examples.labels[self.examples.val]
        hits = probabilities.argmax(axis=1) == labels
        return {
            "val_loss": mean_loss(
                labels, probabilities, self.schedule.loss, label_smoothing=self.schedule.label_smoothing
            ),
            "val_accuracy": float(hits.mean()),
        }

    def _judge(self, row: dict[str, float]) -> None:
        """Keep the weights of the best epoch, and see whether to stop."""
        progress, schedule = self.progress, self.schedule
        value = row[schedule.monitor]
        sign = 1 if MEASURES[schedule.monitor] else -1
        if progress.best is None or sign * value > sign * progress.best:
            progress.best, progress.kept_epoch = value, progress.epoch
            self.best_weights = self.network.get_weights()
        if schedule.patience is not None and progress.epoch - progress.kept_epoch >= schedule.patience:
            progress.stopped_early = True
        if schedule.stop_at:
            measure, target = schedule.stop_at
            if (1 if MEASURES[measure] else -1) * (row[measure] - target) > 0:
                progress.stopped_early, progress.kept_epoch = True, progress.epoch
                self.best_weights = self.network.get_weights()

    def _saving_is_due(self) -> bool:
        return self._save_cost < _STATE_SHARE * (time.monotonic() - self._saved_at)

    def save(self) -> None:
        """Write the whole state: weights, optimiser, best weights, and where training stands."""
        started = time.monotonic()
        self.progress.sums = self.sums.numpy().tolist()
        arrays = {f"weight_{place}": value for place, value in enumerate(self.network.get_weights())}
        arrays |= {f"best_{place}": value for place, value in enumerate(self.best_weights)}
        arrays |= {f"optimizer_{place}": v.numpy() for place, v in enumerate(self.optimizer.variables)}
        with replacing(self.state) as stream:
            np.savez(stream, progress=np.array(json.dumps(asdict(self.progress))), **arrays)
        self.on_state(self.progress)
        self._saved_at = time.monotonic()
        self._save_cost = self._saved_at - started

    def _load(self) -> bool:
        """Take up the state on the disk, if there is one."""
        if not self.state.exists():
            return False
        try:
            with np.load(self.state, allow_pickle=False) as content:
                self.progress = Progress(**json.loads(str(content["progress"])))
                weights = [content[f"weight_{place}"] for place in range(len(self.best_weights))]
                self.best_weights = [content[f"best_{place}"] for place in range(len(weights))]
                for place, variable in enumerate(self.optimizer.variables):
                    variable.assign(content[f"optimizer_{place}"])
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.state}: is damaged ({error}); remove the run's folder and start again"
            ) from None
        put_weights(self.network, weights)
        self.sums.assign(np.array(self.progress.sums))
        return True


def _class_weights(examples: Examples, kind: str) -> np.ndarray:
    """A weight per class (classes,): ones, or inversely proportional to the class's share in train."""
    counts = np.bincount(examples.labels[examples.train], minlength=examples.classes)
    if kind == "none":
        return np.ones(examples.classes, np.float32)
    return (counts.sum() / (len(counts) * np.maximum(counts, 1))).astype(np.float32)
