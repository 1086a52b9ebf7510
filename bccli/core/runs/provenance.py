"""With what a run was made: bccli's commit, the versions of what it computes with, and the machine.

Everything is read from files and from modules that are loaded already: no process is started, no library
imported. What cannot be found out is left out. Nothing here decides whether two runs are the same.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bccli.core.cores import available_cores

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # SHA-1, and SHA-256 of newer repositories
_LOADED = ("numpy", "sklearn", "tensorflow", "keras")
"""Modules that count if they were used, by the version that they say."""
DISTRIBUTIONS = {
    "pillow": ("pillow",),
    "opencv": ("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
    "litert": ("ai-edge-litert",),
    "imagecodecs": ("imagecodecs",),
}
"""Distributions of which one is installed: what decodes, resizes and answers, however it was loaded."""


def provenance() -> dict[str, Any]:
    """What run.json says under `commit`, `versions` and `hardware`."""
    commit = own_commit()
    return {**({"commit": commit} if commit else {}), "versions": _versions(), "hardware": hardware()}


def own_commit() -> str:
    """The commit of the bccli that runs, "" where it is not known."""
    return commit_of(Path(__file__).parents[3]) or _installed_commit()


def commit_of(checkout: Path) -> str:
    """The commit of a git checkout, "" where the folder is none or git keeps it in an unknown way."""
    try:
        folder = checkout / ".git"
        if folder.is_file():  # a worktree, or a submodule
            folder = checkout / _after("gitdir:", folder)
        head = _line(folder / "HEAD")
        return head if _HASH.fullmatch(head) else _resolved(folder, head)
    except (OSError, UnicodeDecodeError):
        return ""


def _resolved(folder: Path, head: str) -> str:
    """The commit of the branch that HEAD names, which worktrees keep in the repository's own folder."""
    if not head.startswith("ref:"):
        return ""
    name = head.removeprefix("ref:").strip()
    common = folder / _line(folder / "commondir") if (folder / "commondir").is_file() else folder
    for base in dict.fromkeys((folder, common)):
        if (base / name).is_file() and _HASH.fullmatch(found := _line(base / name)):
            return found
    if not (common / "packed-refs").is_file():
        return ""
    packed = (line.split(" ") for line in (common / "packed-refs").read_text("utf-8").splitlines())
    known = {words[1]: words[0] for words in packed if len(words) == 2 and _HASH.fullmatch(words[0])}
    return known.get(name, "")


def _line(path: Path) -> str:
    return path.read_text("utf-8").strip()


def _after(mark: str, path: Path) -> str:
    return _line(path).removeprefix(mark).strip()


def _installed_commit() -> str:
    """The commit that pip installed bccli from, "" where it came from elsewhere (PEP 610)."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        origin = json.loads(distribution("bccli").read_text("direct_url.json") or "{}")
        found = str(origin.get("vcs_info", {}).get("commit_id", ""))
    except (PackageNotFoundError, OSError, ValueError, AttributeError):
        return ""
    return found if _HASH.fullmatch(found) else ""


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for module in _LOADED:
        if module in sys.modules:
            versions[module] = sys.modules[module].__version__
    installed = {name: installed_version(names) for name, names in DISTRIBUTIONS.items()}
    return versions | {name: version for name, version in installed.items() if version}


def installed_version(names: tuple[str, ...]) -> str:
    """The version of the first of several distributions that is installed, "" where none is."""
    from importlib.metadata import PackageNotFoundError, version

    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def hardware() -> dict[str, Any]:
    """The machine's kind, cores that this process may use and all cores, the models of CPU and GPUs, and
    whether these multiply in TF32, where they can."""
    models = {"cpu": _cpu(), "gpus": _gpus()}
    tf32 = multiplies_in_tf32(sys.modules.get("tensorflow"))
    return {
        "machine": platform.machine(),
        "cores": available_cores(),
        "cores_of_machine": os.cpu_count(),
        **{name: model for name, model in models.items() if model},
        **({} if tf32 is None else {"tf32": tf32}),
    }


def change_of(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How the hardware that computes differs, in words; empty where it does not, or was not noted."""
    counted = "machine", "cores", "cpu", "gpus", "replicas"
    same = all(before.get(name) == now.get(name) for name in counted)
    if not before or (same and before.get("tf32", now.get("tf32")) == now.get("tf32")):
        return ""
    return f"{_in_words(before)} before, {_in_words(now)} now"


def _in_words(known: Mapping[str, Any]) -> str:
    """Such as `2 cores of AMD EPYC and 1 × NVIDIA H100`."""
    cores, gpus = known.get("cores"), known.get("gpus") or []
    cpu = f"{cores} core{'s' * (cores != 1)} of {known.get('cpu') or known.get('machine')}"
    words = " and ".join([cpu, *(f"{gpus.count(name)} × {name}" for name in dict.fromkeys(gpus))])
    replicas = known.get("replicas", 1)
    tf32 = {True: ", TF32", False: ", no TF32"}.get(known.get("tf32", None), "")
    return f"{words}{tf32}, {replicas} replicas" if replicas > 1 else f"{words}{tf32}"


@cache
def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        return platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _gpus() -> list[str]:
    """The models of the GPUs that TensorFlow uses, none where it was not loaded."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    config = tensorflow.config
    return [
        str(config.experimental.get_device_details(gpu).get("device_name", "GPU"))
        for gpu in config.list_physical_devices("GPU")
    ]


_TF32_SINCE = 8, 0
"""The compute capability of Ampere, the first GPUs that know TF32."""


def multiplies_in_tf32(tensorflow: Any) -> bool | None:
    """Whether TensorFlow's GPUs round what they multiply to TF32; None where none of them can, or it was not
    loaded."""
    if tensorflow is None:
        return None
    config, experimental = tensorflow.config, tensorflow.config.experimental
    details = map(experimental.get_device_details, config.list_physical_devices("GPU"))
    if not any(tuple(known.get("compute_capability", ())) >= _TF32_SINCE for known in details):
        return None
    return bool(experimental.tensor_float_32_execution_enabled())
