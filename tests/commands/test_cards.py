"""`bccli train --backbone CARD.toml` and what the other commands make of its runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import cards
from tests.conftest import Bccli, Library, bccli_in, draw_folder, forget, read_rows, rows_of

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


@pytest.mark.parametrize("classifier", ["dense", "logistic"])
def test_predict_says_what_is_stored_after_the_data_are_gone(
    classifier: str, prepared: Path, network: Path, bccli: Bccli, bccli_process: Callable[..., Any]
) -> None:
    run = prepared.parent / "run"
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
    assert "ONNX Runtime on CPU" in found.stderr
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


@pytest.mark.parametrize("way", ["attention", "mean", "svm"])
def test_fusions_over_a_patch_run_on_a_card(way: str, library: Library, tmp_path: Path, bccli: Bccli) -> None:
    library.copy("card-patches", fill_patches, tmp_path)
    words = ("--epochs", 2, "--dense", 4) if way == "attention" else ()
    base = "--features-from", tmp_path / "run", "--head", way
    said = bccli("train", tmp_path / "data", tmp_path / "fused", *base, *words).stderr
    assert "72 of 72 images were in the cache" in said.replace("144 of 144", "72 of 72")
    stored = {
        row["source"]: float(row["p_malignant"]) for row in read_rows(tmp_path / "fused/predictions.csv")
    }
    forget(tmp_path / "data")
    answers = rows_of(bccli("predict", tmp_path / "fused", tmp_path / "raw", "--format", "csv").stdout)
    found = {row["path"].removeprefix(f"{tmp_path / 'raw'}/"): float(row["p_malignant"]) for row in answers}
    assert stored
    assert {name: found[name] for name in stored} == pytest.approx(stored, abs=1e-6)


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
    assert (
        "without a backbone to train"
        in bccli("finetune", run, prepared.parent / "out", "--all", exit=3).stderr
    )


def test_evaluate_measures_other_data(prepared: Path, network: Path, bccli: Bccli) -> None:
    run = prepared.parent / "run"
    bccli("train", prepared, run, "--backbone", network, *SHORT)
    (figures,) = json.loads(bccli("evaluate", run, "--data", prepared, "--format", "json").stdout)["runs"]
    assert figures["n"] == 24
    assert figures["kind"] == "head"
