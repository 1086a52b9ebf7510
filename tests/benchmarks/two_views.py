"""A lesion and its surroundings on phantom mammograms: `python -m tests.benchmarks.two_views`.

Benign against cancer on the films of `tumours`. Each seed draws other patients; a head on the global average
of tight crops, one on that of crops with `--context 0.5`, and `--head two-views` on the latter are tested on
the same patients. The script prints AUCs and the differences to two views with 95 % intervals over patients,
then the same of all seeds together. KERAS_HOME has to hold MobileNet 0.25's weights.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.tumours import Table, bccli, films, write
from tests.conftest import read_rows

WAYS = {
    "gap, tight crops": ((), "gap"),
    "gap, with surroundings": (("--context", 0.5), "gap"),
    "two views": (("--context", 0.5), "two-views"),
}
TRAIN = (
    *("--backbone", "mobilenet-0.25", "--epochs", 60, "--class-weights", "balanced", "--patience", 15),
)  # fmt: skip


def one_seed(root: Path, seed: int, arguments: argparse.Namespace) -> dict[str, Table]:
    """Test predictions of each way."""
    raw = films(root / "raw", seed, patients=arguments.patients, difficulty=arguments.difficulty)
    crops = "--task", "malignancy", "--roi", "crop", "--size", "128x128", "--ratios", "50/20/30"
    found = {}
    for number, (name, (context, head)) in enumerate(WAYS.items()):
        data, run = root / f"data{number}", root / f"run{number}"
        bccli("prepare", "mini-ddsm", raw, data, *crops, "--seed", seed, *context)
        bccli("train", data, run, *TRAIN, "--head", head, "--seed", seed)
        found[name] = [row for row in read_rows(run / "predictions.csv") if row["split"] == "test"]
    return found


def shown(value: float, interval: Sequence[float] | None, sign: str = "") -> str:
    """A number and its interval."""
    low, high = sorted(interval) if interval else (float("nan"),) * 2
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def compare(folder: Path, seed: str, tables: dict[str, list[tuple[str, Table]]]) -> None:
    """Print a row."""
    files = [write(folder / f"{number}.csv", tables[name]) for number, name in enumerate(WAYS)]
    cells = []
    for file in files:
        (row,) = json.loads(bccli("evaluate", file, "--format", "json"))["runs"]
        cells.append(shown(row["roc_auc"], row["ci"]["roc_auc"]))
    for file in files[:-1]:
        versus = json.loads(bccli("evaluate", files[-1], file, "--format", "json"))["comparison"]
        entry = versus["differences"]["roc_auc"]
        sign = 1 if Path(versus["first"]).stem == files[-1].stem else -1
        interval = [sign * limit for limit in entry["ci"]] if entry["ci"] else None
        cells.append(shown(sign * entry["difference"], interval, "+"))
    print("|", " | ".join((seed, str(row["n"]), *cells)), "|", flush=True)


def main() -> None:
    """Parse, make, train, compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.two_views", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patients", type=int, default=60, help="of each status")
    parser.add_argument("--difficulty", type=float, default=0.5, help="of the phantoms, 0 to 1")
    arguments = parser.parse_args()
    *others, last = WAYS
    print("| seed | n |", " | ".join((*WAYS, *(f"{last} − {name}" for name in others))), "|")
    print("|---" * 7 + "|")
    every: dict[str, list[tuple[str, Table]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            (root := Path(folder, str(seed))).mkdir()
            found = one_seed(root, seed, arguments)
            compare(root, str(seed), {name: [(str(seed), table)] for name, table in found.items()})
            for name, table in found.items():
                every.setdefault(name, []).append((str(seed), table))
        compare(Path(folder), "all", every)


if __name__ == "__main__":
    main()
