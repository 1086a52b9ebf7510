"""The order in which training examples come: a pure function of the seed and of the epoch's number."""

import numpy as np

from bccli.core.training.settings import Schedule


def order_of(schedule: Schedule, epoch: int, examples: int) -> np.ndarray:
    """The training examples of an epoch, one after the other, as numbers from 0 on.

    With `steps_per_epoch`, an epoch is a section of an endless sequence of passes, each shuffled anew.
    """
    if schedule.steps_per_epoch is None:
        return _shuffled(schedule.seed, epoch, examples)
    size = schedule.steps_per_epoch * schedule.batch_size
    first, past = epoch * size // examples, -(-(epoch + 1) * size // examples)
    passes = np.concatenate([_shuffled(schedule.seed, number, examples) for number in range(first, past)])
    start = epoch * size - first * examples
    return passes[start : start + size]


def turns_of(schedule: Schedule, epoch: int, examples: int) -> np.ndarray:
    """For each entry of the order, how many passes over the training examples lie before it."""
    if schedule.steps_per_epoch is None:
        return np.full(examples, epoch)
    size = schedule.steps_per_epoch * schedule.batch_size
    return (epoch * size + np.arange(size)) // examples


def _shuffled(seed: int, number: int, examples: int) -> np.ndarray:
    return np.random.default_rng([seed, number]).permutation(examples)
