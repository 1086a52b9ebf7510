"""A network while it is trained, with its optimiser, and its compiled steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bccli.core.models.inference_mode import drawing_layers
from bccli.core.training.objectives.objective import Objective
from bccli.core.training.parallel.replicas import ONE_DEVICE, Replicas
from bccli.core.training.settings import OPTIMIZERS, Schedule


class Trainee:
    """A network, its optimiser, and what the steps of an epoch have summed up.

    `sums` are loss, hits and examples of the epoch so far, and the number of the first step whose loss was no
    number, or -1. `depths` has for each trainable variable how many layers with weights lie above it, 0 in
    the head. `best_weights` are those of the best epoch. The network was made in the scope of its `replicas`.
    """

    def __init__(
        self,
        network: Any,
        schedule: Schedule,
        depths: Sequence[int] | None = None,
        replicas: Replicas = ONE_DEVICE,
    ) -> None:
        import tensorflow as tf

        self.network, self.schedule, self.replicas = network, schedule, replicas
        with replicas.scope():
            self._make_optimizer()
        self._beginnings = [_sparing(variable.numpy()) for variable in self.optimizer.variables]
        self.sums = tf.Variable(np.zeros(4), dtype=tf.float64)
        self.best_weights = network.get_weights()
        self.depths = list(depths or [0] * len(network.trainable_variables))
        self.decay = tf.Variable(_number(schedule.weight_decay), dtype=tf.float32)
        self.seeds = [layer.seed_generator.state for layer in drawing_layers(network)]

    def _make_optimizer(self) -> None:
        import keras

        schedule, clip_norm = self.schedule, self.schedule.clip_norm
        name, _ = OPTIMIZERS[schedule.optimizer]
        # Each replica gives it an equal part of the gradient, whose norm is a part as large.
        self.optimizer = getattr(keras.optimizers, name)(
            learning_rate=schedule.lr, global_clipnorm=clip_norm and clip_norm / self.replicas.count
        )
        self.rate = self.optimizer.learning_rate  # a variable
        if self._scales_loss:
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
        self.optimizer.build(self.network.trainable_variables)

    @property
    def _scales_loss(self) -> bool:
        """Whether its 16 bits are those whose least numbers are large."""
        return self.schedule.mixed_precision and self.schedule.mixed_type == "float16"

    @property
    def needs_sum(self) -> bool:
        """Whether a step looks at the gradient before the optimizer adds up those of all replicas: at its
        norm, or at whether it is finite."""
        return self.schedule.clip_norm is not None or self._scales_loss

    def restart(self, schedule: Schedule) -> None:
        """Be as after the start, with the weights that the network has now and a schedule of another seed."""
        self.schedule = schedule
        for variable, value in zip(self.optimizer.variables, self._beginnings, strict=True):
            variable.assign(value)
        self.sums.assign(np.zeros(4))
        self.decay.assign(_number(schedule.weight_decay))
        self.keep_weights()

    def forget_sums(self) -> None:
        """Begin the sums of an epoch."""
        self.sums.assign(np.array([0.0, 0.0, 0.0, -1.0]))

    def keep_weights(self) -> None:
        """The weights of now are the best ones."""
        self.best_weights = self.network.get_weights()

    def step_seeds(self, epoch: int, step: int) -> np.ndarray:
        """The seeds (replicas · drawing layers, 2) of a step, those of a replica one after the other."""
        entropy, count = [self.schedule.seed, epoch, step], 2 * len(self.seeds)
        several = [[*entropy, number] for number in range(self.replicas.count)]
        own = several if len(several) > 1 else [entropy]
        states = [np.random.SeedSequence(each).generate_state(count) for each in own]
        return np.concatenate(states).reshape(-1, 2)


def _number(weight_decay: float | str) -> float:
    """A weight decay that is a number by now."""
    return float(weight_decay)


def _sparing(value: np.ndarray) -> np.ndarray:
    """The same array, which takes no memory where it is zero."""
    return value if value.any() else np.broadcast_to(value.dtype.type(0), value.shape)


def training_step(trainee: Trainee, objective: Objective) -> Callable[..., Any]:
    """One step of training, not compiled.

    It takes inputs, truth and weights, a row per example; the seeds, the number and the learning rate of the
    step; the share of layers below the head in it; and what `Replicas.run` has to know of it. It returns how
    many workers are asked to stop.
    """
    import tensorflow as tf

    schedule, network, sums, replicas = trainee.schedule, trainee.network, trainee.sums, trainee.replicas
    variables = network.trainable_variables
    # Optimizers have one rate for all variables, but their steps can be taken back in part.
    partly = schedule.layer_decay != 1 or schedule.head_epochs > 0
    kernels = [each for each in variables if schedule.weight_decay and "kernel" in each.name]
    slowed = [pair for pair in zip(variables, trainee.depths, strict=True) if partly and pair[1] > 0]

    def squares_of(several: Sequence[Any]) -> Any:
        return tf.add_n([tf.reduce_sum(tf.square(tf.cast(each.value, tf.float32))) for each in several])

    def train_step(
        x: Any, truth: Any, weights: Any, seeds: Any, number: Any, rate: Any, below: Any, about: Any
    ) -> Any:
        def learn(x: Any, truth: Any, weights: Any, seeds: Any, examples: Any) -> tuple[Any, Any]:
            for index, generator in enumerate(trainee.seeds):
                generator.assign(tf.cast(seeds[index], generator.dtype))
            with tf.GradientTape() as tape:
                scores = network(tf.cast(x, tf.float32), training=True)
                losses = objective.losses(truth, scores) * weights
                loss = replicas.mean(losses, examples)
                held_back = loss
                if kernels:
                    held_back = loss + replicas.part(trainee.decay / 2 * squares_of(kernels))
                scaled = trainee.optimizer.scale_loss(held_back)  # itself, but for float16
            before = [tf.identity(variable.value) for variable, _ in slowed]
            gradients = tape.gradient(scaled, variables)
            gradients = replicas.gradients(gradients, needs_sum=trainee.needs_sum)
            trainee.optimizer.apply(gradients, variables)
            for (variable, depth), old in zip(slowed, before, strict=True):
                share = schedule.layer_decay**depth * below
                variable.assign(old + (variable.value - old) * share)
            hits = objective.hits(truth, scores)
            return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32))

        trainee.rate.assign(rate)
        loss, hits, examples, asked = replicas.run(learn, (x, truth, weights), seeds, about)
        is_bad = tf.math.logical_and(sums[3] < 0, ~tf.math.is_finite(tf.cast(loss, tf.float64)))
        more = tf.stack([tf.cast(value, tf.float64) for value in (loss, hits, examples)])
        sums.assign(tf.concat([sums[:3] + more, [tf.where(is_bad, number, sums[3])]], 0))
        return asked

    return train_step


def training_steps(
    trainee: Trainee, signature: Any, objective: Objective, steps_per_call: int
) -> Callable[..., Any]:
    """The compiled step of training, or so many of them, one after the other.

    The function takes their inputs, truth and weights, a row per example; their seeds and learning rates,
    a row per step; the number of the first step; the share of layers below the head in it; and (2,) how many
    examples all workers have in it, and 1 where this one is asked to stop. It returns how many are.
    """
    import tensorflow as tf

    train_step, size = training_step(trainee, objective), trainee.schedule.batch_size

    def train_steps(
        x: Any, truth: Any, weights: Any, seeds: Any, rates: Any, first: Any, below: Any, about: Any
    ) -> Any:
        def step(index: Any) -> tuple[Any]:
            here = slice(index * size, (index + 1) * size)
            number = first + tf.cast(index, tf.float64)
            train_step(x[here], truth[here], weights[here], seeds[index], number, rates[index], below, about)
            return (index + 1,)

        if steps_per_call == 1:  # without a loop around it, and without a copy
            return train_step(x, truth, weights, seeds[0], first, rates[0], below, about)
        tf.while_loop(lambda index: index < tf.size(rates), step, [0], parallel_iterations=1)
        return about[1]

    specs = [
        signature,
        tf.TensorSpec((None, objective.width), tf.float32),
        tf.TensorSpec((None,), tf.float32),
        tf.TensorSpec((None, trainee.replicas.count * len(trainee.seeds), 2), tf.uint32),
        tf.TensorSpec((None,), tf.float32),
        tf.TensorSpec((), tf.float64),
        tf.TensorSpec((), tf.float32),
        tf.TensorSpec((2,), tf.float32),
    ]
    compiled: Callable[..., Any] = tf.function(train_steps, input_signature=specs, autograph=False)
    return compiled


def inference_step(network: Any, signature: Any, replicas: Replicas = ONE_DEVICE) -> Callable[..., Any]:
    """The compiled step of inference, from inputs of this worker, and the number of those of all, to scores
    of all."""
    import tensorflow as tf

    def predict_step(x: Any, examples: Any) -> Any:
        return replicas.infer(lambda share: network(tf.cast(share, tf.float32), training=False), x, examples)

    specs = [signature, tf.TensorSpec((), tf.int32)]
    compiled: Callable[..., Any] = tf.function(predict_step, input_signature=specs, autograph=False)
    return compiled


@dataclass(frozen=True)
class CompiledSteps:
    """A trainee, its compiled steps of training and its compiled step of inference."""

    trainee: Trainee
    train: Callable[..., Any]
    predict: Callable[..., Any]


CompiledBefore = dict[Any, CompiledSteps]
"""The compiled steps of one network by all that they depend on: to compile takes longer than to train a small
head, and a seed or other weights change nothing in it."""


def compile_steps(
    network: Any,
    schedule: Schedule,
    signature: Any,
    objective: Objective,
    steps_per_call: int,
    *,
    depths: Sequence[int] | None = None,
    before: CompiledBefore | None = None,
    replicas: Replicas = ONE_DEVICE,
) -> CompiledSteps:
    """The steps of a network that is at its start; those of `before`, begun anew, where they are the same.

    Objectives of classes are the same for the same schedule and number of classes.
    """
    before = {} if before is None else before
    decays = float(bool(schedule.weight_decay))  # how much is a variable
    key = replace(schedule, seed=0, weight_decay=decays), signature, objective.width, steps_per_call
    if (known := before.get(key)) is not None:
        known.trainee.restart(schedule)
        return known
    trainee = Trainee(network, schedule, depths, replicas)
    before[key] = CompiledSteps(
        trainee,
        training_steps(trainee, signature, objective, steps_per_call),
        inference_step(network, signature, replicas),
    )
    return before[key]
