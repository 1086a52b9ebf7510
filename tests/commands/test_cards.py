"""`bccli train --backbone CARD.toml` and what the other commands make of its runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import cards
from tests.conftest import Bccli, Library, bccli_in, draw_folder, forget, read_rows, rows_of, save

SHORT = "--epochs", 2, "--batch-size", 8


@pytest.fixture(autouse=True)
def onnx() -> None:
    """All of these need bccli[onnx]."""
    cards.needs_onnx()


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A card with an ONNX file beside it; no other folder has any."""
    monkeypatch.setenv("BCCLI_BACKBONES", str(tmp_path / "nowhere"))
    (tmp_path / "networks").mkdir()
    return cards.card(cards.write_onnx(tmp_path / "networks" / "vit.onnx"), output="tokens")


def probabilities(rows: list[dict[str, str]], column: str = "p_malignant") -> dict[str, float]:
    """By the file's name."""
    return {row["path"].rpartition("/")[2]: float(row[column]) for row in rows}


WRITERS = {"onnx": cards.write_onnx, "tflite": cards.write_tflite, "keras": cards.write_keras}
DEVICES = {"onnx": "ONNX Runtime on CPU", "tflite": "LiteRT on CPU", "keras": "TensorFlow on CPU"}


@pytest.mark.parametrize(
    ("suffix", "classifier"),
    [("onnx", "dense"), ("onnx", "logistic"), ("tflite", "dense"), ("keras", "svm")],
)
def test_predict_says_what_is_stored_after_the_data_are_gone(
    suffix: str, classifier: str, prepared: Path, bccli: Bccli, bccli_process: Callable[..., Any]
) -> None:
    run = prepared.parent / "run"
    network = cards.card(WRITERS[suffix](prepared.parent / f"net.{suffix}"))
    bccli(
        "train",
        prepared,
        run,
        "--backbone",
        network,
        "--classifier",
        classifier,
        *(SHORT if classifier == "dense" else ()),
    )
    stored = probabilities([{**row, "path": row["source"]} for row in read_rows(run / "predictions.csv")])
    forget(prepared)
    found = bccli_process("predict", run, prepared.parent / "raw", "--format", "csv")
    assert found.returncode == 0, found.stderr
    assert DEVICES[suffix] in found.stderr
    answers = probabilities(rows_of(found.stdout))
    assert stored
    assert {name: answers[name] for name in stored} == pytest.approx(stored, abs=1e-6)


