"""The benchmarks' result as a Markdown table, and as JSON."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.benchmarks.comparing import Row

_HEADINGS = ("benchmark", "left", "right", "left / right", "target", "verdict", "rounds")
_PACKAGES = ("bccli", "tensorflow", "keras", "numpy", "pillow")
_RIVALS = (
    *("albumentations", "Augmentor", "ai-edge-litert", "macenko-pca", "onnxruntime", "openvino"),
    *("scikit-learn", "torch", "torchstain", "torchvision"),
)
"""Whom bccli is measured against, and what it computes with: the versions of those that are installed."""


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; times and memory are medians."""
    cells = [(row.name, row.left, row.right, row.ratio, row.target, row.verdict, row.rounds) for row in rows]
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *cells]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def conditions() -> dict[str, Any]:
    """The machine and its load at this moment, the date, and the versions of what takes part."""
    installed = {name: found for name in _RIVALS if (found := _version(name))}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
            **installed,
        },
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def words_of(conditions: Mapping[str, Any]) -> str:
    """Conditions in one line."""
    versions = ", ".join(f"{name} {found}" for name, found in conditions["versions"].items())
    return (
        f"{conditions['date']}, {conditions['processor']}, {conditions['cores']} cores, load "
        f"{conditions['load']} before; {versions}"
    )


def as_json(rows: Sequence[Row], conditions: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """All that was measured."""
    return {**conditions, "notes": list(notes), "rows": [asdict(row) for row in rows]}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
