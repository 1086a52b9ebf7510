"""`bccli hierarchy`: trees of classifiers through the command line."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from bccli.core import interruption
from bccli.core.training.loop import Fit
from tests.commands.mammograms import mini_ddsm
from tests.conftest import PATIENT, Bccli, draw, read_rows, rows_of, save
from tests.library import bccli_in
from tests.sentences import refused

TREE = "normal, tumor(benign, cancer)"
CLASSES = "normal", "benign", "cancer"
SHORT = (
    *("--backbone", "mobilenet-0.25", "--weights", "none", "--trainable", "none"),
    *("--epochs", 3, "--batch-size", 8, "--tree", TREE),
)


def make_three(root: Path, *, patients: int = 9, images: int = 3, size: tuple[int, int] = (32, 32)) -> Path:
    """Images of three classes: stripes along, stripes across, and these without red."""
    for patient in range(patients):
        label = patient % 3
        for number in range(images):
            pixels = draw(min(label, 1), patient * 100 + number, size)
            pixels[..., 0] //= 3 if label == 2 else 1
            save(root / CLASSES[label] / f"p{patient}_{number}.png", pixels)
    return root


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests of this module share."""
    return tmp_path_factory.mktemp("hierarchy")


@pytest.fixture(scope="module")
def three(module_path: Path) -> Path:
    """A prepared dataset of three classes, made once."""
    data, raw = module_path / "data", make_three(module_path / "raw")
    bccli_in("prepare", "folder", raw, data, *PATIENT, "--ratios", "1/1/1")
    return data


@pytest.fixture(scope="module")
def tree_run(three: Path, module_path: Path) -> Path:
    """A run of kind tree, made once."""
    bccli_in("hierarchy", three, module_path / "run", *SHORT)
    return module_path / "run"


def info_of(run: Path) -> dict:
    """run.json."""
    return json.loads((run / "run.json").read_text())


def test_a_tree_is_a_run_with_a_run_for_each_node(bccli: Bccli, tree_run: Path) -> None:
    info = info_of(tree_run)
    assert (info["kind"], info["parts"], info["joint"]) == ("tree", ["root", "tumor"], ["root", "tumor"])
    assert [info_of(tree_run / part)["classes"] for part in info["parts"]] == [
        ["normal", "tumor"],
        ["benign", "cancer"],
    ]
    labels = {row["label"] for row in read_rows(tree_run / "tumor" / "predictions.csv")}
    assert labels == {"benign", "cancer"}
    for row in read_rows(tree_run / "predictions.csv"):
        root, tumor = ([float(row[f"root:{name}"]) for name in ("normal", "tumor")],
                       [float(row[f"tumor:{name}"]) for name in ("benign", "cancer")])  # fmt: skip
        assert float(row["p_normal"]) == pytest.approx(root[0], abs=1e-6)
        assert float(row["p_benign"]) == pytest.approx(root[1] * tumor[0], abs=1e-6)
        greedy = "normal" if root[0] >= root[1] else "benign" if tumor[0] >= tumor[1] else "cancer"
        assert row["predicted"] == greedy
    plots = {path.name for path in (tree_run / "plots").iterdir()}
    assert {"confusion_test.png", "confusion_test_root.png", "confusion_test_tumor.png"} <= plots
    assert "nothing to do" in bccli("hierarchy", tree_run.parent / "data", tree_run, *SHORT).stderr


def test_evaluate_shows_each_node_on_what_belongs_under_it(bccli: Bccli, tree_run: Path) -> None:
    figures = json.loads(bccli("evaluate", tree_run, "--format", "json").stdout)["runs"][0]
    rows = [row for row in read_rows(tree_run / "predictions.csv") if row["split"] == "test"]
    assert figures["accuracy"] == np.mean([row["predicted"] == row["label"] for row in rows])
    nodes = figures["tree"]["nodes"]
    below = [row for row in rows if row["label"] != "normal"]
    assert (nodes["root"]["n"], nodes["tumor"]["n"]) == (len(rows), len(below))
    right = [
        (float(row["tumor:cancer"]) > float(row["tumor:benign"])) == (row["label"] == "cancer")
        for row in below
    ]
    assert nodes["tumor"]["accuracy"] == np.mean(right)
    own = json.loads((tree_run / "tumor" / "metrics.json").read_text())["runs"]
    assert nodes["tumor"]["accuracy"] == next(row["accuracy"] for row in own if row["split"] == "test")
    assert figures["tree"]["decisions"]["greedy"] == figures["accuracy"]
    assert set(figures["tree"]["hierarchical"]) == {"precision", "recall", "f1"}
    assert figures["majority_accuracy"] is not None


