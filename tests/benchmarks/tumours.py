"""A tree against a flat classifier on phantom mammograms: `python -m tests.benchmarks.tumours`.

They come in Mini-DDSM's layout. Two classes are alike (tumours with a smoother or a more ragged edge), one is
not (no tumour). Each seed draws other patients, and splits and trains anew; for each the script prints what
the two reach, and the difference with its interval over patients; then the same of all seeds together. The
second stage on crops of the tumours is compared with that on whole films likewise, and what remains of it
where no contour is given, and the crops are found by the maps of the first stage or by a detector that has
learned from the contours of train. KERAS_HOME has to hold MobileNet 0.25's weights.
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from bccli.cli import cli
from tests.commands.mammograms import MiniDdsm
from tests.conftest import read_rows, rows_of, save

FILM = 256, 384
MARGIN = 16
CLASSES = "normal", "benign", "cancer"
BACKBONE = "--backbone", "mobilenet-0.25"
TRAIN = (
    *(*BACKBONE, "--head", "blocks", "--epochs", 60, "--class-weights", "balanced"),
    *("--patience", 15),
)


@dataclass
class Films(MiniDdsm):
    """Mini-DDSM whose films show what their contours are about.

    With a `difficulty` of 0, tumours are much brighter than the tissue, and edges of one class nothing like
    those of the other; with 1, they can hardly be seen, and their edges are drawn from the same range.
    """

    difficulty: float = 0.5
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def _add_film(
        self, status: str, number: str, side: str, view: str, contours: int, age: object, density: int
    ) -> None:
        super()._add_film(status, number, side, view, 0, age, density)
        row = self.films[-1]
        path = self.root / str(row["fullPath"]).replace("\\", "/").lstrip("/")
        film = self._tissue()
        if contours:
            far, edge = self._shape(status)
            contrast = 75 - 60 * self.difficulty
            film = film + contrast / (1 + np.exp((far - edge) / 2))
            line = np.where(np.abs(far - edge.max() - 2) < 1, 255, 0).astype(np.uint8)
            save(path.with_name(f"{path.stem}_Mask.png"), line)
            folder = str(row["fullPath"]).rpartition("\\")[0].lstrip("\\")
            row["Tumour_Contour"] = f"{folder}\\{path.stem}_Mask.png"
        save(path, np.clip(film, 0, 255).astype(np.uint8))

    def _tissue(self) -> np.ndarray:
        """A breast with cloudy tissue (height, width)."""
        width, height = FILM
        rows, columns = np.mgrid[:height, :width]
        film = 40 + 60 * np.clip(1.2 - np.hypot(columns / width, (rows - height / 2) / height), 0, 1)
        for _ in range(12):
            x, y, wide = self.rng.uniform(0, width), self.rng.uniform(0, height), self.rng.uniform(15, 60)
            film = film + self.rng.uniform(5, 25) * np.exp(
                -(((columns - x) ** 2 + (rows - y) ** 2) / wide**2)
            )
        return film + self.rng.normal(0, 10, (height, width))

    def _shape(self, status: str) -> tuple[np.ndarray, np.ndarray]:
        """Each pixel's distance from the middle of a tumour, and where the edge is in its direction."""
        width, height = FILM
        rows, columns = np.mgrid[:height, :width]
        x, y = self.rng.integers(50, width - 60), self.rng.integers(60, height - 60)
        angle, far = np.arctan2(rows - y, columns - x), np.hypot(columns - x, rows - y)
        apart = 0.14 * (1 - self.difficulty)
        ragged = self.rng.uniform(0, 0.14) + (2 * apart if status == "Cancer" else 0)
        return far, self.rng.integers(22, 34) * (1 + ragged * np.sin(9 * angle + self.rng.uniform(0, 6)))


def films(root: Path, seed: int, *, patients: int, difficulty: float) -> Path:
    """A raw dataset of so many patients of each status."""
    dataset = Films(root, ending="png", difficulty=difficulty, rng=np.random.default_rng(seed))
    for number in range(patients):
        for status, side in (("Normal", ""), ("Benign", "LEFT"), ("Cancer", "RIGHT")):
            marked = {f"{side}_{view}": 1 for view in ("CC", "MLO")} if side else {}
            dataset.add(status, f"{number + 1:04d}", marked)
    return dataset.write()


