"""Where maps point on phantom films: `python -m tests.benchmarks.pointing`.

A tree is trained as in `tests.benchmarks.tumours`, for some seeds; `predict --explain` then shows where its
first stage sees tumours in the films of test, and contours say where they are. Beside the hit rate stand
guesses, the same for maps of a head with random weights and their rank correlation with the trained ones
(Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292), and what maps cost.
KERAS_HOME has to hold MobileNet 0.25's weights.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from bccli.core.data.image_batches import decode_prepared
from bccli.core.models.class_maps import ClassMaps, DenseHead
from bccli.core.models.runtimes import TfliteRuntime
from bccli.core.prediction.explanations import PackedMask, PointingGame
from bccli.core.prediction.flips import as_is
from bccli.core.prediction.maps.class_activation import activation_maps, peak_of
from bccli.core.runs.run_folder import load_run
from tests.benchmarks.tumours import TRAIN, bccli, films
from tests.conftest import read_rows, rows_of

ROUNDS = 3


@dataclass
class Game:
    """The films of test with a tumour of all seeds so far."""

    trained: PointingGame
    random: PointingGame
    correlations: list[float]


def play(root: Path, seed: int, arguments: argparse.Namespace, game: Game) -> None:
    """Make, train, and count where maps point."""
    raw = films(root / "raw", seed, patients=arguments.patients, difficulty=arguments.difficulty)
    data, run = root / "data", root / "tree"
    split = "--ratios", "50/20/30", "--seed", seed
    size = "--size", "192x288", "--fit", "pad"
    bccli("prepare", "mini-ddsm", raw, data, *split, *size, "--keep", "normal=0.34")
    bccli("hierarchy", data, run, *TRAIN, "--seed", seed)
    rows = [row for row in read_rows(data / "manifest.csv") if row["split"] == "test" and row["mask"]]
    sources = [raw / row["source"] for row in rows]
    shown = bccli(
        "predict", run / "root", *sources, "--explain", root / "out", "--mask-dir", raw, "--format", "csv"
    )
    answers = rows_of(shown)
    inside = [answer["inside_mask"] == "True" for answer in answers]
    called = [answer["predicted"] == "tumor" for answer in answers]
    print(
        f"seed {seed}: {len(rows)} films with a tumour, {sum(called)} called so; the peak of what speaks for "
        f"the label lies inside the contour in {sum(inside)}, in {sum(np.array(inside)[called])} of those "
    )
    sample(load_run(run / "root"), data, rows, seed, game)
    plain, explained = seconds(run / "root", sources, None), seconds(run / "root", sources, root / "again")
    print(f"seed {seed}: {plain:.1f} ms a film, {explained:.1f} with --explain", flush=True)


def seconds(run: Path, sources: list[Path], out: Path | None) -> float:
    """Milliseconds a film, the median of some rounds."""
    found = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        bccli("predict", run, *sources, *(("--explain", f"{out}{number}") if out else ()), "--format", "csv")
        found.append(1000 * (time.perf_counter() - began) / len(sources))
    return statistics.median(found)


def sample(run: object, data: Path, rows: list[dict[str, str]], seed: int, game: Game) -> None:
    """Count the peaks of the maps of tumours, of the trained head and of a random one."""
    maps = TfliteRuntime().class_maps(run)  # type: ignore[arg-type]
    assert maps
    rng = np.random.default_rng(seed)
    layers = [
        tuple(rng.normal(0, weights.std() or 1, weights.shape) for weights in layer)
        for layer in maps.head.layers
    ]
    shuffled = replace(maps, head=DenseHead(tuple(layers)))  # type: ignore[arg-type]
    pairs = zip(heats(maps, data, rows), heats(shuffled, data, rows), rows, strict=True)
    for trained, random, row in pairs:
        mask = PackedMask.of(decode_prepared(data / row["mask"])[..., 0])
        for found, played in ((trained, game.trained), (random, game.random)):
            height, width = found.shape
            played.add(
                {
                    "inside": mask.holds(*peak_of(found)) if found.max() > 0 else False,
                    "mask_share": mask.share,
                    "middle_inside": mask.holds(width // 2, height // 2),
                }
            )
        correlation = spearmanr(trained[::8, ::8].ravel(), random[::8, ::8].ravel()).statistic
        game.correlations.append(0.0 if np.isnan(correlation) else float(correlation))


def heats(maps: ClassMaps, data: Path, rows: list[dict[str, str]]) -> Iterator[np.ndarray]:
    """The map of what speaks for a tumour in each film."""
    for row in rows:
        image = decode_prepared(data / row["path"])[None]
        yield activation_maps(maps, image, [1], [as_is], 1)[0]


def main() -> None:
    """Parse, play, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pointing", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=60, help="of each status")
    parser.add_argument("--difficulty", type=float, default=0.7, help="of the phantoms, 0 to 1")
    arguments = parser.parse_args()
    game = Game(PointingGame(), PointingGame(), [])
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.seeds):
            play(Path(folder, str(seed)), seed, arguments, game)
    print(f"what speaks for a tumour, trained: {game.trained.sentence()}")
    print(f"what speaks for a tumour, random head: {game.random.sentence()}")
    print(f"rank correlation of both maps: mean {statistics.mean(game.correlations):.2f}", file=sys.stdout)


if __name__ == "__main__":
    main()
