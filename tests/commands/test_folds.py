"""Cross-validation through the command line: networks, fine-tunings, trees, fusions and classifiers."""

import csv
import hashlib
import io
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bccli.core import interruption
from bccli.core.training.loop import Fit
from tests.conftest import PATIENT, Bccli, draw, read_rows, rows_of, save, tree
from tests.library import Library, bccli_in
from tests.sentences import refused

FOLDS, CLASSES = 3, ("normal", "benign", "cancer")
FROZEN = "--backbone", "cnn-15", "--weights", "none", "--trainable", "none", "--epochs", 2, "--lr", 0.01
TUNING = "--from-layer", 34, "--epochs", 1, "--batch-size", 8, "--lr", 0.001
TREE = "--tree", "normal, tumor(benign, cancer)"
ATTENTION = "--head", "attention", "--dense", 4, "--epochs", 2

# What makes a run in OUT, by what it is of: all folds, or --fold K.
COMMANDS = {
    "run": ("train", "data", "OUT", *FROZEN),
    "tuned": ("finetune", "run", "OUT", *TUNING),
    "twice": ("finetune", "tuned", "OUT", *TUNING),
    "tree": ("hierarchy", "data", "OUT", *FROZEN, *TREE),
    "patches": ("train", "patched", "OUT", *FROZEN),
    "fused": ("train", "patched", "OUT", "--features-from", "patches", *ATTENTION),
    "svm": ("train", "data", "OUT", *FROZEN[:-4], "--classifier", "svm"),
}
KINDS = [
    "run",
    "tuned",
    "tree",
    "fused",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("svm", "twice")),
]
LEARNED = ["tuned", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tree", "fused"))]

Place = Callable[[str], Path]
"""Where a raw or prepared dataset or the run of all folds of a kind is, by its name."""


def command(place: Place, name: str, out: Path, fold: object = "all") -> tuple[object, ...]:
    """The words of `bccli` that make a run of a kind."""
    first, source, _, *options = COMMANDS[name]
    words = [place("patches") if word == "patches" else word for word in options]
    return first, place(str(source)), out, *words, "--fold", fold


def fill(folder: Path) -> None:
    """Images, small and large, and datasets of three folds: `data` of whole images, `patched` of patches."""
    for patient in range(9):
        label = patient % 3
        for number in range(2):
            pixels = draw(min(label, 1), patient * 100 + number)
            pixels[..., 0] //= 3 if label == 2 else 1
            for raw, times in (("raw", 1), ("raw48", 2)):
                path = folder / raw / CLASSES[label] / f"p{patient}_{number}.png"
                save(path, np.tile(pixels, (times, times, 1)))
    folds, patch = ("--folds", FOLDS), ("--patch", 24, "--stride", 24)
    bccli_in("prepare", "folder", folder / "raw", folder / "data", *PATIENT, *folds)
    bccli_in("prepare", "folder", folder / "raw48", folder / "patched", *PATIENT, *folds, *patch)


@pytest.fixture
def place(library: Library) -> Place:
    """Finds data and runs of all folds, which are made when they are asked for first; nobody changes them."""

    def find(name: str) -> Path:
        if name not in COMMANDS:
            return library.folder("folds", fill) / name
        root = library.folder(f"folds-{name}", lambda folder: bccli_in(*command(find, name, folder / name)))
        return root / name

    return find


def path_of(place: Place, words: str) -> Path:
    """The path of a dataset, or of a run and what lies in it, such as run/fold-1."""
    name, _, inside = words.partition("/")
    return place(name) / inside


def info_of(run: Path) -> dict[str, Any]:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def figures_of(bccli: Bccli, *words: object) -> dict[str, Any]:
    (figures,) = json.loads(bccli("evaluate", *words, "--format", "json").stdout)["runs"]
    return figures


def held_out(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in rows if row["split"] == "test"]


def data_of(place: Place, name: str) -> Path:
    return place("patched" if name in ("patches", "fused") else "data")


# Folds


def test_every_patient_has_one_fold(place: Place) -> None:
    rows = read_rows(place("data") / "manifest.csv")
    assert {row["split"] for row in rows} == {""}
    assert {row["fold"] for row in rows} == {str(fold) for fold in range(FOLDS)}
    assert len({(row["patient"], row["fold"]) for row in rows}) == 9


@pytest.mark.parametrize("name", KINDS)
def test_a_fold_is_tested_and_the_next_validates(place: Place, name: str) -> None:
    for fold in range(FOLDS):
        rows = read_rows(place(name) / f"fold-{fold}" / "predictions.csv")
        found = {split: {row["fold"] for row in rows if row["split"] == split} for split in ("val", "test")}
        assert found == {"test": {str(fold)}, "val": {str((fold + 1) % FOLDS)}}


@pytest.mark.parametrize("name", LEARNED)
def test_the_run_of_a_fold_is_what_the_fold_alone_makes(
    bccli: Bccli, place: Place, tmp_path: Path, name: str
) -> None:
    bccli(*command(place, name, tmp_path / "alone", 1))
    for file in ("predictions.csv", "metrics.json", "recipe.toml"):
        ours, alone = ((root / file).read_text() for root in (place(name) / "fold-1", tmp_path / "alone"))
        assert ours.replace('"fold-1"', '"alone"') == alone


@pytest.mark.parametrize("name", KINDS)
def test_pooled_figures_are_those_of_all_folds_joined(bccli: Bccli, place: Place, name: str) -> None:
    """By scikit-learn, on the test rows of all folds: each image once, by the fold that did not see it."""
    from sklearn import metrics

    folds = [read_rows(place(name) / f"fold-{fold}" / "predictions.csv") for fold in range(FOLDS)]
    assert read_rows(place(name) / "predictions.csv") == [row for rows in folds for row in rows]
    rows = [row for rows in folds for row in held_out(rows)]
    figures = figures_of(bccli, place(name))
    truth, predicted = ([row[key] for row in rows] for key in ("label", "predicted"))
    shares = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])
    codes = [CLASSES.index(label) for label in truth]
    assert figures["kind"] == "folds"
    assert figures["n"] == len(rows)
    assert figures["patients"] == 9
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert figures["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert figures["f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    area = metrics.roc_auc_score(codes, shares / shares.sum(axis=1, keepdims=True), multi_class="ovr")
    assert figures["roc_auc"] == pytest.approx(area, abs=1e-6)
    single = [np.mean([row["predicted"] == row["label"] for row in held_out(rows)]) for rows in folds]
    measure = figures["folds"]["measures"]["accuracy"]
    assert (measure["mean"], measure["sd"]) == pytest.approx((np.mean(single), np.std(single, ddof=1)))
    stored = info_of(place(name))["spread"]["test"]["accuracy"]
    parts = info_of(place(name))["parts"]
    own = [json.loads((place(name) / part / "metrics.json").read_text())["runs"][1] for part in parts]
    values = [row["accuracy"] for row in own]
    assert stored == pytest.approx([np.mean(values), np.std(values, ddof=1)])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tuned", "tree", "fused", "svm"])
def test_pooled_figures_are_those_of_a_loop_by_hand(
    bccli: Bccli, place: Place, tmp_path: Path, name: str
) -> None:
    rows = []
    for fold in range(FOLDS):
        bccli(*command(place, name, tmp_path / f"loop{fold}", fold))
        rows += held_out(read_rows(tmp_path / f"loop{fold}" / "predictions.csv"))
    assert rows == held_out(read_rows(place(name) / "predictions.csv"))
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    (tmp_path / "joined.csv").write_text(stream.getvalue())
    table, pooled = figures_of(bccli, tmp_path / "joined.csv"), figures_of(bccli, place(name))
    for measure in ("n", "patients", "accuracy", "f1", "roc_auc", "log_loss", "confusion_matrix", "ci"):
        assert pooled[measure] == table[measure], measure


# No test patient in any ancestor


def ancestors(run: Path) -> Iterator[Path]:
    """A run, what lies in it, and all that these build upon, as run.json says it."""
    yield run
    info = info_of(run)
    if "base" in info:
        base = (run / info["base"]).resolve()
        model = hashlib.sha256((base / "model.keras").read_bytes()).hexdigest()
        assert model in (info["settings"]["weights_hash"], info["settings"]["features_from"])
        yield from ancestors(base)
    for inner in sorted(run.glob("*/run.json")):
        yield from ancestors(inner.parent)


@pytest.mark.parametrize("name", KINDS)
def test_no_test_patient_is_in_any_ancestor(place: Place, name: str) -> None:
    """What an ancestor has learned from is told by its fold and the manifest, and by its own seen.csv."""
    manifest = read_rows(data_of(place, name) / "manifest.csv")
    lengths = set()
    for fold in range(FOLDS):
        run = place(name) / f"fold-{fold}"
        test = {row["patient"] for row in manifest if row["fold"] == str(fold)}
        assert {row["patient"] for row in held_out(read_rows(run / "predictions.csv"))} == test
        found = list(ancestors(run))
        for ancestor in found:
            own_fold = str(info_of(ancestor)["settings"]["fold"])
            assert not test & {row["patient"] for row in manifest if row["fold"] != own_fold}
            assert not test & {row["patient"] for row in read_rows(ancestor / "seen.csv")}
        lengths.add(len(found))
    assert lengths == {{"tuned": 2, "twice": 3, "tree": 3, "fused": 2}.get(name, 1)}


def test_a_leak_of_an_ancestor_is_found_through_runs_of_the_same_fold(
    bccli: Bccli, place: Place, tmp_path: Path
) -> None:
    """A run of fold 0, one of fold 1 that insists on going on with it, and one that goes on with that.

    The last one has the data and the fold of the second, and still builds upon patients of its test.
    """
    insisting = "finetune", place("run") / "fold-0", tmp_path / "second", *TUNING, "--fold", 1
    refused(bccli(*insisting, exit=3), "was trained on what is test here")
    bccli(*insisting, "--allow-leakage")
    third = "finetune", tmp_path / "second", tmp_path / "third", *TUNING
    refused(bccli(*third, exit=3), f"{tmp_path / 'second'} was trained on what is test here")


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("finetune", "run/fold-1", "OUT", *TUNING), ("run of fold 1", "say --fold 1")),
        (
            ("train", "patched", "OUT", "--features-from", "patches/fold-1", *ATTENTION),
            ("run of fold 1", "say --fold 1"),
        ),
    ],
)
def test_all_folds_of_the_run_of_one_fold_are_refused(
    bccli: Bccli, place: Place, tmp_path: Path, words: tuple[object, ...], fragments: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    paths = {"run/fold-1", "patched", "patches/fold-1"}
    given = [out if word == "OUT" else path_of(place, str(word)) if word in paths else word for word in words]
    refused(bccli(*given, "--fold", "all", exit=2), "--fold all", *fragments)
    assert not out.exists()


def test_splits_are_no_folds(bccli: Bccli, prepared: Path, tmp_path: Path) -> None:
    for words in (("train", *FROZEN), ("hierarchy", *FROZEN, "--tree", "benign, malignant")):
        result = bccli(words[0], prepared, tmp_path / "out", *words[1:], "--fold", "all", exit=2)
        refused(result, "--fold all", "splits, not folds")


def test_folds_have_to_be_named(bccli: Bccli, place: Place, tmp_path: Path) -> None:
    assert "--fold 0 … 2 or --fold all" in bccli("train", place("data"), tmp_path / "a", exit=2).stderr
    too_many = bccli("train", place("data"), tmp_path / "a", "--fold", 4, exit=2)
    assert "the folds are 0 … 2" in too_many.stderr


# The same command again


def test_a_run_of_all_folds_is_what_comes_of_one_by_default(bccli: Bccli, place: Place) -> None:
    """And all of its folds are complete."""
    for name in ("tuned", "fused"):
        words = command(place, name, place(name))[:-2]
        before = tree(place(name))
        assert "nothing to do" in bccli(*words).stderr
        assert tree(place(name)) == before


@pytest.mark.parametrize("name", KINDS)
def test_the_recipe_of_all_folds_repeats_them(bccli: Bccli, place: Place, name: str) -> None:
    words = command(place, name, place(name))[:3]
    assert "nothing to do" in bccli(*words, "--recipe", place(name) / "recipe.toml").stderr


@pytest.mark.parametrize("name", LEARNED)
def test_what_a_signal_stops_is_continued_to_the_same_end(
    bccli: Bccli, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """SIGTERM comes in the last step of the second fold's first epoch."""
    out, seeds = tmp_path / name, Fit._seeds

    def requesting(fit: Fit, step: int) -> np.ndarray:
        if "fold-1" in fit.state.parts:
            interruption.request(signal.SIGTERM)
        return seeds(fit, step)

    with monkeypatch.context() as patches:
        patches.setattr(Fit, "_seeds", requesting)
        bccli(*command(place, name, out), exit=75)
    assert not (out / "predictions.csv").exists()
    assert (out / "fold-0" / "predictions.csv").exists()
    refused(bccli("predict", out, place("raw"), exit=3), "unfinished")
    before = (out / "fold-0" / "run.json").stat().st_mtime_ns
    bccli(*command(place, name, out))
    assert (out / "fold-0" / "run.json").stat().st_mtime_ns == before
    for file in ("predictions.csv", "metrics.json", "fold-1/predictions.csv", "fold-1/metrics.json"):
        assert (out / file).read_bytes() == (place(name) / file).read_bytes(), file


# What the other commands make of all folds


@pytest.mark.parametrize("name", KINDS)
def test_predict_averages_all_folds(bccli: Bccli, place: Place, name: str) -> None:
    raw = place("raw48" if name == "fused" else "raw")
    answers = rows_of(bccli("predict", place(name), raw).stdout)
    assert len(answers) == 18
    folds = [rows_of(bccli("predict", place(name) / f"fold-{fold}", raw).stdout) for fold in range(FOLDS)]
    for answer, *single in zip(answers, *folds, strict=True):
        for label in CLASSES:
            mean = np.mean([float(row[f"p_{label}"]) for row in single])
            assert float(answer[f"p_{label}"]) == pytest.approx(mean, abs=1e-6)
        assert answer["predicted"] == max(CLASSES, key=lambda label: float(answer[f"p_{label}"]))
        if name == "tree":
            below = float(answer["p_benign"]) + float(answer["p_cancer"])
            assert float(answer["root:tumor"]) == pytest.approx(below, abs=3e-6)
            assert float(answer["tumor:cancer"]) == pytest.approx(float(answer["p_cancer"]) / below, abs=1e-5)


@pytest.mark.parametrize("name", ["tree", "fused"])
def test_ensembles_and_flips_take_all_folds(bccli: Bccli, place: Place, name: str) -> None:
    image = place("raw48" if name == "fused" else "raw") / "benign" / "p1_0.png"
    alone = rows_of(bccli("predict", place(name), image).stdout)[0]
    twice = rows_of(bccli("predict", place(name), image, "--ensemble", place(name)).stdout)[0]
    flipped = rows_of(bccli("predict", place(name), image, "--tta").stdout)[0]
    for label in CLASSES:
        assert float(twice[f"p_{label}"]) == pytest.approx(float(alone[f"p_{label}"]), abs=1e-9)
    assert sum(float(flipped[f"p_{label}"]) for label in CLASSES) == pytest.approx(1)


def test_patches_are_answered_by_all_folds(bccli: Bccli, place: Place) -> None:
    image = place("raw48") / "benign" / "p1_0.png"
    fused, patches = (
        rows_of(bccli("predict", place(name), image, "--level", "patch").stdout)
        for name in ("fused", "patches")
    )
    assert len(fused) == 4
    for one, other in zip(fused, patches, strict=True):
        assert float(one["p_cancer"]) == pytest.approx(float(other["p_cancer"]), abs=1e-6)
    result = bccli("predict", place("tree"), image, "--level", "patch", exit=2)
    refused(result, "--level patch", "trained on whole images")


def test_patches_of_all_folds_are_measured(bccli: Bccli, place: Place) -> None:
    """Those of the fusions are those of the patch runs, to which they are as close as their rounding."""
    fused, patches = (figures_of(bccli, place(name), "--level", "patch") for name in ("fused", "patches"))
    assert fused["n"] == patches["n"] == 72
    assert fused["confusion_matrix"] == patches["confusion_matrix"]
    assert fused["train_accuracy"] == pytest.approx(patches["train_accuracy"], abs=0.02)


@pytest.mark.parametrize("name", ["tree", "fused"])
def test_all_folds_are_evaluated_on_other_data(bccli: Bccli, place: Place, name: str) -> None:
    """Here on their own, which every image's other folds have seen; answers are those of predict."""
    data, raw = data_of(place, name), place("raw48" if name == "fused" else "raw")
    figures = figures_of(bccli, place(name), "--data", data)
    answers = rows_of(bccli("predict", place(name), raw).stdout)
    right = [row["predicted"] == Path(row["path"]).parent.name for row in answers]
    assert figures["accuracy"] == pytest.approx(np.mean(right))
    assert figures["leakage"]["patients"] == 9
    if name == "tree":
        assert figures["tree"]["decide"] == "path"


@pytest.mark.parametrize("name", ["tree", "fused"])
def test_a_temperature_is_that_of_all_folds(bccli: Bccli, place: Place, tmp_path: Path, name: str) -> None:
    """It is fitted to their pooled val, and each fold's answer is tempered before they are averaged."""
    from bccli.core.runs.temperature import temper

    run, image = tmp_path / "run", place("raw48" if name == "fused" else "raw") / "benign" / "p1_0.png"
    shutil.copytree(place(name), run)
    bccli("evaluate", run, "--calibrate")
    temperature = info_of(run)["calibration"]["temperature"]
    shares = []
    for fold in range(FOLDS):
        (row,) = rows_of(bccli("predict", run / f"fold-{fold}", image).stdout)
        shares.append([float(row[f"p_{label}"]) for label in CLASSES])
    (answer,) = rows_of(bccli("predict", run, image).stdout)
    expected = temper(np.array(shares), temperature).mean(axis=0)
    assert [float(answer[f"p_{label}"]) for label in CLASSES] == pytest.approx(expected, abs=1e-6)


def test_a_tree_of_all_folds_has_the_figures_of_a_tree(bccli: Bccli, place: Place, tmp_path: Path) -> None:
    figures = figures_of(bccli, place("tree"))
    rows = held_out(read_rows(place("tree") / "predictions.csv"))
    below = [row for row in rows if row["label"] != "normal"]
    right = [
        (float(row["tumor:cancer"]) > float(row["tumor:benign"])) == (row["label"] == "cancer")
        for row in below
    ]
    assert figures["tree"]["nodes"]["tumor"]["accuracy"] == np.mean(right)
    assert figures["tree"]["decisions"]["greedy"] == figures["accuracy"]
    info = info_of(place("tree"))
    assert (info["kind"], info["fold_kind"], info["decide"]) == ("folds", "tree", "greedy")
    shown = bccli("evaluate", place("tree"), "--format", "table", "--output", tmp_path / "out").stdout
    assert "hierarchical f1" in shown
    assert (tmp_path / "out" / "beta.png").exists()


# Seeds, sweeps, and what would be done


def test_dry_runs_show_each_member_and_fold_and_write_nothing(
    bccli: Bccli, place: Place, tmp_path: Path
) -> None:
    layers = "--from-layer", 34, "--from-layer", "cnn-15:30"
    said = bccli("finetune", place("run"), tmp_path / "out", *layers, "--dropout", 0.2, "--dry-run")
    rows = rows_of(said.stdout)
    assert [(row["name"], row["fold"]) for row in rows] == [
        (f"cnn-15-{gamma}-FT", str(fold)) for gamma in (34, 30) for fold in range(FOLDS)
    ]
    for row in rows:
        assert (row["backbone"], row["head"], row["problem"]) == ("cnn-15", "fresh gap", "")
        assert [row[split] for split in ("train", "val", "test", "patients")] == ["6", "6", "6", "9"]
    import keras

    network = keras.saving.load_model(place("run") / "fold-0" / "model.keras").get_layer("cnn_15")
    for row in rows:
        layers_behind = network.layers[int(row["from_layer"]) :]
        assert row["layer"].rstrip("_0123456789") == layers_behind[0].name.rstrip("_0123456789")
        learning = [
            layer for layer in layers_behind if not isinstance(layer, keras.layers.BatchNormalization)
        ]
        head = (network.output_shape[-1] + 1) * len(CLASSES)
        assert int(row["trainable_parameters"]) == sum(layer.count_params() for layer in learning) + head
    many = "--backbone", "cnn-15", "--backbone", "mobilenet-0.25", "--classifier", "dense"
    result = bccli(
        "train",
        place("data"),
        tmp_path / "out",
        *many,
        "--classifier",
        "svm",
        *FROZEN[2:6],
        "--fold",
        0,
        "--dry-run",
        exit=4,
    )
    problems = {row["name"]: row["problem"] for row in rows_of(result.stdout)}
    assert set(problems) == {"cnn-15", "cnn-15-svm", "mobilenet-0.25", "mobilenet-0.25-svm"}
    assert "images of 24×24 are too small for mobilenet-0.25" in problems["mobilenet-0.25"]
    assert not problems["cnn-15"]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.exports
def test_seeds_of_trees_make_a_sweep_of_which_the_best_is_kept(
    bccli: Bccli, place: Place, tmp_path: Path
) -> None:
    words = *COMMANDS["tree"][3:], "--fold", 1, "--seeds", 2, "--save", "best"
    rows = rows_of(bccli("hierarchy", place("data"), tmp_path / "out", *words).stdout)
    assert {row["name"] for row in rows} == {"tree-seed0", "tree-seed1"}
    values = [float(row["test_accuracy"]) for row in rows]
    assert float(rows[0]["test_accuracy_mean"]) == pytest.approx(np.mean(values))
    assert float(rows[0]["test_accuracy_sd"]) == pytest.approx(np.std(values, ddof=1))
    assert rows[0]["trials"] == "2"
    chosen, other = (tmp_path / "out" / row["name"] for row in rows)
    image = place("raw") / "benign" / "p1_0.png"
    assert rows_of(bccli("predict", chosen, image).stdout)[0]["predicted"]
    refused(bccli("predict", other, image, exit=3), "its network was not kept", "--save all")
    assert figures_of(bccli, other, "--bootstrap", 0)["n"] == 6
    assert not list(other.rglob("*.keras"))
    again = bccli("hierarchy", place("data"), tmp_path / "out", *words)
    assert again.stderr.count("nothing to do") == 2


@pytest.mark.slow
@pytest.mark.exports
def test_a_tree_in_two_stages_is_made_again_once_it_is_chosen(
    bccli: Bccli, place: Place, tmp_path: Path
) -> None:
    """Its first stages were kept, as the second ones build upon these very files."""
    words = *COMMANDS["tree"][3:], "--fold", 1, "--save", "best", "--from-layer", 34, "--tune-epochs", 1
    out = tmp_path / "out"
    rows = rows_of(bccli("hierarchy", place("data"), out, *words, "--seeds", 2).stdout)
    chosen, other = (out / row["name"] for row in rows)
    assert {path.parent.name for path in other.rglob("model.keras")} == {"root.frozen", "tumor.frozen"}
    before = (other / "predictions.csv").read_bytes()
    shutil.rmtree(chosen)
    words = *words, "--seed", rows[1]["seed"], "--seeds", 1
    said = bccli("hierarchy", place("data"), out, *words)
    assert f"{other.name} is chosen: its network is kept" in said.stderr
    assert {"root", "tumor"} <= {path.parent.name for path in other.rglob("model.keras")}
    assert (other / "predictions.csv").read_bytes() == before
    assert bccli("hierarchy", place("data"), out, *words).stderr.count("nothing to do") == 1


@pytest.mark.slow
def test_folds_and_seeds_are_trials_of_the_same_thing(bccli: Bccli, place: Place, tmp_path: Path) -> None:
    """Of fine-tunings and of trees as of networks."""
    for name in ("tuned", "tree"):
        words = *command(place, name, tmp_path / name), "--seeds", 2
        rows = rows_of(bccli(*words).stdout)
        assert {row["trials"] for row in rows} == {str(2 * FOLDS)}
        figures = [
            json.loads((tmp_path / name / row["name"] / f"fold-{fold}" / "metrics.json").read_text())["runs"][
                1
            ]
            for row in rows
            for fold in range(FOLDS)
        ]
        values = [one["accuracy"] for one in figures]
        assert float(rows[0]["test_accuracy_mean"]) == pytest.approx(np.mean(values))
        assert float(rows[0]["test_accuracy_sd"]) == pytest.approx(np.std(values, ddof=1))


@pytest.mark.slow
def test_a_sweep_of_folds_is_fine_tuned_fold_by_fold(bccli: Bccli, place: Place, tmp_path: Path) -> None:
    bccli(*command(place, "run", tmp_path / "sweep"), "--backbone", "cnn-16")
    words = "finetune", tmp_path / "sweep", tmp_path / "out", "--from-layer", "cnn-15:34", "--blocks"
    refused(bccli(*words, 1, exit=2), "one of them")
    layers = "--from-layer", 34, "--from-layer", "cnn-15:33"
    rows = rows_of(bccli("finetune", tmp_path / "sweep", tmp_path / "out", *layers, *TUNING[2:]).stdout)
    assert {row["name"] for row in rows} == {"cnn-15-34-FT", "cnn-15-33-FT", "cnn-16-34-FT"}
    for row in rows:
        assert info_of(tmp_path / "out" / row["name"])["fold_kind"] == "network"
        base = info_of(tmp_path / "out" / row["name"] / "fold-2")["base"]
        assert Path(base).parts[-2:] == (row["backbone"], "fold-2")


@pytest.mark.slow
def test_a_tree_of_all_folds_is_composed_of_runs_of_all_folds(
    bccli: Bccli, place: Place, tmp_path: Path
) -> None:
    """Each fold's tree gets the run of its fold: a run of one fold would have seen what others test."""
    raw = tmp_path / "raw"
    for path in sorted((place("raw")).rglob("*.png")):
        label = path.parent.name
        save(raw / ("normal" if label == "normal" else "tumor") / path.name, np.asarray(_pixels(path)))
    folds = {row["source"]: row["fold"] for row in read_rows(place("data") / "manifest.csv")}
    lines = [
        f"{path},{path.parent.name},{folds[next(key for key in folds if key.endswith(path.name))]},"
        f"{path.name.split('_')[0]}"
        for path in sorted(raw.rglob("*.png"))
    ]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,fold,patient", *lines]) + "\n")
    bccli("prepare", "csv", tmp_path / "table.csv", tmp_path / "two")
    bccli("train", tmp_path / "two", tmp_path / "first", *FROZEN, "--fold", "all")
    words = "hierarchy", place("data"), tmp_path / "out", *FROZEN, *TREE, "--fold", "all"
    refused(bccli(*words, "--compose", f"root={tmp_path / 'first' / 'fold-0'}", exit=3), "is test here")
    bccli(*words, "--compose", f"root={tmp_path / 'first'}")
    for fold in range(FOLDS):
        ours, theirs = (
            (root / "model.keras").read_bytes()
            for root in (tmp_path / "out" / f"fold-{fold}" / "root", tmp_path / "first" / f"fold-{fold}")
        )
        assert ours == theirs
    again = "hierarchy", place("data"), tmp_path / "out", "--recipe", tmp_path / "out" / "recipe.toml"
    assert "nothing to do" in bccli(*again).stderr


def _pixels(path: Path) -> Any:
    from PIL import Image

    return Image.open(path)


@pytest.mark.slow
def test_tensorflow_says_nothing_where_networks_are_only_counted(
    bccli_process: Callable[..., subprocess.CompletedProcess[str]], place: Place, tmp_path: Path
) -> None:
    layers = "--from-layer", 34, "--from-layer", 30
    for words in (
        ("finetune", place("run"), tmp_path / "out", *layers, "--dry-run"),
        ("train", place("data"), tmp_path / "out", "--fold", 0, "--seeds", 2, "--dry-run"),
    ):
        said = bccli_process("-q", *words)
        assert said.returncode == 0, said.stderr
        assert said.stderr == ""
