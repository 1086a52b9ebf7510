"""Which devices a training uses: `--strategy` and `--devices`."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from bccli.core.errors import UsageError
from bccli.core.progress import Watcher
from bccli.core.training.parallel.cluster import Cluster, cluster_here
from bccli.core.training.parallel.replicas import ONE_DEVICE, Mirrored, Replicas
from bccli.core.training.parallel.strategies import MIRRORED, MULTIWORKER, NONE
from bccli.core.training.parallel.workers import join, lost_workers_said


@dataclass(frozen=True)
class Strategy:
    """On one device; `mirrored` on so many `devices` of this machine, None for all its GPUs; or `multiworker`
    on all GPUs of each machine of a `cluster`."""

    name: str = NONE
    devices: int | None = None
    cluster: Cluster | None = None

    @classmethod
    def of(cls, name: str, devices: int | None, environment: Mapping[str, str]) -> "Strategy":
        """The strategy of both options, and of the environment's variables.

        Raises UsageError where a number of devices has no use, and for no cluster, or one that cannot be.
        """
        if name != MIRRORED and devices is not None:
            raise UsageError("--devices is the number of --strategy mirrored; add that, or leave it out")
        return cls(name, devices, cluster_here(environment) if name == MULTIWORKER else None)

    @property
    def leads(self) -> bool:
        """Whether this process writes the run, and not another one of the cluster."""
        return self.cluster is None or self.cluster.leads

    def check_alone(self) -> None:
        """Raises UsageError where several processes would train more than one network."""
        if self.cluster:
            raise UsageError(
                f"--strategy {MULTIWORKER}: trains one network; give each fold, seed, backbone or node a job "
                "of its own"
            )

    def watching(self, watcher: Watcher) -> AbstractContextManager[None]:
        """Inside, a worker that is lost is said, and ends the others: Stopped."""
        return lost_workers_said(watcher) if self.cluster else nullcontext()

    def check(self, kind: str, batch_size: int) -> None:
        """Raises UsageError for a kind of run that one device trains, and for more devices than a batch has
        images."""
        if self.name != NONE and kind != "network":
            raise UsageError(
                f"--strategy {self.name}: for networks that learn step by step; this is a {kind}, "
                "which one device trains: leave it out"
            )
        if (self.devices or 1) > batch_size:
            raise UsageError(
                f"--devices {self.devices}: a batch of {batch_size} has no image for each; try a larger "
                "--batch-size, which is that of all devices together"
            )

    def prepare(self, tf: Any, watcher: Watcher) -> None:
        """Before TensorFlow computes anything: meet the other workers of a cluster; else, where there is no
        GPU, divide the CPU into logical devices, which are for tests and trials.

        Raises UsageError where more devices are wanted than there are.
        """
        if self.name == NONE:
            return
        if self.cluster:
            join(self.cluster, watcher)
            return
        gpus, wanted = _gpus(tf), self._wanted(tf)
        if gpus and wanted > gpus:
            raise UsageError(f"--devices {wanted}: here {_are(gpus, 'GPU')}; say --devices {gpus}")
        if gpus:
            self._hide_others(tf, wanted)
        if not gpus and wanted > 1:
            self._divide_cpu(tf, wanted)

    def _wanted(self, tf: Any) -> int:
        """How many devices are asked for: all GPUs where no number is given."""
        return self.devices or max(1, _gpus(tf))

    def _hide_others(self, tf: Any, wanted: int) -> None:
        """Let nothing compute on GPUs beyond those that are wanted."""
        # It raises where TensorFlow has begun to compute, as in a second run of the same command.
        with suppress(RuntimeError):
            tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:wanted], "GPU")

    def _divide_cpu(self, tf: Any, wanted: int) -> None:
        cpu = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * wanted)
        except RuntimeError:  # TensorFlow has begun to compute, as in a second run of the same command
            if len(tf.config.list_logical_devices("CPU")) < wanted:
                raise UsageError(
                    f"--devices {wanted}: TensorFlow already computes on fewer devices"
                ) from None

    def replicas(self, watcher: Watcher) -> Replicas:
        """The replicas on these devices, once TensorFlow is prepared; how many they are is said."""
        if self.name == NONE:
            return ONE_DEVICE
        replicas = join(self.cluster, watcher) if self.cluster else self._of_machine()
        several = f"{replicas.count} devices share each batch"
        if replicas.workers > 1:
            several += f", {replicas.count // replicas.workers} of each of {replicas.workers} workers"
        watcher.note(
            several if replicas.count > 1 else "only one device is here: it trains as without --strategy"
        )
        return replicas if replicas.count > 1 else ONE_DEVICE

    def _of_machine(self) -> Replicas:
        import tensorflow as tf

        kind, count = "GPU" if _gpus(tf) else "CPU", self._wanted(tf)
        return Mirrored.on([f"{kind}:{number}" for number in range(count)]) if count > 1 else ONE_DEVICE


SINGLE = Strategy()


def _gpus(tf: Any) -> int:
    return len(tf.config.list_physical_devices("GPU"))


def _are(count: int, what: str) -> str:
    return f"is 1 {what}" if count == 1 else f"are {count} {what}s"