def test_a_run_keeps_card_and_hash_and_names_the_file_that_is_gone(
    prepared: Path, network: Path, bccli: Bccli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, file = prepared.parent / "run", network.with_suffix(".onnx")
    bccli("train", prepared, run, "--backbone", network, *SHORT)
    facts = json.loads((run / "run.json").read_text())
    assert facts["kind"] == "head"
    assert facts["backbone"] == "vit"
    assert (run / "backbone.toml").read_text() == network.read_text()
    digest = facts["card"]["files"]["vit.onnx"]
    assert digest in network.read_text()
    assert not (run / "backbone").exists()
    image = next((prepared.parent / "raw").rglob("*.png"))
    answer = bccli("predict", run, image).stdout
    file.rename(tmp_path / "elsewhere.onnx")
    refused = bccli("predict", run, image, exit=3).stderr
    assert "vit.onnx" in refused
    assert digest in refused
    assert "BCCLI_BACKBONES" in refused
    (tmp_path / "folder").mkdir()
    shutil.copy(tmp_path / "elsewhere.onnx", tmp_path / "folder" / "vit.onnx")
    monkeypatch.setenv("BCCLI_BACKBONES", str(tmp_path / "folder"))
    assert bccli("predict", run, image).stdout == answer
    cards.write_onnx(file, seed=1)
    monkeypatch.setenv("BCCLI_BACKBONES", str(tmp_path / "nowhere"))
    assert "is another file" in bccli("predict", run, image, exit=3).stderr


@pytest.mark.parametrize("free", [True, False])
def test_save_backbone_makes_a_run_that_needs_nothing_else(
    free: bool, prepared: Path, network: Path, bccli: Bccli, tmp_path: Path
) -> None:
    cards.card(network.with_suffix(".onnx"), output="tokens", redistribute=free)
    words = "train", prepared, tmp_path / "run", "--backbone", network, "--save-backbone", *SHORT
    said = bccli(*words).stderr
    assert ("passed on" in said) is not free
    (tmp_path / "run").rename(tmp_path / "moved")
    forget(network.parent)
    bccli("predict", tmp_path / "moved", next((prepared.parent / "raw").rglob("*.png")))


def test_cards_stand_in_a_sweep_beside_built_in_networks(prepared: Path, network: Path, bccli: Bccli) -> None:
    run = prepared.parent / "sweep"
    bccli("train", prepared, run, "--backbone", network, "--backbone", "cnn-15", *SHORT)
    rows = read_rows(run / "leaderboard.csv")
    assert {row["backbone"] for row in rows} == {"vit", "cnn-15"}
    bccli("predict", run / "vit", next((prepared.parent / "raw").rglob("*.png")))


def test_vectors_that_are_no_numbers(
    prepared: Path, bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import helper

    root = helper.make_node("Sqrt", ["tokens"], ["special"])
    network = cards.card(cards.write_onnx(tmp_path / "net.onnx", node=root, output="special"))
    said = bccli("train", prepared, prepared.parent / "run", "--backbone", network, exit=3).stderr
    assert "net gives values that are no numbers" in said


@pytest.mark.parametrize("classifier", ["dense", "logistic", "forest", "svm"])
def test_an_image_without_numbers_has_an_error_and_no_label(
    classifier: str, prepared: Path, bccli: Bccli, tmp_path: Path
) -> None:
    from onnx import helper

    logarithm = helper.make_node("Log", ["vector"], ["special"])  # which has none of negative numbers
    file = cards.write_onnx(tmp_path / "net.onnx", node=logarithm, output="special", positive=True)
    network = cards.card(file, mean=None, std=None)
    short = SHORT if classifier == "dense" else ()
    run = prepared.parent / "run"
    bccli("train", prepared, run, "--backbone", network, "--classifier", classifier, *short)
    save(tmp_path / "new" / "black.png", np.zeros((24, 24, 3), np.uint8))
    found = bccli("predict", run, tmp_path / "new", "--format", "csv", exit=4)
    (row,) = rows_of(found.stdout)
    assert row["predicted"] == ""
    assert "not a number" in row["error"]
    assert "RuntimeWarning" not in found.stderr


def test_images_of_another_size_are_not_squeezed(prepared: Path, network: Path, bccli: Bccli) -> None:
    cards.card(network.with_suffix(".onnx"), output="tokens", size=[32, 32])
    said = bccli("train", prepared, prepared.parent / "run", "--backbone", network, exit=3).stderr
    assert "--size 32x32" in said


JOINED = "--backbone", "cnn-15", "--join"


@pytest.mark.exports
@pytest.mark.parametrize("classifier", ["dense", "logistic"])
def test_joined_backbones_answer_as_they_were_trained(
    classifier: str, prepared: Path, network: Path, bccli: Bccli, bccli_process: Callable[..., Any]
) -> None:
    run, folder = prepared.parent / "run", prepared.parent
    short = SHORT if classifier == "dense" else ()
    bccli("train", prepared, run, "--backbone", network, *JOINED, "--classifier", classifier, *short)
    facts = json.loads((run / "run.json").read_text())
    assert facts["backbone"] == "vit+cnn-15"
    assert [part["backbone"] for part in facts["joined"]] == ["vit", "cnn-15"]
    bccli("train", prepared, folder / "again", "--recipe", run / "recipe.toml")
    assert (folder / "again" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
    stored = {row["source"]: float(row["p_malignant"]) for row in read_rows(run / "predictions.csv")}
    forget(prepared)
    found = bccli_process("predict", run, folder / "raw", "--format", "csv")
    assert found.returncode == 0, found.stderr
    answers = {row["path"].removeprefix(f"{folder / 'raw'}/"): row for row in rows_of(found.stdout)}
    assert {key: float(answers[key]["p_malignant"]) for key in stored} == pytest.approx(stored, abs=1e-5)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--join",), "2 to 16"),
        ((*JOINED, "--trainable", "all"), "stay as they are"),
        ((*JOINED, "--augment", "flips"), "--views"),
        ((*JOINED, "--backbone", "vgg16", "--weights", "x.h5"), "one file cannot fit"),
    ],
)
def test_what_cannot_be_joined_is_said(
    words: tuple[str, ...], part: str, prepared: Path, network: Path, bccli: Bccli
) -> None:
    run = prepared.parent / "run"
    assert part in bccli("train", prepared, run, "--backbone", network, *words, exit=2).stderr


def test_recipe_of_a_run_repeats_it(prepared: Path, network: Path, bccli: Bccli, tmp_path: Path) -> None:
    bccli("train", prepared, tmp_path / "one", "--backbone", network, *SHORT)
    bccli("train", prepared, tmp_path / "two", "--recipe", tmp_path / "one" / "recipe.toml")
    tables = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("one", "two")]
    assert tables[0] == tables[1]
    settings = [json.loads((tmp_path / name / "run.json").read_text())["settings"] for name in ("one", "two")]
    assert settings[0] == settings[1]


