"""Several processes that train one network together, by tf.distribute.MultiWorkerMirroredStrategy.

A process belongs to one cluster for good, as TensorFlow has it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bccli.core import interruption
from bccli.core.errors import Stopped
from bccli.core.progress import Watcher
from bccli.core.training.parallel.cluster import Cluster
from bccli.core.training.parallel.meeting import meet
from bccli.core.training.parallel.replicas import Mirrored

_JOINED: dict[Cluster, Mirrored] = {}


def join(cluster: Cluster, watcher: Watcher) -> Mirrored:
    """The replicas of all workers, once all are here; before TensorFlow computes anything.

    Raises what `meet` raises.
    """
    if cluster not in _JOINED:
        meet(cluster, watcher)
        with lost_workers_said(watcher):
            strategy = _strategy(cluster)
        with suppress(ValueError):  # outside the main thread, where nobody listens
            interruption.listen()  # TensorFlow takes SIGTERM for itself
        _JOINED[cluster] = Mirrored(strategy, workers=len(cluster.workers), number=cluster.index)
    return _JOINED[cluster]


def _strategy(cluster: Cluster) -> Any:
    import tensorflow as tf

    spec = tf.train.ClusterSpec({"worker": list(cluster.workers)})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec, task_type="worker", task_id=cluster.index, rpc_layer="grpc"
    )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


@contextmanager
def lost_workers_said(watcher: Watcher) -> Iterator[None]:
    """Say where another worker has gone; it is for all that waits for others. Raises Stopped."""
    try:
        yield
    except Exception as error:
        if not _is_loss(error):
            raise
        watcher.warn(f"another worker is lost ({_first_line(error)})")
        raise Stopped("stopped without it; run the same command again on all to continue") from None


def _is_loss(error: Exception) -> bool:
    """Whether TensorFlow says by it that it waits for others in vain."""
    from tensorflow import errors  # it is here, where anything of it failed

    return isinstance(
        error,
        errors.UnavailableError
        | errors.AbortedError
        | errors.CancelledError
        | errors.InternalError
        | errors.DeadlineExceededError,
    )


def _first_line(error: Any) -> str:
    """What TensorFlow says, without where in the graph."""
    lines = [line.strip() for line in str(error.message).splitlines()]
    told = next((line for line in lines if line.startswith("Collective ops is aborted by")), lines[0])
    return told.removeprefix("Collective ops is aborted by: ").rstrip(":")
