"""However a run came about, all that answers for it says the same: its own table, Keras, LiteRT, `predict`.

For each family of backbones and each way to a run: predictions.csv, model.keras in a process that knows
nothing of bccli, model.tflite, and `bccli predict` on the raw images. Some ways also have to end where
another one does: what is live where a policy changes no pixel, what stands still, what was continued.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from bccli.cli import cli
from tests.conformance.families import LARGER, TRAINED, prepare_all, register, weights_of
from tests.conftest import read_rows, rows_of

CLOSE = 1e-4
"""How far probabilities may be apart: sums are added up in other orders."""


@dataclass(frozen=True)
class Way:
    """Commands that lead to the run, or runs, in a folder, from one dataset.

    Where it is `like` another way, its answers differ from those by at most `within`.
    """

    folder: str
    commands: tuple[str, ...]
    data: str = "data"
    like: str = ""
    within: float = 0.0


_TUNED = "finetune {at}/stored {at}/%s --batch-size 8 --epochs %d --lr %s"
_WHOLE = "train {place}/data {at}/%s {network} --trainable all --lr 1e-4 --epochs %d"
WAYS = {
    "frozen, stored": Way("stored", ("train {place}/data {at}/stored {frozen}",)),
    "frozen, live": Way(
        "live", ("train {place}/data {at}/live {frozen} --augment {still}",), like="stored", within=1e-5
    ),
    "whole": Way("whole", (_WHOLE % ("whole", 2),)),
    "continued": Way(
        "continued", (_WHOLE % ("continued", 1), _WHOLE % ("continued", 2)), like="whole", within=1e-8
    ),
    "tuned, stored": Way("tuned", (_TUNED % ("tuned", 2, "1e-4") + " --from-layer {gamma}",)),
    "tuned, live": Way(
        "tuned-live",
        (_TUNED % ("tuned-live", 2, "1e-4") + " --from-layer {gamma} --augment {still}",),
        like="tuned",
        within=1e-3,
    ),
    "standing still": Way("still", (_TUNED % ("still", 1, "1e-12") + " --all",), like="stored", within=CLOSE),
    "standing still, mixed precision": Way(
        "still-mixed",
        (_TUNED % ("still-mixed", 1, "1e-12") + " --from-layer {gamma} --augment {still} --mixed-precision",),
        like="stored",
        within=CLOSE,
    ),
    "mixed precision": Way("mixed", (_WHOLE % ("mixed", 2) + " --mixed-precision",)),
    "folds": Way("folds", ("train {place}/folds {at}/folds {frozen} --fold all",), "folds"),
    "sweep": Way("sweep", ("train {place}/data {at}/sweep {frozen} --seeds 2",)),
    "tree": Way(
        "tree", ("hierarchy {place}/three {at}/tree {frozen} --tree normal,tumor(benign,cancer)",), "three"
    ),
    "fusion": Way(
        "fusion",
        (
            "train {place}/patches {at}/fusion/patches {frozen}",
            "train {place}/patches {at}/fusion/images --features-from {at}/fusion/patches"
            " --head attention --dense 4 --epochs 2",
        ),
        "patches",
    ),
}
QUICK = ("frozen, stored", "mixed precision")
FEW = ("frozen, stored", "frozen, live", "standing still, mixed precision", "mixed precision")

# The families that batch norms and convolutions alone do not stand for, and one that has what both have:
# it goes every way in CI, and they on demand.
ERRING = ("tiny-normalised", "tiny-dropped")
BOTH = "tiny-both"

# What another program does with model.keras: nothing of bccli is imported.
_ELSEWHERE = """
import json, sys
import keras, numpy as np
for model, images, answers in json.load(sys.stdin):
    whole = keras.saving.load_model(model, compile=False, safe_mode=True)
    np.save(answers, whole.predict(np.load(images).astype("float32"), verbose=0, batch_size=16))