def test_same_command_again_is_done_and_another_file_is_another_run(
    prepared: Path, network: Path, bccli: Bccli
) -> None:
    words = "train", prepared, prepared.parent / "run", "--backbone", network, *SHORT
    bccli(*words)
    assert "nothing to do" in bccli(*words).stderr
    cards.card(cards.write_onnx(network.with_suffix(".onnx"), seed=1), output="tokens")
    assert "was trained with" in bccli(*words, exit=3).stderr


def test_a_card_whose_file_was_replaced_is_refused(prepared: Path, network: Path, bccli: Bccli) -> None:
    cards.write_onnx(network.with_suffix(".onnx"), seed=1)
    said = bccli("train", prepared, prepared.parent / "run", "--backbone", network, exit=3).stderr
    assert "SHA-256" in said
    assert "card vit" in said
    assert not (prepared.parent / "run").exists()


@pytest.mark.parametrize(
    ("words", "exit", "part"),
    [
        (("--trainable", "all"), 2, "stays as it is"),
        (("--weights", "none"), 2, "whose file has its weights"),
        (("--augment", "flips"), 2, "--views"),
        (("--input-norm", "train"), 2, "how pixels are normalised"),
        (("--device", "gpu"), 3, "GPU"),
    ],
)
def test_what_a_card_cannot_do_is_said_before_anything_is_made(
    words: tuple[str, ...], exit: int, part: str, prepared: Path, network: Path, bccli: Bccli
) -> None:
    run = prepared.parent / "run"
    assert part in bccli("train", prepared, run, "--backbone", network, *words, exit=exit).stderr


def test_folds_copies_and_explanations(network: Path, bccli: Bccli, make_folder: Callable[..., Path]) -> None:
    raw = make_folder()
    data, run = raw.parent / "folds", raw.parent / "run"
    bccli("prepare", "folder", raw, data, "--patient-regex", r"/(p\d+)_", "--folds", 3)
    words = "--augment", "flips", "--views", 2, "--fold", "all", "--save-backbone"
    bccli("train", data, run, "--backbone", network, *words, *SHORT)
    linked = {(run / f"fold-{fold}" / "backbone" / "vit.onnx").stat().st_ino for fold in range(3)}
    assert len(linked) == 1
    image = next(raw.rglob("*.png"))
    rows = rows_of(bccli("predict", run, image, "--explain", raw.parent / "maps", "--format", "csv").stdout)
    assert rows[0]["predicted"]
    assert (raw.parent / "maps" / "index.html").is_file()


def fill_patches(place: Path) -> None:
    """Patches of 24×24 in `data`, and a run of a card on them."""
    draw_folder(place / "raw", size=(72, 48))
    words = "--patient-regex", r"/(p\d+)_", "--ratios", "1/1/1", "--patch", 24
    bccli_in("prepare", "folder", place / "raw", place / "data", *words)
    path = cards.card(cards.write_onnx(place / "vit.onnx"), output="tokens")
    bccli_in("train", place / "data", place / "run", "--backbone", path, *SHORT)
    bccli_in("train", place / "data", place / "joined", "--backbone", path, *JOINED, *SHORT)


@pytest.mark.exports
@pytest.mark.parametrize(
    ("way", "name"), [("attention", "run"), ("mean", "run"), ("svm", "run"), ("attention", "joined")]
)
def test_fusions_over_a_patch_run_on_cards(
    way: str, name: str, library: Library, tmp_path: Path, bccli: Bccli
) -> None:
    library.copy("card-patches", fill_patches, tmp_path)
    words = ("--epochs", 2, "--dense", 4) if way == "attention" else ()
    base = "--features-from", tmp_path / name, "--head", way
    said = bccli("train", tmp_path / "data", tmp_path / "fused", *base, *words).stderr
    assert "of 144 images were in the cache" in said
    assert "features:" not in said.replace("features: 144 of 144 images", "")
    stored = {
        row["source"]: float(row["p_malignant"]) for row in read_rows(tmp_path / "fused/predictions.csv")
    }
    forget(tmp_path / "data")
    answers = rows_of(bccli("predict", tmp_path / "fused", tmp_path / "raw", "--format", "csv").stdout)
    found = {row["path"].removeprefix(f"{tmp_path / 'raw'}/"): float(row["p_malignant"]) for row in answers}
    assert stored
    assert {name: found[name] for name in stored} == pytest.approx(stored, abs=1e-5)


