"""Which devices a training uses: `--strategy` and `--devices`."""

from dataclasses import dataclass
from typing import Any

from bccli.core.errors import UsageError
from bccli.core.progress import Watcher
from bccli.core.training.parallel.replicas import ONE_DEVICE, Mirrored, Replicas
from bccli.core.training.parallel.strategies import NONE


@dataclass(frozen=True)
class Strategy:
    """On one device, or `mirrored` on so many `devices` of this machine, None for all its GPUs."""

    name: str = NONE
    devices: int | None = None

    @classmethod
    def of(cls, name: str, devices: int | None) -> "Strategy":
        """The strategy of both options. Raises UsageError where a number of devices has no use."""
        if name == NONE and devices is not None:
            raise UsageError("--devices is the number of --strategy mirrored; add that, or leave it out")
        return cls(name, devices)

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

    def prepare(self, tf: Any) -> None:
        """Before TensorFlow computes anything: where there is no GPU, divide the CPU into logical devices,
        which are for tests and trials.

        Raises UsageError where more devices are wanted than there are.
        """
        if self.name == NONE:
            return
        gpus, wanted = _gpus(tf), self._wanted(tf)
        if gpus and wanted > gpus:
            raise UsageError(f"--devices {wanted}: here {_are(gpus, 'GPU')}; say --devices {gpus}")
        if not gpus and wanted > 1:
            self._divide_cpu(tf, wanted)

    def _wanted(self, tf: Any) -> int:
        """How many devices are asked for: all GPUs where no number is given."""
        return self.devices or max(1, _gpus(tf))

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
        replicas = self._replicas()
        several = f"{replicas.count} devices share each batch"
        watcher.note(
            several if replicas.count > 1 else "only one device is here: it trains as without --strategy"
        )
        return replicas

    def _replicas(self) -> Replicas:
        import tensorflow as tf

        kind, count = "GPU" if _gpus(tf) else "CPU", self._wanted(tf)
        return Mirrored([f"{kind}:{number}" for number in range(count)]) if count > 1 else ONE_DEVICE


SINGLE = Strategy()


def _gpus(tf: Any) -> int:
    return len(tf.config.list_physical_devices("GPU"))


def _are(count: int, what: str) -> str:
    return f"is 1 {what}" if count == 1 else f"are {count} {what}s"
