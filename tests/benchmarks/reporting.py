"""The benchmarks' result as a Markdown table, and as JSON."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.comparing import Row

_HEADINGS = ("benchmark", "left", "right", "left / right", "target", "verdict", "rounds")
_PACKAGES = ("bccli", "tensorflow", "keras", "numpy", "pillow")


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; times and memory are medians."""
    cells = [(row.name, row.left, row.right, row.ratio, row.target, row.verdict, row.rounds) for row in rows]
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *cells]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine() -> str:
    """The machine, its load at this moment, the date and the versions in one line."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    load = f"{os.getloadavg()[0]:.1f}"
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, load {load} before; "
        f"{time.strftime('%Y-%m-%d')}; Python {platform.python_version()}, {versions}"
    )


def as_json(rows: Sequence[Row], machine: str, notes: Sequence[str]) -> dict[str, Any]:
    """All that was measured."""
    return {"machine": machine, "notes": list(notes), "rows": [asdict(row) for row in rows]}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
