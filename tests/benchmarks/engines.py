"""What computes the features of frozen networks fastest: the measurements behind `core/models/engines.py`."""

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bccli.core.models.engines import LITERT, OPENVINO, TENSORFLOW, engines_of
from tests.benchmarks.comparing import Row, verdict
from tests.benchmarks.processes import measure
from tests.benchmarks.rivals.engine_speeds import NEEDS, installed

NETWORKS = {
    "mobilenet-0.25": "224x224",
    "mobilenet": "224x224",
    "mobilenet-v2": "224x224",
    "mobilenet-v3-large": "224x224",
    "efficientnet-b0": "224x224",
    "efficientnet-v2-b0": "224x224",
    "nasnet-mobile": "224x224",
    "xception": "224x224",
    "resnet50": "144x96",
    "densenet121": "224x224",
    "inception-resnet-v2": "160x160",
    "vgg16": "144x96",
}
"""A network of each family, and the size of its images."""

PAYS = 1.25
"""So many times as fast as TensorFlow an engine has to be for the table to take it."""


def engines(
    rounds: int | None, folder: Path, note: Callable[[str], None], networks: dict[str, str] | None = None
) -> Iterator[Row]:
    """Yield a row per network and engine; LiteRT's and OpenVINO's say whether the table agrees."""
    for engine in NEEDS:
        if not installed(engine):
            note(f"engines: {' and '.join(NEEDS[engine])} not installed, so {engine} is not measured")
    for name, size in (networks or NETWORKS).items():
        script = [sys.executable, "-m", "tests.benchmarks.rivals.engine_speeds", name, size]
        run = measure([*script, str(rounds or 5), *NEEDS])
        speeds = json.loads(run.output.splitlines()[-1])
        yield from _rows(name, size, speeds, rounds or 5)


def _rows(name: str, size: str, speeds: dict[str, dict[str, Any]], rounds: int) -> Iterator[Row]:
    medians = {engine: statistics.median(found["rates"]) for engine, found in speeds.items()}
    for engine in medians.keys() - {TENSORFLOW}:
        times = medians[engine] / medians[TENSORFLOW]
        print(f"engines {name} {engine}: {times:.2f} times TensorFlow", file=sys.stderr, flush=True)
        yield Row(
            name=f"features of {name}, {size.replace('x', '×')}",
            left=_shown(engine, medians[engine], speeds[engine]),
            right=_shown(TENSORFLOW, medians[TENSORFLOW], speeds[TENSORFLOW]),
            ratio=f"{medians[TENSORFLOW] / medians[engine]:.3f}",
            target="the table's" if engine in (LITERT, OPENVINO) else "",
            verdict=verdict(_agrees(name, engine, times)) if engine in (LITERT, OPENVINO) else "",
            rounds=rounds,
            measurements={"speeds": [speeds[engine], speeds[TENSORFLOW]]},
        )


def _shown(engine: str, rate: float, found: dict[str, Any]) -> str:
    difference = f", {found['difference']:.0e} off" if found["difference"] else ""
    return f"{engine}: {rate:,.0f} images a second (start {found['start']:.1f} s{difference})"


def _agrees(name: str, engine: str, times: float) -> bool:
    """Whether the table takes an engine where it pays; near the limit either is right."""
    if abs(times - PAYS) < 0.25:
        return True
    chosen = engine in engines_of(name, "cpu", "float32")
    return chosen == (times > PAYS) or (engine == LITERT and installed(OPENVINO))
