"""One network on one device, or a replica of it on each of several, which learn from one batch together.

Every replica takes its share of the same global batch, so that a step is the same whatever the number of
devices: the loss is a sum over the global number of examples, gradients are added over all replicas before
their norm is clipped, and batch norms that learn take the mean and variance of the global batch. A batch is
sliced, never padded: the last one of an epoch may leave a replica with fewer examples than others. Only what
is drawn in the network differs: each replica has seeds of its own for its dropouts.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np

from bccli.core.errors import UsageError
from bccli.core.models.graph import take_moments
from bccli.core.weights.copying import layers_in

Work = Callable[..., tuple[Any, Any]]
"""What a replica makes of its share of a step: two scalars to be summed over all."""


class Replicas(Protocol):
    """The replicas of a network, and how they take a step together.

    There are `count` of them in all, in so many processes, the `workers`; one of these `leads`, and it alone
    writes. Each worker loads what its own replicas take.
    """

    count: int
    workers: int
    leads: bool

    def share(self, examples: int) -> slice:
        """Which of so many examples of a batch this worker loads."""

    def agree(self, what: str, facts: str) -> None:
        """Wait for the other workers. Raises UsageError in all of them where the facts of one differ."""

    def wants(self, anybody: bool) -> bool:
        """Whether at least one worker says so; it waits for the others."""

    def take_over(self, variables: Sequence[Any]) -> None:
        """Give variables the values that they have in the worker that leads."""

    def scope(self) -> AbstractContextManager[Any]:
        """Where the network and its optimiser have to be made, after Keras was last cleared."""

    def run(self, work: Work, batch: Sequence[Any], seeds: Any, step: Any) -> tuple[Any, Any, Any, Any]:
        """Call `work` in every replica with its share of this worker's tensors (n, …) of a batch, its seeds
        (draws, 2) of those of all (count · draws, 2), and how many examples all replicas have.

        The `step` (2,) has this number, and whether this worker is asked to stop. Returns the sums of both
        scalars of `work`, the number, and how many workers are asked to stop.
        """

    def mean(self, losses: Any, examples: Any) -> Any:
        """Within `work`: this replica's part of the mean of the losses of so many examples, in all."""

    def part(self, penalty: Any) -> Any:
        """Within `work`: this replica's part of what is added to the loss once."""

    def gradients(self, own: Sequence[Any], *, needs_sum: bool) -> Sequence[Any]:
        """Within `work`: what Keras's optimizer, which adds up those of all replicas, has to be given; where
        it `needs_sum`, all get the same, 1/count of the sum."""

    def infer(self, network: Callable[[Any], Any], x: Any, examples: Any) -> Any:
        """What a network says of so many examples, of which this worker has x (n, …)."""


class OneDevice:
    """No replicas: TensorFlow's default."""

    count = 1
    workers = 1
    leads = True

    def share(self, examples: int) -> slice:
        """All."""
        return slice(0, examples)

    def agree(self, what: str, facts: str) -> None:
        """Nobody differs."""

    def wants(self, anybody: bool) -> bool:
        """This one."""
        return anybody

    def take_over(self, variables: Sequence[Any]) -> None:
        """They have them."""

    def scope(self) -> AbstractContextManager[Any]:
        """Anywhere."""
        return nullcontext()

    def run(self, work: Work, batch: Sequence[Any], seeds: Any, step: Any) -> tuple[Any, Any, Any, Any]:
        """The whole batch at once."""
        import tensorflow as tf

        examples = tf.shape(batch[-1])[0]
        return *work(*batch, seeds, examples), examples, step[1]

    def mean(self, losses: Any, examples: Any) -> Any:
        """The mean."""
        import tensorflow as tf

        return tf.reduce_mean(losses)

    def part(self, penalty: Any) -> Any:
        """All of it."""
        return penalty

    def gradients(self, own: Sequence[Any], *, needs_sum: bool) -> Sequence[Any]:
        """Themselves."""
        return own

    def infer(self, network: Callable[[Any], Any], x: Any, examples: Any) -> Any:
        """All at once."""
        return network(x)


