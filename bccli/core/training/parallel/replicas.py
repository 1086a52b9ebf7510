"""One network on one device, or a replica of it on each of several, which learn from one batch together.

Every replica takes its share of the same global batch, so that a step is the same whatever the number of
devices: the loss is a sum over the global number of examples, gradients are added over all replicas before
their norm is clipped, and batch norms that learn take the mean and variance of the global batch. A batch is
sliced, never padded: the last one of an epoch may leave a replica with fewer examples than others. Only what
is drawn in the network differs: each replica has seeds of its own for its dropouts.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from bccli.core.models.graph import take_moments
from bccli.core.weights.copying import layers_in


class Replicas(Protocol):
    """The replicas of a network, and how they take a step together."""

    count: int

    def scope(self) -> AbstractContextManager[Any]:
        """Where the network and its optimiser have to be made, after Keras was last cleared."""

    def run(self, work: Callable[..., tuple[Any, Any]], batch: Sequence[Any], seeds: Any) -> tuple[Any, Any]:
        """Call `work` in every replica with its share of the tensors (n, …) of a batch, its seeds (draws, 2)
        of those of all (count · draws, 2), and how many examples all replicas have; the sums of both
        scalars that it returns."""

    def mean(self, losses: Any, examples: Any) -> Any:
        """Within `work`: this replica's part of the mean of the losses of so many examples, in all."""

    def part(self, penalty: Any) -> Any:
        """Within `work`: this replica's part of what is added to the loss once."""

    def gradients(self, own: Sequence[Any], *, needs_sum: bool) -> Sequence[Any]:
        """Within `work`: what Keras's optimizer, which adds up those of all replicas, has to be given; where
        it `needs_sum`, all get the same, 1/count of the sum."""

    def infer(self, network: Callable[[Any], Any], x: Any) -> Any:
        """What a network says of x (n, …), each replica of its share."""


class OneDevice:
    """No replicas: TensorFlow's default."""

    count = 1

    def scope(self) -> AbstractContextManager[Any]:
        """Anywhere."""
        return nullcontext()

    def run(self, work: Callable[..., tuple[Any, Any]], batch: Sequence[Any], seeds: Any) -> tuple[Any, Any]:
        """The whole batch at once."""
        import tensorflow as tf

        return work(*batch, seeds, tf.shape(batch[-1])[0])

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

    def infer(self, network: Callable[[Any], Any], x: Any) -> Any:
        """All at once."""
        return network(x)


class Mirrored:
    """A replica on each of several devices of this machine, by tf.distribute.MirroredStrategy.

    `devices` are names such as GPU:0.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        import tensorflow as tf

        self.strategy = tf.distribute.MirroredStrategy(list(devices))
        self.count = self.strategy.num_replicas_in_sync

    def scope(self) -> AbstractContextManager[Any]:
        """The strategy's scope."""
        scope: AbstractContextManager[Any] = self.strategy.scope()
        return scope

    def run(self, work: Callable[..., tuple[Any, Any]], batch: Sequence[Any], seeds: Any) -> tuple[Any, Any]:
        """A slice for each replica, in their order."""
        import tensorflow as tf

        examples, draws = tf.shape(batch[-1])[0], tf.shape(seeds)[0] // self.count
        times = self._times(examples)

        def of_replica() -> tuple[Any, Any]:
            number, here = self._share(examples)
            own = seeds[number * draws : (number + 1) * draws]
            return work(*(tensor[here] for tensor in batch), own, examples * times)

        first, second = self.strategy.run(of_replica)
        return self._sum(first) / tf.cast(times, tf.float32), self._sum(second) / tf.cast(times, tf.float32)

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

    def infer(self, network: Callable[[Any], Any], x: Any) -> Any:
        """The answers of all replicas, one after the other."""
        import tensorflow as tf

        examples = tf.shape(x)[0]
        answers = self.strategy.run(lambda: network(x[self._share(examples)[1]]))
        return tf.concat(self.strategy.experimental_local_results(answers), 0)[:examples]

    def _times(self, examples: Any) -> Any:
        """How often each of so many examples is in a step: once, or in every replica where they are fewer
        than replicas, as networks cannot do with none; all means are the same."""
        import tensorflow as tf

        return tf.where(examples < self.count, self.count, 1)

    def _share(self, examples: Any) -> tuple[Any, slice]:
        """The number of this replica, and its share of so many examples."""
        import tensorflow as tf

        number = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
        alone = self._times(examples) > 1
        begin, end = number * examples // self.count, (number + 1) * examples // self.count
        return number, slice(tf.where(alone, 0, begin), tf.where(alone, examples, end))

    def _sum(self, values: Any) -> Any:
        import tensorflow as tf

        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)


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
            layer.synchronized = True
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
