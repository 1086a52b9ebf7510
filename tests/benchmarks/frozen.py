"""Training a head on a frozen backbone: bccli against a plain Keras loop, and against a cache by hand."""

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.comparing import Outcome, Row, Side, Target, compare, ratio_at_most, verdict
from tests.benchmarks.processes import measure
from tests.conftest import REAL_DATA, REAL_WEIGHTS, read_rows, rows_of

EPOCHS, FEW_EPOCHS = 50, 5
SIZE = "--size", "224x224"

# One patient trains, the other validates: both sides then see all 909 patches in every epoch.
ALL_SEEN = "--ratios", "80/20/0"


@dataclass(frozen=True)
class Rival:
    """A script of `rivals/`, and what it is called in the table."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()


PLAIN = Rival("plain Keras, decoded images in memory", "keras_fit", ("cache",))
DECODING = Rival("plain Keras, decoding in each epoch", "keras_fit", ("decode",))
BY_HAND = Rival("features cached by hand", "cached_features")


@dataclass(frozen=True)
class Setting:
    """The prepared images and the weights that both sides get."""

    data: Path
    weights: str
    env: dict[str, str]

    @property
    def bccli_weights(self) -> tuple[str, ...]:
        """bccli's options for the weights, which random ones are frozen only with, and for a head that has no
        more in it than those of rivals."""
        return ("--weights", self.weights, "--trainable", "none", "--feature-norm", "none")


def frozen(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield the rows: plain Keras with all epochs and with few, a cache by hand, and the accuracies."""
    setting = prepare(folder, note)
    plain = _against(setting, folder, PLAIN, EPOCHS, rounds or 3, ratio_at_most(0.1))
    yield plain.row
    yield _accuracies(plain, setting)
    yield _against(setting, folder, PLAIN, FEW_EPOCHS, rounds or 3).row
    by_hand = _against(setting, folder, BY_HAND, EPOCHS, rounds or 5, ratio_at_most(1.2))
    yield by_hand.row
    yield _accuracies(by_hand, setting)


def decoding(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield one row: plain Keras without the cache that `frozen` grants it."""
    setting = prepare(folder, note)
    yield _against(setting, folder, DECODING, EPOCHS, rounds or 3).row


def prepare(folder: Path, note: Callable[[str], None]) -> Setting:
    """Prepare real patches where there are some, phantom images otherwise."""
    data = folder / "data"
    patches = REAL_DATA / "idc50"
    if patches.is_dir():
        arguments = ["idc", str(patches), str(data), *ALL_SEEN, *SIZE]
    else:
        note(f"frozen: no real patches at {patches}; phantom images instead")
        arguments = ["phantom", "histology", str(data), "--count", "909", *ALL_SEEN, *SIZE]
    measure([sys.executable, "-m", "bccli", "prepare", *arguments])
    if REAL_WEIGHTS.is_dir():
        return Setting(data, "imagenet", {"KERAS_HOME": str(REAL_WEIGHTS)})
    note(f"frozen: no ImageNet weights at {REAL_WEIGHTS}; random weights instead, accuracies mean little")
    return Setting(data, "none", {})


def _against(
    setting: Setting, folder: Path, rival: Rival, epochs: int, rounds: int, target: Target | None = None
) -> Outcome:
    """bccli with cold features against a rival, in turns."""
    run, model = folder / "run", folder / "rival.keras"

    def forget() -> None:
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(setting.data / ".cache" / "features", ignore_errors=True)

    bccli = [
        sys.executable, "-m", "bccli", "train", str(setting.data), str(run), "--backbone", "mobilenet-0.25",
        *setting.bccli_weights, "--epochs", str(epochs), "--batch-size", "32",
    ]  # fmt: skip
    script = [
        sys.executable, "-m", f"tests.benchmarks.rivals.{rival.module}", str(setting.data), str(model),
        str(epochs), setting.weights, *rival.arguments,
    ]  # fmt: skip
    return compare(
        f"frozen, {epochs} epochs",
        Side("bccli train", bccli, forget, setting.env),
        Side(rival.name, script, env=setting.env),
        rounds=rounds,
        target=target,
    )


def _accuracies(outcome: Outcome, setting: Setting) -> Row:
    """Both validation accuracies, equal if they differ by less than two standard errors of the difference."""
    left = [float(rows_of(run.output)[-1]["val_accuracy"]) for run in outcome.left]
    right = [float(json.loads(run.output.splitlines()[-1])["val_accuracy"]) for run in outcome.right]
    images = sum(row["split"] == "val" for row in read_rows(setting.data / "manifest.csv"))
    a, b = sum(left) / len(left), sum(right) / len(right)
    allowed = 2 * math.sqrt((a * (1 - a) + b * (1 - b)) / images)
    return Row(
        name=f"{outcome.row.name}: validation accuracy",
        left=f"{a:.3f}",
        right=f"{b:.3f}",
        ratio=f"{a / b:.3f}",
        target=f"differ by ≤ {allowed:.3f} ({images} images)",
        verdict=verdict(abs(a - b) <= allowed),
        rounds=outcome.row.rounds,
    )
