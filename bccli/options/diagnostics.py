"""`--version`, and with `-v` what whoever reads a report of a bug has to know of the machine."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bccli import __version__
from bccli.core.runs.provenance import DISTRIBUTIONS, hardware, installed_version, own_commit

_PACKAGES = {
    "TensorFlow": ("tensorflow", "tensorflow-cpu", "tf-nightly"),
    "Keras": ("keras",),
    "LiteRT": DISTRIBUTIONS["litert"],
    "OpenCV": DISTRIBUTIONS["opencv"],
    "NumPy": ("numpy",),
    "Pillow": DISTRIBUTIONS["pillow"],
}
"""What computes, decodes and resizes, and the distributions that bring it."""

_ASK = """
import json, tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
details = tf.config.experimental.get_device_details
print(json.dumps([details(gpu).get("device_name", "GPU") for gpu in gpus]))
"""
"""What another process runs, so that TensorFlow's log does not show, nor a crash of it ends this one."""

_NAMES = 14  # cells: the longest of the names on the left, and two between
_NOT_INSTALLED = "not installed"


def _show(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version, with `-v` the rest, and end; `-v` is eager and so is known here in either order."""
    if not wanted or ctx.resilient_parsing:
        return
    click.echo(f"bccli, version {__version__}")
    if ctx.params.get("verbose"):
        for name, value in diagnostics():
            click.echo(f"{name:<{_NAMES}}{value}")
    ctx.exit()


version = click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    callback=_show,
    help="Show the version and exit; with -v also this machine and what is installed, for a report of a bug.",
)


def diagnostics() -> Iterator[tuple[str, str]]:
    """Names and values, each as soon as it is known; what is not installed is said to be so."""
    yield "commit", own_commit() or "not known"
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "platform", platform.platform()
    yield "cores", _cores()
    yield "memory", _memory()
    for name, distributions in _PACKAGES.items():
        found = installed_version(distributions)
        yield name, found or _NOT_INSTALLED
        if name == "TensorFlow":
            yield "GPU", _gpus() if found else "not looked for, as TensorFlow is not installed"
    yield from _weights()


def _cores() -> str:
    known = hardware()
    model = f", {known['cpu']}" if known.get("cpu") else ""
    return f"{known['cores']} of {known['cores_of_machine']}{model}"


def _memory() -> str:
    from bccli.core.cores import available_memory

    found = available_memory()
    return f"{found / 1000**3:,.1f} GB" if found else "not known"


def _gpus() -> str:
    """The GPUs that TensorFlow uses, or why there are none."""
    from bccli.core.models.unusable_gpus import reason_in

    asked = _asked()
    if asked.returncode:
        return f"not known, as TensorFlow does not start: {_last_line(asked)}"
    gpus = json.loads(asked.stdout.splitlines()[-1])
    if gpus:
        return ", ".join(f"{gpus.count(name)} × {name}" for name in dict.fromkeys(gpus))
    return f"none: {_why_none(reason_in(asked.stderr.splitlines()))}"


def _asked() -> subprocess.CompletedProcess[str]:
    """What another process that asks TensorFlow says, with all of its log."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    return subprocess.run(
        [sys.executable, "-c", _ASK], capture_output=True, text=True, errors="replace", env=environment
    )


def _last_line(asked: subprocess.CompletedProcess[str]) -> str:
    """What a process said last, or how it ended where it said nothing."""
    said = asked.stderr.strip().splitlines()
    return said[-1] if said else f"it ended with {asked.returncode}"


def _why_none(reason: str) -> str:
    """Why TensorFlow uses no GPU: it was told so, there is none, or the reason that it gave."""
    from bccli.core.models.unusable_gpus import gpu_is_visible, gpus_are_hidden

    if gpus_are_hidden():
        return "CUDA_VISIBLE_DEVICES hides them"
    if not gpu_is_visible():
        return "there is no /dev/nvidia0 or another that this process may open"
    return reason or "TensorFlow does not say why"


def _weights() -> Iterator[tuple[str, str]]:
    """Each backbone whose ImageNet weights lie in Keras's cache, with their size, and where that is."""
    from bccli.core.catalog import BACKBONES
    from bccli.core.weights.pretrained import cached_file, keras_home

    files = {row.name: cached_file(row) for row in BACKBONES.values() if row.weights}
    found = [f"{name} ({_size(file)})" for name, file in files.items() if file.is_file()]
    yield "weights", f"{', '.join(found) or 'none'} in {_shown(keras_home() / 'models')}"


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1000**2:,.1f} MB"


def _shown(folder: Path) -> str:
    """A folder without the name of whoever's home it lies in, as others will read it."""
    return f"~/{folder.relative_to(Path.home())}" if folder.is_relative_to(Path.home()) else str(folder)