assert "bccli" not in sys.modules
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the datasets and a policy that leaves images as they are."""
    folder = tmp_path_factory.mktemp("conformance")
    prepare_all(folder, bccli)
    (folder / "still.toml").write_text("[[operations]]\naugmenter = 'Fliplr'\nprobability = 0\n")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        yield folder


def bccli(*args: object) -> str:
    result = CliRunner().invoke(cli, ["-q", *(str(arg) for arg in args)])
    assert result.exit_code == 0, f"{args}: exit {result.exit_code}\n{result.stderr}"
    return result.stdout


def table_of(run: Path) -> tuple[list[dict[str, str]], np.ndarray]:
    """The rows of predictions.csv, and its probabilities."""
    rows = read_rows(run / "predictions.csv")
    return rows, probabilities_of(rows)


def probabilities_of(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(value) for key, value in row.items() if key.startswith("p_")] for row in rows])


def pixels_of(rows: list[dict[str, str]], data: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(data / row["path"]).convert("RGB")) for row in rows])


def check(
    name: str, place: Path, at: Path, frozen: str, ways: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Go these ways with a backbone; the largest difference of each and by what it was found."""
    from bccli.core.catalog import find_backbone

    words = {
        "place": place,
        "at": at,
        "still": place / "still.toml",
        "gamma": find_backbone(name).layers // 2,
        "network": f"--backbone {name} --batch-size 8 {frozen}",
        "frozen": f"--backbone {name} --batch-size 8 {frozen} --trainable none --dense 6 --dropout 0.3"
        " --epochs 2 --lr 1e-2",
    }
    found: dict[str, dict[str, float]] = {}
    waiting: list[tuple[str, Path, np.ndarray]] = []
    for title in ways:
        way = WAYS[title]
        for command in way.commands:
            bccli(*command.format(**words).split())
        found[title] = {}
        for run in sorted(path.parent for path in (at / way.folder).glob("**/run.json")):
            info = json.loads((run / "run.json").read_text())
            if info["kind"] in ("network", "fusion", "tree"):
                note_answers(found[title], run, info["kind"], place, way.data)
            if info["kind"] == "network":
                rows, table = table_of(run)
                np.save(at / f"{len(waiting)}.npy", pixels_of(rows, place / way.data))
                waiting.append((title, run, table))
        if way.like:
            ours, others = table_of(at / way.folder)[1], table_of(at / way.like)[1]
            note(found[title], f"as {way.like}", ours, others)
    note_elsewhere(found, waiting, at)
    print(json.dumps({name: found}, indent=1))
    return found


def note(found: dict[str, float], what: str, answers: np.ndarray, table: np.ndarray) -> None:
    assert answers.shape == table.shape
    found[what] = max(found.get(what, 0.0), float(np.abs(answers - table).max()))


def note_answers(found: dict[str, float], run: Path, kind: str, place: Path, data: str) -> None:
    """What LiteRT and TensorFlow make of the prepared images, and `predict` of the raw ones."""
    from bccli.core.models.runtimes import KerasEngine, TfliteRuntime
    from bccli.core.runs.run_folder import load_run

    rows, table = table_of(run)
    if kind == "network":
        for name, engine in (("model.tflite", TfliteRuntime()), ("TensorFlow", KerasEngine("CPU"))):
            note(found, name, engine.network(load_run(run))(pixels_of(rows, place / data)), table)
    sources = [place / f"{data}-raw" / row["source"] for row in rows]
    if len(set(sources)) == len(sources):  # of patches, `predict` gives the means
        said = rows_of(bccli("predict", run, *sources, "--format", "csv"))
        note(found, "predict", probabilities_of(said), table)
        assert [row["predicted"] for row in said] == [row["predicted"] for row in rows]


def note_elsewhere(
    found: dict[str, dict[str, float]], waiting: list[tuple[str, Path, np.ndarray]], at: Path
) -> None:
    """What Keras alone makes of the prepared images, in a process of its own."""
    tasks = [
        [str(run / "model.keras"), str(at / f"{number}.npy"), str(at / f"answers-{number}.npy")]
        for number, (_, run, _) in enumerate(waiting)
    ]
    subprocess.run([sys.executable, "-c", _ELSEWHERE], input=json.dumps(tasks), text=True, check=True, cwd=at)
    for (title, _, table), (_, _, answers) in zip(waiting, tasks, strict=True):
        note(found[title], "model.keras", np.load(answers), table)


def assert_alike(found: dict[str, dict[str, float]]) -> None:
    far = {
        f"{title}: {what}": difference
        for title, differences in found.items()
        for what, difference in differences.items()
        if not difference <= (WAYS[title].within if what.startswith("as ") else CLOSE)
    }
    assert not far


