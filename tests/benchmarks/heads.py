"""A sweep of heads on one frozen backbone against a script that computes features once and fits each head."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.comparing import Row, Side, compare, of_processors, ratio_at_most
from tests.benchmarks.frozen import EPOCHS, prepare

HEADS, LIMIT = 12, 0.5


def heads(rounds: int | None, folder: Path, note: Callable[[str], None]) -> Iterator[Row]:
    """Yield a row for the time that passes and one for that of the processors; features are cold."""
    setting = prepare(folder, note)
    sweep, model = folder / "sweep", folder / "rival.keras"

    def forget() -> None:
        shutil.rmtree(sweep, ignore_errors=True)
        shutil.rmtree(setting.data / ".cache" / "features", ignore_errors=True)

    bccli = [
        sys.executable, "-m", "bccli", "train", str(setting.data), str(sweep), "--backbone", "mobilenet-0.25",
        *setting.bccli_weights, "--epochs", str(EPOCHS), "--batch-size", "32", "--seeds", str(HEADS),
    ]  # fmt: skip
    script = [
        sys.executable, "-m", "tests.benchmarks.rivals.cached_features", str(setting.data), str(model),
        str(EPOCHS), setting.weights, str(HEADS),
    ]  # fmt: skip
    target = ratio_at_most(LIMIT)
    outcome = compare(
        f"{HEADS} heads on one frozen backbone, {EPOCHS} epochs",
        Side("bccli train", bccli, forget, setting.env),
        Side("features by hand, Model.fit for each", script, env=setting.env),
        rounds=rounds or 5,
        target=target,
    )
    yield outcome.row
    yield of_processors(outcome, target)
