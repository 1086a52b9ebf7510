"""Starting TensorFlow: quietly, on the device that was asked for, with repeatable results."""

import ctypes
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bccli.core.cores import available_cores, schedulable_cores
from bccli.core.errors import BccliError
from bccli.core.models.stderr import quiet_stderr
from bccli.core.models.unusable_gpus import reason_for_none
from bccli.core.runs.provenance import multiplies_in_tf32


def start(
    device: str = "auto", *, deterministic: bool = True, tf32: bool | None = None, verbose: bool = False
) -> Any:
    """Import TensorFlow and return it. Raises BccliError for `device` gpu where there is none.

    Without `deterministic`, operations may be faster, and give other last digits every time. GPUs that know
    `tf32` round what they multiply to it or do not, None leaves them; NVIDIA_TF32_OVERRIDE=0 forbids it.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    if verbose:
        tf = _imported()
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet_stderr():
            tf = _imported()
            _devices(tf)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # a sweep traces many graphs, as it has to
    gpus = _devices(tf)
    if device == "gpu" and not gpus:
        reason = f" ({reason})" if (reason := reason_for_none()) else ""
        raise BccliError(
            f"--device gpu: TensorFlow finds no GPU{reason}; install bccli[cuda] or say --device cpu"
        )
    if (cores := available_cores()) < schedulable_cores():  # TensorFlow looks at the latter only
        with suppress(RuntimeError):  # it is at work already
            tf.config.threading.set_intra_op_parallelism_threads(cores)
            tf.config.threading.set_inter_op_parallelism_threads(cores)
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        tf32 = False
    if tf32 is not None:
        tf.config.experimental.enable_tensor_float_32_execution(tf32)
    if deterministic:
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
    """The devices in words, for the start line: whether GPUs that know TF32 multiply in it, and why a GPU
    that is here is none of them."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        tf32 = {True: " (TF32)", False: " (no TF32)", None: ""}[multiplies_in_tf32(tf)]
        return f"{len(gpus)} × {name}{tf32}"
    reason = reason_for_none()
    unused = f"; a GPU is here, but TensorFlow cannot use it: {reason}" if reason else ""
    return f"CPU ({available_cores()} cores){unused}"


def device_class() -> str:
    """What TensorFlow computes on: cpu or gpu, whose results differ in their last digits."""
    import tensorflow as tf

    return "gpu" if tf.config.get_visible_devices("GPU") else "cpu"


def gpu_memory() -> int:
    """The bytes of memory of the first GPU that this process may use, 0 where its driver does not say."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        device, memory = ctypes.c_int(), ctypes.c_size_t()
        failed = (
            driver.cuInit(0)
            or driver.cuDeviceGet(ctypes.byref(device), 0)
            or driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        )
    except (OSError, AttributeError):
        return 0
    return 0 if failed else memory.value


def _imported() -> Any:
    """TensorFlow, and with it Keras."""
    with _uncollected(), _without_scikit_learn():
        import keras  # noqa: F401
        import tensorflow as tf

    return tf


@contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """Import Keras without scikit-learn, a fifth of the time, which its wrappers for it alone need."""
    if "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # so Python says that there is none
    try:
        yield
    finally:
        del sys.modules["sklearn"]


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
