"""Several processes that train one network together, by tf.distribute.MultiWorkerMirroredStrategy.

A process belongs to one cluster for good, as TensorFlow has it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bccli.core import interruption
from bccli.core.errors import BccliError, DivergedError, PeerError, Stopped, UsageError
from bccli.core.progress import Watcher
from bccli.core.training.parallel.cluster import Cluster
from bccli.core.training.parallel.meeting import meet
from bccli.core.training.parallel.replicas import Mirrored

_MARK, _TOLD, _FAILED_PRECONDITION = "bccli worker failed: ", 500, 9
"""What is told to other workers begins so, has so many characters, and is an error of this kind."""

_ABORTED = "Collective ops is aborted by:"

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
    """Say where another worker has gone, and tell the others what this one fails by, so that all end alike.

    It is for all that waits for others. Raises Stopped where one is lost, PeerError where one has failed.
    """
    try:
        yield
    except Exception as error:
        text = str(error)
        if (failure := _failure_in(text)) is not None:
            raise failure from None
        if not isinstance(error, BccliError) and _is_loss(error):
            watcher.warn(f"another worker is lost ({_reason_in(text)})")
            raise Stopped("stopped without it; run the same command again on all to continue") from None
        if not isinstance(error, UsageError | DivergedError):  # these all workers have
            _tell(error)
        raise


def _tell(error: Exception) -> None:
    """Let the others know by what this worker fails; they notice at once that it has gone."""
    code = error.exit_code if isinstance(error, BccliError) else 1
    facts = json.dumps({"code": code, "text": f"{error}"[:_TOLD]})
    with suppress(Exception):  # without it they notice by themselves, later, and know no reason
        from tensorflow.python.eager.context import context  # TensorFlow has no other way to say it

        context().report_error_to_cluster(_FAILED_PRECONDITION, _MARK + facts)


def _failure_in(text: str) -> PeerError | None:
    """What another worker has told, if it is in an error of TensorFlow's."""
    _, marked, rest = text.partition(_MARK)
    with suppress(ValueError, KeyError, TypeError):
        if marked:
            facts, _ = json.JSONDecoder().raw_decode(rest)
            return PeerError(f"another worker has failed: {facts['text']}", int(facts["code"]))
    return None


def _is_loss(error: Exception) -> bool:
    """Whether TensorFlow says by it that it waits for others in vain."""
    from tensorflow import errors  # it is here, where anything of it failed

    gone = errors.UnavailableError | errors.DeadlineExceededError
    return isinstance(error, gone) or (isinstance(error, errors.OpError) and _ABORTED in str(error))


def _reason_in(text: str) -> str:
    """What TensorFlow says, without where in the graph."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason is known"]
    told = next((line for line in lines if _ABORTED in line), lines[0])
    return told.rpartition(_ABORTED)[2].strip().rstrip(":")