def test_a_flat_run_is_measured_by_the_tree_beside_it(
    bccli: Bccli, three: Path, tree_run: Path, tmp_path: Path
) -> None:
    bccli("train", three, tmp_path / "flat", *SHORT[:-2])
    found = json.loads(bccli("evaluate", tree_run, tmp_path / "flat", "--format", "json").stdout)
    assert {row["kind"]: row["tree"]["decide"] for row in found["runs"]} == {
        "tree": "greedy",
        "network": None,
    }
    assert all(set(row["tree"]["nodes"]) == {"root", "tumor"} for row in found["runs"])
    assert "accuracy" in found["comparison"]["differences"]
    assert found["comparison"]["n"] == found["runs"][0]["n"]
    table = bccli("evaluate", tree_run, tmp_path / "flat", "--format", "table").stdout
    assert "hierarchical f1" in table
    assert "(summed)" in table


def test_predict_says_what_is_stored_when_the_data_are_gone(
    bccli: Bccli, three: Path, tree_run: Path, module_path: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(tree_run, tmp_path / "moved")
    three.rename(module_path / "away")
    try:
        answers = rows_of(bccli("predict", moved, module_path / "raw").stdout)
    finally:
        (module_path / "away").rename(three)
    assert "LiteRT" in bccli("predict", moved, module_path / "raw").stderr
    by_source = {Path(row["path"]).relative_to(module_path / "raw").as_posix(): row for row in answers}
    for row in read_rows(tree_run / "predictions.csv"):
        answer = by_source[row["source"]]
        assert answer["predicted"] == row["predicted"]
        assert float(answer["probability"]) == pytest.approx(float(row[f"p_{row['predicted']}"]), abs=1e-4)
        for column in ("p_normal", "p_cancer", "root:tumor", "tumor:benign"):
            assert float(answer[column]) == pytest.approx(float(row[column]), abs=1e-4)
        assert sum(float(answer[f"p_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-9)


def test_evaluate_on_other_data_decides_as_the_run_does(bccli: Bccli, three: Path, tree_run: Path) -> None:
    found = bccli("evaluate", tree_run, "--data", three, "--format", "json")
    figures = json.loads(found.stdout)["runs"][0]
    assert figures["tree"]["decisions"]["greedy"] == figures["accuracy"]
    assert figures["n"] == 27
    assert figures["leakage"]["identical"] > 0
    assert "train" in found.stderr or figures["leakage"]["patients"] > 0


def test_ensembles_and_views_take_trees(bccli: Bccli, tree_run: Path, module_path: Path) -> None:
    image = next((module_path / "raw" / "benign").iterdir())
    alone = rows_of(bccli("predict", tree_run, image).stdout)[0]
    twice = rows_of(bccli("predict", tree_run, image, "--ensemble", tree_run).stdout)[0]
    assert float(twice["p_cancer"]) == pytest.approx(float(alone["p_cancer"]), abs=1e-9)
    assert "root:normal" not in twice
    views = rows_of(bccli("predict", tree_run, image, "--tta").stdout)[0]
    assert sum(float(views[f"p_{name}"]) for name in CLASSES) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.exports
def test_one_unit_stands_for_two_children(
    bccli: Bccli, three: Path, module_path: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    bccli("hierarchy", three, run, *SHORT, "--output", "sigmoid")
    answers = {
        Path(row["path"]).name: row for row in rows_of(bccli("predict", run, module_path / "raw").stdout)
    }
    for row in read_rows(run / "predictions.csv"):
        answer = answers[Path(row["source"]).name]
        for column in ("p_cancer", "root:tumor", "tumor:benign"):
            assert float(answer[column]) == pytest.approx(float(row[column]), abs=1e-4)


@pytest.mark.exports
def test_runs_are_composed_into_a_tree(
    bccli: Bccli, three: Path, tree_run: Path, module_path: Path, tmp_path: Path
) -> None:
    """The same nodes decide by path, without any training; the parts are copies."""
    nodes = [option for name in ("root", "tumor") for option in ("--compose", f"{name}={tree_run / name}")]
    run = tmp_path / "composed"
    bccli("hierarchy", three, run, "--tree", TREE, "--decide", "path", *nodes)
    ours, theirs = read_rows(run / "predictions.csv"), read_rows(tree_run / "predictions.csv")
    for mine, other in zip(ours, theirs, strict=True):
        shares = {name: float(mine[f"p_{name}"]) for name in CLASSES}
        assert all(shares[name] == pytest.approx(float(other[f"p_{name}"]), abs=1e-6) for name in CLASSES)
        assert shares[mine["predicted"]] == max(shares.values())
    result = bccli("predict", run, module_path / "raw")
    assert {row["error"] for row in rows_of(result.stdout)} == {""}
    recipe = "--recipe", run / "recipe.toml"
    assert "nothing to do" in bccli("hierarchy", three, run, *recipe).stderr
    refused(bccli("hierarchy", three, run, *recipe, "--overwrite", exit=2), "lies in", "copy it elsewhere")


def test_a_node_may_have_a_recipe_of_its_own(bccli: Bccli, three: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text("[train]\nepochs = 2\ndense = [4]\n")
    bccli("hierarchy", three, tmp_path / "run", *SHORT, "--node", f"tumor={recipe}")
    settings = {name: info_of(tmp_path / "run" / name)["settings"] for name in ("root", "tumor")}
    assert (settings["root"]["epochs"], settings["root"]["dense"]) == (3, [])
    assert (settings["tumor"]["epochs"], settings["tumor"]["dense"]) == (2, [4])
    again = bccli("hierarchy", three, tmp_path / "run", "--recipe", tmp_path / "run" / "recipe.toml")
    assert "nothing to do" in again.stderr
    recipe.write_text("[train]\nfold = 1\n")
    result = bccli("hierarchy", three, tmp_path / "other", *SHORT, "--node", f"tumor={recipe}", exit=2)
    refused(result, "fold", "no setting of a node")


@pytest.mark.exports
@pytest.mark.slow
def test_the_backbone_learns_from_a_layer_on_in_a_second_stage(
    bccli: Bccli, three: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    bccli("hierarchy", three, run, *SHORT, "--from-layer", "conv_pw_13", "--tune-epochs", 1)
    for name in ("root", "tumor"):
        assert info_of(run / name)["settings"]["from_layer"] is not None
        assert info_of(run / f"{name}.frozen")["settings"]["epochs"] == 3
    assert info_of(run)["joint"] == []
    assert "nothing to do" in bccli("hierarchy", three, run, "--recipe", run / "recipe.toml").stderr
    assert len(rows_of(bccli("predict", run, three / "images").stdout)) == 27


def test_what_was_interrupted_is_continued(bccli: Bccli, three: Path, tree_run: Path, tmp_path: Path) -> None:
    """A tree whose second node is missing keeps its first."""
    run = shutil.copytree(tree_run, tmp_path / "run")
    shutil.rmtree(run / "tumor")
    info = {key: info_of(run)[key] for key in ("format", "tool", "version", "kind", "settings")}
    (run / "run.json").write_text(json.dumps({**info, "status": "running"}))
    (run / "predictions.csv").unlink()
    before = (run / "root" / "model.keras").stat().st_mtime_ns
    bccli("hierarchy", three, run, *SHORT)
    assert (run / "root" / "model.keras").stat().st_mtime_ns == before
    assert (run / "predictions.csv").read_bytes() == (tree_run / "predictions.csv").read_bytes()


@pytest.mark.exports
def test_a_signal_stops_a_tree_and_the_same_command_ends_it(
    bccli: Bccli, three: Path, tree_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM comes in the second epoch of the second node."""
    run, seeds = tmp_path / "run", Fit._seeds

    def requesting(fit: Fit, step: int) -> np.ndarray:
        if fit.state.parent.name == "tumor" and fit.progress.epoch == 1:
            interruption.request(signal.SIGTERM)
        return seeds(fit, step)

    with monkeypatch.context() as patches:
        patches.setattr(Fit, "_seeds", requesting)
        bccli("hierarchy", three, run, *SHORT, exit=75)
    assert not (run / "predictions.csv").exists()
    assert "continuing after 1 epochs" in bccli("hierarchy", three, run, *SHORT).stderr
    for name in ("predictions.csv", "metrics.json", "tumor/history.csv", "tumor/predictions.csv"):
        assert (run / name).read_bytes() == (tree_run / name).read_bytes()
    for part in ("root", "tumor"):
        assert info_of(run / part)["litert"] == info_of(tree_run / part)["litert"]


def test_a_node_is_a_run_of_its_own(
    bccli: Bccli, three: Path, tree_run: Path, module_path: Path, tmp_path: Path
) -> None:
    """Moved away, it predicts without TensorFlow; it is fine-tuned on what belongs under it."""
    node = shutil.copytree(tree_run / "tumor", tmp_path / "tumor")
    result = bccli("predict", node, module_path / "raw" / "cancer")
    assert "LiteRT" in result.stderr
    stored = {Path(row["source"]).name: row for row in read_rows(node / "predictions.csv")}
    for answer in rows_of(result.stdout):
        if row := stored.get(Path(answer["path"]).name):
            assert float(answer["p_cancer"]) == pytest.approx(float(row["p_cancer"]), abs=1e-4)
    tuning = "--from-layer", "conv_pw_13", "--epochs", 1
    bccli("finetune", tree_run / "tumor", tmp_path / "tuned", *tuning)
    rows = read_rows(tmp_path / "tuned" / "predictions.csv")
    assert {row["label"] for row in rows} == {"benign", "cancer"}
    assert "nothing to do" in bccli("finetune", node, tmp_path / "tuned", "--data", three, *tuning).stderr


@pytest.mark.exports
def test_a_node_sees_other_images_of_the_same_sources(
    bccli: Bccli, three: Path, tree_run: Path, module_path: Path, tmp_path: Path
) -> None:
    """Of larger images, there are none of the normals: where the node is asked for them, it gives shares."""
    raw = shutil.copytree(module_path / "raw", tmp_path / "raw")
    shutil.rmtree(raw / "normal")
    test = sorted({row["patient"] for row in read_rows(three / "manifest.csv") if row["split"] == "test"})
    large = tmp_path / "large"
    bccli(
        *("prepare", "folder", raw, large, *PATIENT, "--size", "48x48"),
        *("--test-patients", ",".join(name for name in test if int(name[1:]) % 3)),
    )
    bccli("train", large, tmp_path / "second", *SHORT[:-2])
    run = tmp_path / "run"
    made = bccli(
        "hierarchy",
        three,
        run,
        *SHORT,
        "--compose",
        f"tumor={tmp_path / 'second'}@{large}",
        "--allow-leakage",
    )
    assert ": 1 node to train, " in made.stderr
    for row in read_rows(run / "predictions.csv"):
        if row["label"] == "normal":
            assert float(row["tumor:benign"]) == pytest.approx(0.5)
    answers = rows_of(bccli("predict", run, raw / "cancer").stdout)
    stored = {row["source"]: row for row in read_rows(run / "predictions.csv")}
    for answer in answers:
        row = stored.get(f"cancer/{Path(answer['path']).name}")
        if row:
            assert float(answer["tumor:cancer"]) == pytest.approx(float(row["tumor:cancer"]), abs=1e-4)
    result = bccli("evaluate", run, "--data", three, exit=3)
    refused(result, "several preparations")


@pytest.mark.parametrize(
    ("tree", "fragments"),
    [
        ("normal, tumor(benign, normal)", ("normal twice",)),
        ("normal, tumor(benign)", ("tumor has only benign below it",)),
        ("normal, tumor(benign, cancre)", ("cancre is no class", "did you mean 'cancer'?")),
        ("normal, benign", ("has no label cancer",)),
    ],
)
def test_a_tree_that_does_not_fit_is_refused(
    bccli: Bccli, three: Path, tmp_path: Path, tree: str, fragments: tuple[str, ...]
) -> None:
    refused(bccli("hierarchy", three, tmp_path / "run", "--tree", tree, exit=2), *fragments)
    assert not (tmp_path / "run").exists()


def test_a_circle_in_a_file_is_refused(bccli: Bccli, three: Path, tmp_path: Path) -> None:
    (tmp_path / "tree.txt").write_text("root: normal, tumor\ntumor: benign, cancer, root\n")
    result = bccli("hierarchy", three, tmp_path / "run", "--tree", tmp_path / "tree.txt", exit=2)
    refused(result, "circle", "root → tumor → root")


def test_a_leaf_without_training_images_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    raw = make_three(tmp_path / "raw", patients=6)
    bccli("prepare", "folder", raw, tmp_path / "data", *PATIENT, "--test-patients", "p2,p5")
    result = bccli("hierarchy", tmp_path / "data", tmp_path / "run", *SHORT, exit=3)
    refused(result, "train has no image of class cancer")


def test_composed_runs_have_to_fit(bccli: Bccli, three: Path, tree_run: Path, tmp_path: Path) -> None:
    command = "hierarchy", three, tmp_path / "run", *SHORT, "--compose"
    refused(bccli(*command, f"root={tree_run / 'tumor'}", exit=3), "benign, cancer", "root has normal, tumor")
    refused(bccli(*command, f"tumour={tree_run}", exit=2), "no node", "did you mean 'tumor'?")
    refused(bccli(*command, "tumor", exit=2), "NODE=RUN[@DATA]")
    refused(bccli(*command, f"tumor={tmp_path / 'none'}", exit=3), "no such file or folder")
    assert not (tmp_path / "run").exists()


def test_a_nodes_data_has_to_have_the_same_sources(
    bccli: Bccli, three: Path, tree_run: Path, tmp_path: Path
) -> None:
    other = make_three(tmp_path / "other" / "elsewhere")
    bccli("prepare", "folder", other, tmp_path / "data", "--patient-regex", r"/(p\d+)_")
    rows = read_rows(tmp_path / "data" / "manifest.csv")
    text = (tmp_path / "data" / "manifest.csv").read_text()
    (tmp_path / "data" / "manifest.csv").write_text(text.replace(",cancer/p", ",carcinoma/p"))
    assert rows
    node = f"tumor={tree_run / 'tumor'}@{tmp_path / 'data'}"
    result = bccli("hierarchy", three, tmp_path / "run", *SHORT, "--compose", node, exit=3)
    refused(result, "has no image of cancer/", "prepare both from the same source")


def test_mini_ddsm_has_a_tree_of_its_own(bccli: Bccli, tmp_path: Path) -> None:
    raw = mini_ddsm(tmp_path / "raw").write()
    bccli("prepare", "mini-ddsm", raw, tmp_path / "data", "--size", "32x32", "--ratios", "2/1/1")
    shown = rows_of(bccli("hierarchy", tmp_path / "data", tmp_path / "run", "--dry-run").stdout)
    assert [row["node"] for row in shown][::6] == ["root", "tumor"]
    assert {row["label"] for row in shown} == {"normal", "tumor", "benign", "cancer"}


def test_trees_are_listed(bccli: Bccli) -> None:
    rows = rows_of(bccli("hierarchy", "--list-trees").stdout)
    assert {"dataset": "mini-ddsm", "task": "three", "tree": TREE} in rows