def bccli(*args: object) -> str:
    """What the command prints."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    if result.exit_code:
        sys.exit(f"{args}: {result.stderr} {result.exception!r}")
    return result.stdout


Table = list[dict[str, str]]


def one_seed(root: Path, seed: int, arguments: argparse.Namespace) -> dict[str, Table]:
    """Test predictions by what made them: flat and tree, and the second stage on films and on crops."""
    raw = films(root / "raw", seed, patients=arguments.patients, difficulty=arguments.difficulty)
    data, crops = root / "data", root / "crops"
    split = "--ratios", "50/20/30", "--seed", seed
    bccli(
        *("prepare", "mini-ddsm", raw, data, *split, "--size", "192x288", "--fit", "pad"),
        *("--keep", "normal=0.34"),
    )
    bccli("train", data, root / "flat", *TRAIN, "--seed", seed)
    bccli("hierarchy", data, root / "tree", *TRAIN, "--seed", seed)
    tested = {row["patient"] for row in read_rows(data / "manifest.csv") if row["split"] == "test"}
    marked = ",".join(sorted(name for name in tested if not name.startswith("Normal")))
    bccli(
        *("prepare", "mini-ddsm", raw, crops, "--task", "malignancy", "--roi", "crop", "--margin", MARGIN),
        *("--size", "128x128", "--seed", seed, "--test-patients", marked),
    )
    bccli("train", crops, root / "second", *TRAIN, "--seed", seed)
    for name, detector in (("cropped", "cam"), ("learned", "learned")):
        bccli(
            *("hierarchy", data, root / name, "--compose", f"root={root / 'tree' / 'root'}"),
            *("--compose", f"tumor={root / 'second'}@{crops}", "--detector", detector),
            *(*BACKBONE, "--seed", seed),
        )
    tables = {name: _test_rows(root / name) for name in ("flat", "tree", "cropped", "learned")}
    by_maps = _predicted(raw, root / "cropped", tables["cropped"])
    detected = _predicted(raw, root / "learned", tables["learned"])
    return {
        "flat": tables["flat"],
        "tree": tables["tree"],
        "second stage on films": _second(tables["tree"]),
        "second stage on crops": _second(tables["cropped"]),
        "second stage on crops found by the first": _second(by_maps),
        "second stage on crops found by the detector": _second(detected),
        "tree with crops": tables["cropped"],
        "tree with crops found by the first stage": by_maps,
        "tree with crops found by the detector": detected,
    }


def _test_rows(run: Path) -> Table:
    return [row for row in read_rows(run / "predictions.csv") if row["split"] == "test"]


def _predicted(raw: Path, run: Path, rows: Table) -> Table:
    """The same rows as `predict` answers for the raw films, without contours."""
    answers = rows_of(bccli("predict", run, *(raw / row["source"] for row in rows), "--format", "csv"))
    return [
        {**row, **{key: value for key, value in answer.items() if key in row and key != "path"}}
        for row, answer in zip(rows, answers, strict=True)
    ]


def _second(rows: Table) -> Table:
    """What the node says of the films that belong under it."""
    names = CLASSES[1:]
    found = []
    for row in rows:
        if row["label"] in names:
            shares = {name: float(row[f"tumor:{name}"]) for name in names}
            found.append(
                {key: row[key] for key in ("path", "patient", "label")}
                | {f"p_{name}": str(share) for name, share in shares.items()}
                | {"predicted": max(names, key=lambda name: shares[name])}
            )
    return found


def write(path: Path, tables: Iterable[tuple[str, Table]]) -> Path:
    """Predictions of several seeds as one table: each seed has patients of its own."""
    rows = [
        {**row, "path": f"{seed}/{row['path']}", "patient": f"{seed}/{row['patient']}"}
        for seed, table in tables
        for row in table
    ]
    wanted = [key for key in rows[0] if key in ("path", "patient", "label", "predicted") or key[:2] == "p_"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, wanted, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


PAIRS = (
    ("tree", "flat"),
    ("second stage on crops", "second stage on films"),
    ("second stage on crops found by the first", "second stage on films"),
    ("second stage on crops found by the detector", "second stage on films"),
    ("tree with crops", "flat"),
    ("tree with crops found by the first stage", "flat"),
    ("tree with crops found by the detector", "flat"),
    ("tree with crops found by the detector", "tree with crops"),
)


def compare(folder: Path, seed: str, tables: dict[str, Sequence[tuple[str, Table]]]) -> None:
    """Print a row for each pair."""
    for pair in PAIRS:
        files = [write(folder / f"{name.replace(' ', '-')}.csv", tables[name]) for name in pair]
        found = json.loads(bccli("evaluate", *files, "--format", "json"))
        # a leaderboard may have them the other way round
        by_name = {Path(row["name"]).stem: row for row in found["runs"]}
        first, second = (by_name[file.stem] for file in files)
        versus = found["comparison"]
        sign = 1 if Path(versus["first"]).stem == files[0].stem else -1
        cells = []
        for measure in ("accuracy", "f1"):
            entry = versus["differences"][measure]
            low, high = sorted(sign * limit for limit in entry["ci"])
            cells.append(f"{first[measure]:.3f}, {second[measure]:.3f}")
            cells.append(f"{sign * entry['difference']:+.3f} ({low:+.3f} to {high:+.3f})")
        majority = f"{first['majority_accuracy']:.3f}"
        print("|", " | ".join((seed, str(first["n"]), " − ".join(pair), majority, *cells)), "|", flush=True)


def main() -> None:
    """Parse, make, train, compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tumours", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=60, help="of each status")
    parser.add_argument("--difficulty", type=float, default=0.5, help="of the phantoms, 0 to 1")
    arguments = parser.parse_args()
    print("| seed | n | pair | majority | accuracies | difference | F1 | difference |")
    print("|---" * 8 + "|")
    every: dict[str, list[tuple[str, Table]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            root = Path(folder, str(seed))
            found = one_seed(root, seed, arguments)
            compare(root, str(seed), {name: [(str(seed), table)] for name, table in found.items()})
            for name, table in found.items():
                every.setdefault(name, []).append((str(seed), table))
        compare(Path(folder), "all", every)
    print("\n| seed | regions found by | tumours in test | hit rate | mean IoU | of hits |")
    print("|---" * 6 + "|")
    for name, table in (("maps", "tree with crops found by the first stage"), ("detector", LEARNED)):
        whole = [row for _, rows in every[table] for row in rows]
        for seed, rows in [*every[table], ("all", whole)]:
            print("|", " | ".join((seed, name, *found_in(rows))), "|")


LEARNED = "tree with crops found by the detector"


def found_in(rows: Table) -> list[str]:
    """How many tumours there are, the share that is hit, and the mean overlap over all and over the hits."""
    values = [(float(row["tumor_hit"]), float(row["tumor_iou"])) for row in rows if row["tumor_hit"]]
    hits, overlaps = np.array(values).T
    of_hits = f"{overlaps[hits > 0].mean():.3f}" if hits.any() else "–"
    return [str(len(hits)), f"{hits.mean():.3f}", f"{overlaps.mean():.3f}", of_hits]


if __name__ == "__main__":
    main()
