"""Starting TensorFlow: quietly, on the device that was asked for, with repeatable results."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bccli.core.cores import available_cores
from bccli.core.errors import BccliError
from bccli.core.models.stderr import quiet_stderr


def start(device: str = "auto", *, verbose: bool = False) -> Any:
    """Import TensorFlow and return it. Raises BccliError for `device` gpu where there is none."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    if verbose:
        with _uncollected():
            import tensorflow as tf
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet_stderr():
            with _uncollected():
                import tensorflow as tf

            _devices(tf)
    gpus = _devices(tf)
    if device == "gpu" and not gpus:
        raise BccliError("--device gpu: TensorFlow finds no GPU; install bccli[cuda] or say --device cpu")
    tf.config.experimental.enable_op_determinism()
    return tf


def _devices(tf: Any) -> list[Any]:
    """The GPUs, set to take memory as they need it."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            break  # they are in use already, by an earlier call in this process
    return gpus


def describe_device(tf: Any) -> str:
    """The devices in words, for the start line."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        return f"{len(gpus)} × {name}"
    return f"CPU ({available_cores()} cores)"


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import TensorFlow for the first time without garbage collections, and spare it later ones.

    It makes half a million objects that live as long as the process: going through them again and again
    takes a third of the import's time, and once more as much when the process ends.
    """
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
