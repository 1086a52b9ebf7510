"""The first answer of `bccli predict` and its pace, against Keras on the same model.keras."""

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from tests.benchmarks.comparing import PEAK, Row, Side, compare, ratio_at_most, verdict
from tests.benchmarks.processes import measure

IMAGES, ROUNDS = 500, 7


@dataclass(frozen=True)
class Network:
    """A backbone and the size of its images."""

    backbone: str
    size: str


NETWORKS = (Network("mobilenet-0.25", "224x224"), Network("resnet50", "144x96"))


def predict(
    rounds: int | None, folder: Path, note: Callable[[str], None], networks: tuple[Network, ...] = NETWORKS
) -> Iterator[Row]:
    """Yield for each network: time to the first answer, memory for it, images per second of a folder."""
    note(f"predict: random weights; phantom images as PNG, {IMAGES} of them in the folder")
    for network in networks:
        run, images = _make(network, folder / network.backbone)
        name = f"{network.backbone} at {network.size.replace('x', '×')}"
        yield from _first_answer(name, run, images[0], rounds or ROUNDS)
        yield _pace(name, run, images[0].parent, rounds or ROUNDS)


def _make(network: Network, folder: Path) -> tuple[Path, list[Path]]:
    """A run, and a folder of images of the size that it knows."""
    data, run, images = folder / "data", folder / "run", folder / "images"
    bccli = [sys.executable, "-m", "bccli"]
    measure([*bccli, "prepare", "phantom", "histology", str(data), "--count", "100", "--size", network.size])
    measure(
        [*bccli, "train", str(data), str(run), "--backbone", network.backbone, "--weights", "none",
         "--trainable", "none", "--epochs", "1"]
    )  # fmt: skip
    images.mkdir()
    sources = sorted(data.glob("images/*/*.png"))
    for number, source in enumerate(islice(cycle(sources), IMAGES)):
        (images / f"{number:03}.png").write_bytes(source.read_bytes())
    return run, sorted(images.iterdir())


def _first_answer(name: str, run: Path, image: Path, rounds: int) -> Iterator[Row]:
    """One image: the whole process, and its memory."""
    ours = Side("bccli predict", [sys.executable, "-m", "bccli", "predict", str(run), str(image)])
    script = [sys.executable, "-m", "tests.benchmarks.rivals.ten_lines", str(run / "model.keras"), str(image)]
    theirs = Side("ten lines of Keras", script)
    yield compare(f"{name}, first answer", ours, theirs, rounds=rounds, target=ratio_at_most(1 / 15)).row
    yield compare(f"{name}, memory", ours, theirs, rounds=3, quantity=PEAK, target=ratio_at_most(0.25)).row


def _pace(name: str, run: Path, folder: Path, rounds: int) -> Row:
    """Images per second of a folder, decoding included, against arrays that are in memory already."""
    ours = [sys.executable, "-m", "bccli", "predict", str(run), str(folder)]
    script = [sys.executable, "-m", "tests.benchmarks.rivals.keras_predict"]
    theirs = [*script, str(run / "model.keras"), str(folder)]
    left, right = [], []
    for number in range(1, rounds + 1):
        found = re.search(r"([\d,]+) images in ([\d.]+) s", measure(ours).notes)
        assert found, "bccli predict says at its end how long it took"
        left.append(int(found[1].replace(",", "")) / float(found[2]))
        right.append(float(json.loads(measure(theirs).output.splitlines()[-1])["images_per_second"]))
        shown = f"bccli {left[-1]:.0f}, Keras {right[-1]:.0f} images a second"
        print(f"{name}, folder {number}/{rounds}  {shown}", file=sys.stderr, flush=True)
    a, b = statistics.median(left), statistics.median(right)
    return Row(
        name=f"{name}, a folder of {IMAGES}, loading left out",
        left=f"bccli predict, from files: {a:.0f} images a second",
        right=f"Model.predict, from memory: {b:.0f} images a second",
        ratio=f"{a / b:.2f}",
        target="≥ 1",
        verdict=verdict(a >= b),
        rounds=rounds,
        measurements={
            "left": [{"images_per_second": value} for value in left],
            "right": [{"images_per_second": value} for value in right],
        },
    )