def test_tree_on_a_card(bccli: Bccli, network: Path, make_folder: Callable[..., Path]) -> None:
    raw = make_folder(classes=("normal", "benign", "cancer"), patients=9)
    data, run = raw.parent / "data", raw.parent / "run"
    bccli("prepare", "folder", raw, data, "--patient-regex", r"/(p\d+)_", "--ratios", "1/1/1")
    tree = "--tree", "normal, tumor(benign, cancer)"
    bccli("hierarchy", data, run, *tree, "--backbone", network, *SHORT)
    stored = {row["source"]: float(row["p_cancer"]) for row in read_rows(run / "predictions.csv")}
    answers = rows_of(bccli("predict", run, raw, "--format", "csv").stdout)
    found = {row["path"].removeprefix(f"{raw}/"): float(row["p_cancer"]) for row in answers}
    assert stored
    assert {name: found[name] for name in stored} == pytest.approx(stored, abs=1e-6)
    assert "is a card" in bccli(
        "hierarchy", data, raw.parent / "two", *tree, "--backbone", network, "--from-layer", "3", exit=2
    ).stderr  # fmt: skip


def test_finetune_says_that_there_is_nothing_to_tune(prepared: Path, network: Path, bccli: Bccli) -> None:
    run = prepared.parent / "run"
    bccli("train", prepared, run, "--backbone", network, *SHORT)
    assert "stays as it is" in bccli("finetune", run, prepared.parent / "out", "--all", exit=3).stderr


def test_evaluate_measures_other_data(prepared: Path, network: Path, bccli: Bccli) -> None:
    run = prepared.parent / "run"
    bccli("train", prepared, run, "--backbone", network, *SHORT)
    (figures,) = json.loads(bccli("evaluate", run, "--data", prepared, "--format", "json").stdout)["runs"]
    assert figures["n"] == 24
    assert figures["kind"] == "head"


def test_report_and_checklist_say_whose_network_it_is(prepared: Path, network: Path, bccli: Bccli) -> None:
    folder = prepared.parent
    known = {
        "pretrained_on": "slides of one hospital",
        "licence": "CC-BY-NC-ND-4.0",
        "source": "https://a.org",
    }
    cards.card(network.with_suffix(".onnx"), output="tokens", **known)
    bccli("train", prepared, folder / "run", "--backbone", network, *SHORT)
    bccli("evaluate", folder / "run", "--report", folder / "page.html")
    for text in known.values():
        assert text in (folder / "page.html").read_text()
    told = " ".join(bccli("evaluate", folder / "run", "--checklist", "claim").stdout.split())
    assert "pretrained on slides of one hospital" in told
    whole = bccli("evaluate", folder / "run", "--checklist", "tripod-ai").stdout
    assert "head.npz (SHA-256" in whole
    assert "the network of others in vit.onnx" in whole


def test_templates_say_which_file_is_wanted_and_how_it_is_made(
    prepared: Path, bccli: Bccli, network: Path
) -> None:
    said = bccli("train", prepared, prepared.parent / "run", "--backbone", "uni2-h", exit=3).stderr
    assert "https://huggingface.co/MahmoodLab/UNI2-h" in said
    assert "nowhere/uni2-h.onnx" in said
    assert "\ntorch.onnx.export(" in said.replace("program = ", "")
    assert "uni2-h" in bccli("train", "--list-backbones").stdout
    assert "dinov2-small'?" in bccli("train", prepared, "run", "--backbone", "dinov2-smal", exit=2).stderr


def test_a_template_works_once_its_file_is_there(
    bccli: Bccli, make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import helper

    raw = make_folder(size=(224, 224), images=2)
    bccli("prepare", "folder", raw, tmp_path / "data", "--patient-regex", r"/(p\d+)_", "--ratios", "1/1/1")
    monkeypatch.setenv("BCCLI_BACKBONES", str(tmp_path / "files"))
    (tmp_path / "files").mkdir()
    file, words = tmp_path / "files" / "dinov2-small.onnx", ("--backbone", "dinov2-small", *SHORT)
    renamed = {
        "output": "last_hidden_state",
        "node": helper.make_node("Identity", ["tokens"], ["last_hidden_state"]),
    }
    cards.write_onnx(file, sides=(224, 224), **renamed)
    said = bccli("train", tmp_path / "data", tmp_path / "run", *words, exit=3).stderr
    assert "makes 6 numbers of an image, and its card says 384" in said
    monkeypatch.setattr(cards, "WIDTH", 384)
    cards.write_onnx(file, sides=(224, 224), **renamed)
    bccli("train", tmp_path / "data", tmp_path / "run", *words)
    bccli("predict", tmp_path / "run", next(raw.rglob("*.png")))


@pytest.mark.parametrize("words", [(), ("--classifier", "logistic"), ("--backbone", "cnn-15", "--join")])
def test_a_network_that_tells_no_image_apart(
    words: tuple[str, ...], prepared: Path, bccli: Bccli, tmp_path: Path
) -> None:
    from onnx import helper

    nothing = helper.make_node("Sub", ["vector", "vector"], ["zeros"])
    network = cards.card(cards.write_onnx(tmp_path / "net.onnx", node=nothing, output="zeros"))
    said = bccli("train", prepared, prepared.parent / "run", "--backbone", network, *words, exit=3).stderr
    assert "every image the same vector" in said
