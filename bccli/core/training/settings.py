"""How a network is trained: what decides its weights besides itself and the data."""

from dataclasses import dataclass

import numpy as np

from bccli.core.models.heads import find_loss
from bccli.core.training.learning_rate import SCHEDULES, Rates, check_rates

# What can be watched, and whether a larger value is better.
MEASURES = {"loss": False, "accuracy": True, "val_loss": False, "val_accuracy": True}
OPTIMIZERS = {"adam": ("Adam", 1e-3), "rmsprop": ("RMSprop", 1e-3), "sgd": ("SGD", 1e-2)}


@dataclass(frozen=True)
class Schedule:
    """How to train: everything that decides the weights, besides network and data."""

    output: str = "softmax"
    loss: str = "categorical_crossentropy"
    optimizer: str = "adam"
    lr: float = 1e-3
    batch_size: int = 32
    epochs: int = 50
    patience: int | None = None
    monitor: str = "val_loss"
    stop_at: tuple[str, float] | None = None
    class_weights: str = "none"
    seed: int = 0
    label_smoothing: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    decay: float | None = None
    decay_epochs: float | None = None
    clip_norm: float | None = None
    mixed_precision: bool = False
    steps_per_epoch: int | None = None
    head_epochs: int = 0
    layer_decay: float = 1.0

    @property
    def rates(self) -> Rates:
        """The course of the learning rate."""
        return Rates(self.lr, self.epochs, self.schedule, self.warmup, self.decay, self.decay_epochs)

    def check(self) -> None:
        """Raises UsageError for settings that contradict each other."""
        find_loss(self.loss, self.output)
        check_rates(self.rates)

    @property
    def extendable(self) -> bool:
        """Whether more epochs begin like fewer ones."""
        return not SCHEDULES[self.schedule].ends

    def steps(self, examples: int) -> int:
        """How many steps an epoch has: one pass over so many training examples, unless said otherwise."""
        return self.steps_per_epoch or -(-examples // self.batch_size)

    def order(self, epoch: int, examples: int) -> np.ndarray:
        """The training examples of an epoch, one after the other, as numbers from 0 on.

        With `steps_per_epoch`, an epoch is a piece of an endless sequence of passes, each shuffled anew.
        """
        if self.steps_per_epoch is None:
            return self._shuffled(epoch, examples)
        size = self.steps_per_epoch * self.batch_size
        first, past = epoch * size // examples, -(-(epoch + 1) * size // examples)
        passes = np.concatenate([self._shuffled(number, examples) for number in range(first, past)])
        start = epoch * size - first * examples
        return passes[start : start + size]

    def turns(self, epoch: int, examples: int) -> np.ndarray:
        """For each place of `order`, how many passes over the training examples lie before it."""
        if self.steps_per_epoch is None:
            return np.full(examples, epoch)
        size = self.steps_per_epoch * self.batch_size
        return (epoch * size + np.arange(size)) // examples

    def _shuffled(self, number: int, examples: int) -> np.ndarray:
        return np.random.default_rng([self.seed, number]).permutation(examples)
