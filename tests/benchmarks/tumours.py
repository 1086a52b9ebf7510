"""A tree against a flat classifier on phantom mammograms: `python -m tests.benchmarks.tumours`.

They come in Mini-DDSM's layout. Two classes are alike (tumours with a smooth or a ragged edge), one is not
(no tumour). Each seed draws other patients. KERAS_HOME has to hold MobileNet 0.25's weights.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from bccli.cli import cli
from tests.commands.mammograms import MiniDdsm
from tests.conftest import read_rows, save

SEEDS = 5
PATIENTS = 20  # of each status
FILM = 128, 192


class Phantom(MiniDdsm):
    """Mini-DDSM whose films show what their contours are about."""

    rng = np.random.default_rng(0)

    def _add_film(
        self, status: str, number: str, side: str, view: str, contours: int, age: object, density: int
    ) -> None:
        width, height = FILM
        rows, columns = np.mgrid[:height, :width]
        film = 40 + 60 * np.clip(1.2 - np.hypot(columns / width, (rows - height / 2) / height), 0, 1)
        film = film + self.rng.normal(0, 10, (height, width))
        super()._add_film(status, number, side, view, 0, age, density)
        row = self.films[-1]
        path = self.root / str(row["fullPath"]).replace("\\", "/").lstrip("/")
        if contours:
            x, y = self.rng.integers(24, width // 2 + 16), self.rng.integers(40, height - 40)
            angle, far = np.arctan2(rows - y, columns - x), np.hypot(columns - x, rows - y)
            ragged = 0.28 if status == "Cancer" else 0.0
            edge = self.rng.integers(12, 17) * (1 + ragged * np.sin(9 * angle + self.rng.uniform(0, 6)))
            film = film + np.where(far < edge, 55, 0)
            line = np.where(np.abs(far - 24) < 1, 255, 0).astype(np.uint8)
            save(path.with_name(f"{path.stem}_Mask.png"), line)
            folder = str(row["fullPath"]).rpartition("\\")[0].lstrip("\\")
            row["Tumour_Contour"] = f"{folder}\\{path.stem}_Mask.png"
        save(path, np.clip(film, 0, 255).astype(np.uint8))


def phantom(root: Path, seed: int) -> Path:
    """A raw dataset."""
    dataset = Phantom(root, ending="png")
    dataset.rng = np.random.default_rng(seed)
    for number in range(PATIENTS):
        for status, side in (("Normal", ""), ("Benign", "LEFT"), ("Cancer", "RIGHT")):
            marked = {f"{side}_{view}": 1 for view in ("CC", "MLO")} if side else {}
            dataset.add(status, f"{number + 1:04d}", marked)
    return dataset.write()


def bccli(*args: object) -> str:
    """What the command prints."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    if result.exit_code:
        sys.exit(f"{args}: {result.stderr}")
    return result.stdout


TRAIN = (
    *("--backbone", "mobilenet-0.25", "--head", "blocks", "--epochs", 60, "--class-weights", "balanced"),
    *("--patience", 15),
)


def compare(first: Path, second: Path, measure: Callable[[dict], float]) -> str:
    """Both figures, and the interval of the accuracies' difference."""
    found = json.loads(bccli("evaluate", first, second, "--format", "json"))
    figures = {row["name"]: measure(row) for row in found["runs"]}
    versus = found["comparison"]
    entry = versus["differences"]["accuracy"]
    low, high = entry["ci"] or (float("nan"), float("nan"))
    sides = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    pair = f"{versus['first']} - {versus['second']}"
    return f"{sides}; {pair} {entry['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> None:
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            raw = phantom(root / "raw", seed)
            data, crops = root / "data", root / "crops"
            shared = "--ratios", "60/15/25", "--seed", seed, "--size", "128x192"
            bccli("prepare", "mini-ddsm", raw, data, *shared, "--fit", "pad", "--keep", "normal=0.34")
            bccli("train", data, root / "flat", *TRAIN, "--seed", seed)
            bccli("hierarchy", data, root / "tree", *TRAIN, "--seed", seed)
            majority = json.loads(bccli("evaluate", root / "tree", "--format", "json"))["runs"][0]
            print(
                f"seed {seed}, majority {majority['majority_accuracy']:.3f}, n {majority['n']}, F1 ", end=""
            )
            print(compare(root / "tree", root / "flat", lambda row: row["f1"]), flush=True)
            tested = {row["patient"] for row in read_rows(data / "manifest.csv") if row["split"] == "test"}
            marked = ",".join(sorted(name for name in tested if not name.startswith("Normal")))
            bccli(
                *("prepare", "mini-ddsm", raw, crops, "--task", "malignancy", "--roi", "crop", "--margin", 8),
                *("--size", "128x128", "--seed", seed, "--test-patients", marked),
            )
            bccli("train", crops, root / "second", *TRAIN, "--seed", seed)
            bccli(
                *("hierarchy", data, root / "cropped", "--compose", f"root={root / 'tree' / 'root'}"),
                *("--compose", f"tumor={root / 'second'}@{crops}"),
            )
            node = compare(
                root / "cropped", root / "tree", lambda row: row["tree"]["nodes"]["tumor"]["accuracy"]
            )
            print(f"seed {seed}, stage two: {node}", flush=True)


if __name__ == "__main__":
    main()