class Mirrored:
    """A replica on each of several devices, of one worker or of each of several, by a strategy of
    tf.distribute that keeps them equal.

    Of the `workers`, all of as many devices, this is the one with this `number`.
    """

    def __init__(self, strategy: Any, *, workers: int = 1, number: int = 0) -> None:
        self.strategy, self.workers, self.leads = strategy, workers, number == 0
        self.count = strategy.num_replicas_in_sync
        self._number = number
        self._here = self.count // workers
        self._tell: Any = None

    @classmethod
    def on(cls, devices: Sequence[str]) -> "Mirrored":
        """Those on several devices of this machine, such as GPU:0."""
        import tensorflow as tf

        return cls(tf.distribute.MirroredStrategy(list(devices)))

    def share(self, examples: int) -> slice:
        """The shares of this worker's replicas, which lie side by side."""
        if examples < self.count:
            return slice(0, examples)
        first = self._number * self._here
        return slice(first * examples // self.count, (first + self._here) * examples // self.count)

    def agree(self, what: str, facts: str) -> None:
        """Compare a hash of them."""
        digest = np.frombuffer(hashlib.sha256(facts.encode()).digest()[:8], np.uint32)
        told = self._told(digest.astype(np.float64))
        if differing := [number for number, row in enumerate(told) if (row != told[0]).any()]:
            raise UsageError(
                f"--strategy multiworker: worker {differing[0]} has {what} that worker 0 does not have; "
                "start the same command in the same folder, of a file system that all share"
            )

    def wants(self, anybody: bool) -> bool:
        """Ask all workers."""
        return anybody if self.workers == 1 else bool(self._told(np.array([float(anybody)])).any())

    def _told(self, numbers: np.ndarray) -> np.ndarray:
        """What each worker says (workers, n), of numbers (n,) in 64 bits."""
        import tensorflow as tf

        if self.workers == 1:
            return numbers[None]
        own = tf.one_hot(self._number, self.workers, dtype=tf.float64)[:, None] * numbers
        self._tell = self._tell or self._compiled_telling()
        rows: np.ndarray = self.strategy.experimental_local_results(self._tell(own))[0].numpy()
        return rows

    def _compiled_telling(self) -> Any:
        import tensorflow as tf

        def of_replica(own: Any) -> Any:
            context = tf.distribute.get_replica_context()
            said = tf.cast(self._is_first_here(context), tf.float64) * own
            return context.all_reduce(tf.distribute.ReduceOp.SUM, said)

        @tf.function(input_signature=[tf.TensorSpec((self.workers, None), tf.float64)], autograph=False)
        def tell(own: Any) -> Any:
            return self.strategy.run(of_replica, [own])

        return tell

    def _is_first_here(self, context: Any) -> Any:
        return context.replica_id_in_sync_group == self._number * self._here

    def take_over(self, variables: Sequence[Any]) -> None:
        """Sums, to which the other replicas add zeros."""
        import tensorflow as tf

        if self.workers == 1:
            return

        def of_replica(value: Any) -> Any:
            context = tf.distribute.get_replica_context()
            said = tf.where(context.replica_id_in_sync_group == 0, value, tf.zeros_like(value))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, said)

        for variable in variables:
            value = tf.convert_to_tensor(variable.numpy())
            wide = tf.cast(value, tf.float64) if value.dtype.is_integer else value
            told = tf.function(lambda value=wide: self.strategy.run(of_replica, [value]))()
            first = self.strategy.experimental_local_results(told)[0]
            variable.assign(tf.cast(first, value.dtype))

    def scope(self) -> AbstractContextManager[Any]:
        """The strategy's scope."""
        scope: AbstractContextManager[Any] = self.strategy.scope()
        return scope

    def run(self, work: Work, batch: Sequence[Any], seeds: Any, step: Any) -> tuple[Any, Any, Any, Any]:
        """A slice for each replica, in their order; all sums in one."""
        import tensorflow as tf

        examples, draws = tf.cast(step[0], tf.int32), tf.shape(seeds)[0] // self.count
        times = self._times(examples)

        def of_replica() -> Any:
            context = tf.distribute.get_replica_context()
            number, here = self._share(context, examples)
            own = seeds[number * draws : (number + 1) * draws]
            sums = work(*(tensor[here] for tensor in batch), own, examples * times)
            parts = [tf.cast(each, tf.float32) / tf.cast(times, tf.float32) for each in sums]
            asked = tf.where(self._is_first_here(context), step[1], 0.0)
            return tf.stack([*parts, asked])

        sums = self.strategy.reduce(tf.distribute.ReduceOp.SUM, self.strategy.run(of_replica), axis=None)
        return sums[0], sums[1], examples, sums[2]

    def mean(self, losses: Any, examples: Any) -> Any:
        """The sum of this replica's losses over the number of all."""
        import tensorflow as tf

        return tf.reduce_sum(losses) / tf.cast(examples, losses.dtype)

    def part(self, penalty: Any) -> Any:
        """An equal part."""
        return penalty / self.count

    def gradients(self, own: Sequence[Any], *, needs_sum: bool) -> Sequence[Any]:
        """This replica's, or an equal part of the sum of all."""
        if not needs_sum:
            return own
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        added = context.all_reduce(tf.distribute.ReduceOp.SUM, list(own))
        return [each / self.count for each in added]

    def infer(self, network: Callable[[Any], Any], x: Any, examples: Any) -> Any:
        """The answers of all replicas, one after the other: sums of them, each in its place among zeros."""
        import tensorflow as tf

        def of_replica() -> Any:
            context = tf.distribute.get_replica_context()
            number, here = self._share(context, examples)
            begin, end = self._bounds(number, examples)
            answers = network(x[here])
            answers = tf.where(self._counts(number, examples), answers, tf.zeros_like(answers))
            placed = tf.pad(answers, [[begin, examples - end], *[[0, 0]] * (len(answers.shape) - 1)])
            return context.all_reduce(tf.distribute.ReduceOp.SUM, placed)

        return self.strategy.experimental_local_results(self.strategy.run(of_replica))[0]

    def _times(self, examples: Any) -> Any:
        """How often each of so many examples is in a step: once, or in every replica where they are fewer
        than replicas, as networks cannot do with none; all means are the same."""
        import tensorflow as tf

        return tf.where(examples < self.count, self.count, 1)

    def _counts(self, number: Any, examples: Any) -> Any:
        """Whether a replica's answers are taken: those of the first where all have the same examples."""
        import tensorflow as tf

        return tf.logical_or(examples >= self.count, number == 0)

    def _bounds(self, number: Any, examples: Any) -> tuple[Any, Any]:
        """The first and the last but one of a replica's examples among all."""
        import tensorflow as tf

        begin, end = number * examples // self.count, (number + 1) * examples // self.count
        alone = examples < self.count
        return tf.where(alone, 0, begin), tf.where(alone, examples, end)

    def _share(self, context: Any, examples: Any) -> tuple[Any, slice]:
        """The number of this replica, and its share of those of so many examples that this worker loads."""
        import tensorflow as tf

        number = tf.cast(context.replica_id_in_sync_group, tf.int32)
        begin, end = self._bounds(number, examples)
        loaded, _ = self._bounds(self._number * self._here, examples)
        return number, slice(begin - loaded, end - loaded)


ONE_DEVICE = OneDevice()


def synchronise_batch_norms(network: Any) -> None:
    """Let the batch norms of a network that learn take the mean and variance of the global batch.

    It is for networks that no step is compiled of yet and that nobody saves. Keras's `synchronized` has the
    variance as E(x²) − E(x)², which in 32 bits loses the digits of maps that hardly vary; here it is the mean
    of squared deviations, as on one device.
    """
    import keras

    for layer in layers_in(network):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            take_moments(layer, _moments_over)


def _moments_over(axes: Sequence[int]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """What gives the mean and variance of x over some axes and all replicas, in replica context."""
    import tensorflow as tf

    def moments(x: Any, mask: Any) -> tuple[Any, Any]:
        context, add = tf.distribute.get_replica_context(), tf.distribute.ReduceOp.SUM
        count = context.all_reduce(add, tf.cast(tf.reduce_prod(tf.gather(tf.shape(x), axes)), x.dtype))
        mean = context.all_reduce(add, tf.reduce_sum(x, axes, keepdims=True)) / count
        squares = tf.reduce_sum(tf.math.squared_difference(x, tf.stop_gradient(mean)), axes)
        return tf.squeeze(mean, axes), context.all_reduce(add, squares) / count

    return moments
