"""Fine-tuning from stored activations against running the frozen layers in every step, storing included."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparing import Row, Side, compare, ratio_at_most
from tests.benchmarks.processes import measure

IMAGES, EPOCHS, SIDE, GAMMA = 60, 20, 160, 15


def finetune(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield one row: VGG16 from layer 15 on, whole processes."""
    note(f"finetune: random weights; {IMAGES} phantom images of {SIDE}×{SIDE}, {EPOCHS} epochs")
    data, run, out = folder / "data", folder / "run", folder / "out"
    bccli = [sys.executable, "-m", "bccli"]
    prepare = [*bccli, "prepare", "phantom", "histology", str(data), "--count", str(IMAGES)]
    measure([*prepare, "--size", f"{SIDE}x{SIDE}"])
    frozen = ["--backbone", "vgg16", "--weights", "none", "--trainable", "none", "--epochs", "1"]
    measure([*bccli, "train", str(data), str(run), *frozen])
    settings = ["--epochs", str(EPOCHS), "--batch-size", "32", "--lr", "1e-5"]
    ours = [*bccli, "finetune", str(run), str(out), "--from-layer", str(GAMMA), *settings]
    script = [sys.executable, "-m", "tests.benchmarks.rivals.frozen_every_time"]
    theirs = [*script, str(data), str(run / "model.keras"), str(EPOCHS), str(GAMMA)]

    def forget() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(data / ".cache" / "features", ignore_errors=True)

    outcome = compare(
        f"fine-tuning VGG16 from layer {GAMMA} at {SIDE}×{SIDE}, {EPOCHS} epochs",
        Side("bccli finetune", ours, forget),
        Side("Model.fit, frozen layers in each step, images in memory", theirs),
        rounds=rounds or 3,
        target=ratio_at_most(1 / 3),
    )
    for side in outcome.right:
        json.loads(side.output.splitlines()[-1])  # it has come to its end
    yield outcome.row
