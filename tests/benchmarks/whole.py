"""Training a whole network: bccli, which decodes its images in each epoch, against `model.fit` in memory."""

import json
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparing import Row, verdict
from tests.benchmarks.processes import measure

IMAGES, EPOCHS, ROUNDS = 160, 3, 3
AT_LEAST = 0.95


def whole(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield one row: images per second, without the compilation of the first step."""
    note(f"whole: random weights; {IMAGES} phantom images, {EPOCHS} epochs, batches of 32, no validation")
    data, run, rounds = folder / "data", folder / "run", rounds or ROUNDS
    bccli = [sys.executable, "-m", "bccli"]
    measure(
        [*bccli, "prepare", "phantom", "histology", str(data), "--count", str(IMAGES), "--size", "144x96",
         "--ratios", "1/0/0"]
    )  # fmt: skip
    ours = [
        *bccli, "train", str(data), str(run), "--backbone", "resnet50", "--weights", "none", "--epochs",
        str(EPOCHS), "--batch-size", "32",
    ]  # fmt: skip
    theirs = [sys.executable, "-m", "tests.benchmarks.rivals.whole_fit", str(data), str(EPOCHS)]
    left, right = [], []
    for number in range(1, rounds + 1):
        shutil.rmtree(run, ignore_errors=True)
        found = re.search(r"trained ([\d.,]+) images a second", measure(ours).notes)
        assert found, "bccli train says at its end how fast it was"
        left.append(float(found[1].replace(",", "")))
        right.append(float(json.loads(measure(theirs).output.splitlines()[-1])["images_per_second"]))
        shown = f"bccli {left[-1]:.1f}, Keras {right[-1]:.1f} images a second"
        print(f"whole {number}/{rounds}  {shown}", file=sys.stderr, flush=True)
    a, b = statistics.median(left), statistics.median(right)
    yield Row(
        name="whole ResNet-50 at 144×96, batches of 32",
        left=f"bccli train, from files: {a:.1f} images a second",
        right=f"Model.fit, from memory: {b:.1f} images a second",
        ratio=f"{a / b:.2f}",
        target=f"≥ {AT_LEAST}",
        verdict=verdict(a >= AT_LEAST * b),
        rounds=rounds,
        measurements={
            "left": [{"images_per_second": value} for value in left],
            "right": [{"images_per_second": value} for value in right],
        },
    )