def watched_and_kept(run: Path) -> tuple[float, float]:
    """The val loss of the epoch that was kept, as it was watched, and that of the weights that were saved."""
    kept = json.loads((run / "run.json").read_text())["kept_epoch"]
    watched = next(row for row in read_rows(run / "history.csv") if int(row["epoch"]) == kept)
    figures = json.loads((run / "metrics.json").read_text())["runs"]
    (saved,) = (row["loss"] for row in figures if row["split"] == "val")
    return float(watched["val_loss"]), saved


def go(name: str, ways: tuple[str, ...], place: Path, at: Path, weights: Path | None = None) -> None:
    found = check(name, place, at, f"--weights {weights or weights_of(name, at)}", ways)
    assert len(table_of(at / "stored")[0]) == 40
    assert_alike(found)
    if "mixed precision" in ways:
        watched, saved = watched_and_kept(at / "mixed")
        assert saved == pytest.approx(watched, rel=0.05, abs=0.02)


@pytest.mark.parametrize(
    "name",
    [
        BOTH,
        pytest.param("tiny-plain", marks=pytest.mark.full),
        *(pytest.param(name, marks=pytest.mark.full) for name in (*ERRING, "tiny-batch-norms")),
    ],
)
def test_each_family_answers_alike(name: str, place: Path, tmp_path: Path) -> None:
    go(name, QUICK if name == BOTH else FEW, place, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(BOTH, marks=pytest.mark.slow),
        *(pytest.param(name, marks=pytest.mark.full) for name in ERRING),
    ],
)
def test_every_way_to_a_run_answers_alike(name: str, place: Path, tmp_path: Path) -> None:
    go(name, tuple(WAYS), place, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("name", LARGER)
def test_networks_of_keras_answer_alike(name: str, place: Path, tmp_path: Path) -> None:
    go(name, FEW, place, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("name", TRAINED)
def test_trained_weights_answer_alike(name: str, place: Path, tmp_path: Path) -> None:
    if not TRAINED[name].is_file():
        pytest.skip(f"no weights at {TRAINED[name]}")
    go(name, FEW, place, tmp_path, TRAINED[name])


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_certain_answers_keep_the_scores_behind_them(output: str, place: Path, tmp_path: Path) -> None:
    """In predictions.csv, in the temperature that is fitted to it, and in what `predict` says with that."""
    from bccli.core.models.runtimes import LiteRT
    from bccli.core.runs.temperature import COLDEST, HOTTEST

    run, weights = tmp_path / "run", weights_of("tiny-plain", tmp_path)
    network = f"--backbone tiny-plain --weights {weights} --trainable none --output {output}"
    training = "--batch-size 4 --epochs 2 --lr 10 --seed 3 --feature-norm none"
    bccli(*f"train {place / 'data'} {run} {network} {training}".split())
    rows, table = table_of(run)
    scores = LiteRT(run / "model.tflite", 1).scores(pixels_of(rows, place / "data")).astype(np.float64)
    odds = scores[:, -1] - (scores[:, 0] if output == "softmax" else 0)
    assert np.abs(odds).max() > 40
    np.testing.assert_allclose(
        np.log(table[:, 1]) - np.log(table[:, 0]), odds, atol=1e-4 * np.abs(odds).max()
    )
    bccli("evaluate", run, "--calibrate")
    stored = json.loads((run / "run.json").read_text())["calibration"]["temperature"]
    val = [row["split"] == "val" for row in rows]
    signs = np.array([1 if row["label"] == "benign" else -1 for row in rows])
    temperatures = np.exp(np.linspace(np.log(COLDEST), np.log(HOTTEST), 2000))
    losses = [np.logaddexp(0, signs[val] * odds[val] / one).mean() for one in temperatures]
    assert stored == pytest.approx(temperatures[int(np.argmin(losses))], rel=0.01)
    raw = [place / "data-raw" / row["source"] for row in rows]
    said = probabilities_of(rows_of(bccli("predict", run, *raw, "--format", "csv")))
    np.testing.assert_allclose(said[:, 1], np.exp(-np.logaddexp(0, -odds / stored)), atol=CLOSE)
