"""Recipes: what they set, what wins over them, and how they fail."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from bccli.cli import cli
from bccli.recipes import RecipeCommand, check_keys, load_recipe, resolve
from tests.commands.test_histology import breakhis, databiox
from tests.conftest import PATIENT, Bccli, read_rows, rows_of
from tests.sentences import refused

MakeFolder = Callable[..., Path]
BUILT_IN = sorted(path.stem for path in Path("bccli/recipes").glob("*.toml"))


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], Path]:
    """Write a recipe."""

    def write(text: str) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def prepare(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> Callable[..., dict]:
    """Prepare with a recipe and options; returns the settings in dataset.json."""

    def run(recipe: object, *options: object) -> dict:
        data = tmp_path / f"data{len(list(tmp_path.glob('data*')))}"
        bccli("prepare", "folder", raw, data, *PATIENT, "--recipe", recipe, *options)
        return json.loads((data / "dataset.json").read_text())["settings"]

    raw = make_folder()
    return run


# What a recipe sets


def test_keys_are_spelled_like_options(prepare: Callable[..., dict], recipe: Callable[[str], Path]) -> None:
    settings = prepare(
        recipe('title = "Mine"\n[prepare]\nsize = "16x12"\nfit = "pad"\nseed = 7\nratios = "1/1/1"')
    )
    assert settings["size"] == [16, 12]
    assert (settings["fit"], settings["seed"], settings["ratios"]) == ("pad", 7, [1, 1, 1])


def test_lists_are_lists(prepare: Callable[..., dict], recipe: Callable[[str], Path]) -> None:
    assert prepare(recipe('[prepare]\ntest-patients = ["p0", "p1"]'))["test_patients"] == ["p0", "p1"]
    assert prepare(recipe("[prepare]\ntest-patients = []"))["test_patients"] == []


def test_booleans_are_booleans_and_can_be_taken_back(
    bccli: Bccli, make_folder: MakeFolder, recipe: Callable[[str], Path], tmp_path: Path
) -> None:
    raw, data = make_folder(), tmp_path / "data"
    (raw / "benign" / "p0_0.png").write_bytes(b"")
    command = "prepare", "folder", raw, data, *PATIENT
    bccli(*command, "--recipe", recipe("[prepare]\nskip-bad = true"), exit=0)
    bccli(*command, "--recipe", recipe("[prepare]\nskip-bad = false"), exit=4)
    bccli(*command, "--recipe", recipe("[prepare]\nskip-bad = true"), "--no-skip-bad", exit=4)


def test_other_commands_tables_are_checked_but_not_used(
    prepare: Callable[..., dict], recipe: Callable[[str], Path]
) -> None:
    assert prepare(recipe("[train]\nepochs = 3\nseed = 9"))["seed"] == 0


def test_the_command_line_wins_over_the_environment_and_that_over_the_recipe(
    prepare: Callable[..., dict], recipe: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe("[prepare]\nseed = 1")
    assert prepare(path)["seed"] == 1
    monkeypatch.setenv("BCCLI_PREPARE_SEED", "2")
    assert prepare(path)["seed"] == 2
    assert prepare(path, "--seed", 3)["seed"] == 3


def test_the_recipe_itself_may_come_from_the_environment(
    bccli: Bccli,
    make_folder: MakeFolder,
    recipe: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BCCLI_PREPARE_RECIPE", str(recipe('[prepare]\nsize = "8x8"')))
    bccli("prepare", "folder", make_folder(), tmp_path / "data")
    assert {row["width"] for row in read_rows(tmp_path / "data" / "manifest.csv")} == {"8"}


def test_the_paper_protocol_overlays_its_table(
    prepare: Callable[..., dict], recipe: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[prepare]\nsize = "16x16"\nseed = 1\n[prepare.paper]\nsplit-by = "image"\nseed = 2'
    honest = prepare(recipe(text))
    assert (honest["by"], honest["seed"], honest["protocol"]) == ("default", 1, "honest")
    paper = prepare(recipe(text), "--protocol", "paper")
    assert (paper["by"], paper["seed"], paper["size"]) == ("image", 2, [16, 16])
    assert prepare(recipe(text), "--protocol", "paper", "--seed", 5)["seed"] == 5
    own = recipe(text.replace("seed = 1", 'seed = 1\nprotocol = "paper"'))
    assert prepare(own)["seed"] == 2
    assert prepare(own, "--protocol", "honest")["seed"] == 1
    monkeypatch.setenv("BCCLI_PREPARE_PROTOCOL", "paper")
    assert prepare(recipe(text))["seed"] == 2


def test_paths_start_from_the_recipe(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache and a weights file; the names imagenet and none are no paths."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    path = folder / "mine.toml"
    path.write_text('[train]\nweights = "own/weights.h5"')
    result = bccli("train", prepared, tmp_path / "run", "--recipe", path, exit=3)
    refused(result, str(folder / "own" / "weights.h5"))
    path.write_text('[train]\nweights = "none"\ncache = "kept"')
    (prepared / ".cache").rename(tmp_path / "away")
    monkeypatch.chdir(tmp_path)
    bccli("train", prepared, tmp_path / "run", "--recipe", "recipes/mine.toml", "--device", "gpu", exit=3)
    assert any(found.is_file() for found in (folder / "kept").rglob("*"))
    assert not (tmp_path / "kept").exists()


# Stages


STAGES = """
[prepare]
size = "16x16"
[train]
batch-size = 4
epochs = 9
[train.patches]
epochs = 1
[train.images]
epochs = 2
"""


@pytest.mark.parametrize(("stage", "epochs"), [("patches", 1), ("images", 2)])
def test_a_stage_lies_over_its_table(recipe: Callable[[str], Path], stage: str, epochs: int) -> None:
    loaded = load_recipe(f"{recipe(STAGES)}:{stage}")
    check_keys(loaded, cli)
    assert resolve(loaded, "train", None) == {"batch-size": 4, "epochs": epochs}
    assert resolve(loaded, "prepare", None) == {"size": "16x16"}


def test_a_table_with_stages_wants_one(bccli: Bccli, recipe: Callable[[str], Path], tmp_path: Path) -> None:
    path = recipe(STAGES)
    result = bccli("train", tmp_path, tmp_path / "run", "--recipe", path, exit=2)
    refused(result, "[train] has stages", f"--recipe {path}:patches", f"--recipe {path}:images")
    result = bccli("train", tmp_path, tmp_path / "run", "--recipe", f"{path}:patchs", exit=2)
    refused(result, "no stage 'patchs'", "did you mean 'patches'?")


def test_a_stage_may_have_a_paper_table(recipe: Callable[[str], Path]) -> None:
    text = "[prepare.a]\nseed = 1\n[prepare.a.paper]\nseed = 2\n[prepare.b]\nseed = 3"
    loaded = load_recipe(f"{recipe(text)}:a")
    check_keys(loaded, cli)
    assert resolve(loaded, "prepare", None) == {"seed": 1}
    assert resolve(loaded, "prepare", "paper") == {"seed": 2}


def test_a_colon_in_a_path_is_no_stage(prepare: Callable[..., dict], tmp_path: Path) -> None:
    path = tmp_path / "12:30.toml"
    path.write_text("[prepare]\nseed = 4")
    assert prepare(path)["seed"] == 4


# Mistakes


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("[prepare]\nsise = 3", ("[prepare]", "'sise'", "did you mean 'size'?")),
        ("[prepare.paper]\nsplitby = 3", ("[prepare.paper]", "'splitby'", "did you mean 'split-by'?")),
        ("[train]\nepoch = 3", ("[train]", "'epoch'", "did you mean 'epochs'?")),
        ("[tarin]\nepochs = 3", ("'tarin'", "did you mean 'train'?")),
        ("epochs = 3", ("'epochs'",)),
        ("[prepare]\nrecipe = 'other'", ("'recipe'",)),
        ("[prepare]\nhelp = true", ("'help'",)),
        ("[prepare\nsize", ("not valid TOML",)),
        ("[prepare]\nsize = 'large'", ("--size", "'large'")),
        ("[prepare]\nseed = 'many'", ("--seed", "'many'")),
        ("[prepare]\nseed = 1.5", ("--seed", "'1.5'")),
        ("[prepare]\nseed = true", ("--seed",)),
        ("[prepare]\nskip-bad = 'perhaps'", ("--skip-bad", "'perhaps'")),
        ("[prepare]\nskip-bad = 3", ("--skip-bad", "'3'")),
        ("[prepare]\nskip-bad = 0.5", ("--skip-bad", "'0.5'")),
        ("[prepare]\nfit = 'strech'", ("--fit", "did you mean 'stretch'?")),
        ("[prepare]\ncount = 5", ("--count", "folder")),
    ],
)
def test_a_mistake_in_a_recipe_is_refused(
    bccli: Bccli,
    make_folder: MakeFolder,
    recipe: Callable[[str], Path],
    tmp_path: Path,
    text: str,
    fragments: tuple[str, ...],
) -> None:
    command = "prepare", "folder", make_folder(), tmp_path / "data", "--recipe", recipe(text)
    refused(bccli(*command, exit=2), *fragments)
    assert not (tmp_path / "data").exists()


def test_a_folder_is_no_recipe(bccli: Bccli, tmp_path: Path) -> None:
    result = bccli("prepare", "folder", tmp_path, tmp_path / "data", "--recipe", ".", exit=2)
    refused(result, "recipe .: cannot be read, as it is a directory")


@pytest.mark.parametrize("name", ["quickstrat", "nowhere/mine.toml"])
def test_a_recipe_that_is_not_there_is_refused(bccli: Bccli, tmp_path: Path, name: str) -> None:
    result = bccli("prepare", "folder", tmp_path, tmp_path / "data", "--recipe", name, exit=2)
    refused(result, f"no recipe {name!r}", "quickstart", "name a file")


def test_a_recipe_that_is_no_text_is_refused(bccli: Bccli, tmp_path: Path) -> None:
    path = tmp_path / "image.toml"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    refused(bccli("prepare", "folder", tmp_path, tmp_path / "d", "--recipe", path, exit=2), "not valid TOML")


# Built-in recipes and those of runs


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_recipe_is_valid_and_gives_reasons(name: str) -> None:
    """Known keys, values that the options take, and a comment on each of them."""
    loaded = load_recipe(name)
    check_keys(loaded, cli)
    for table, content in loaded.tables.items():
        command = cli.commands[table]
        assert isinstance(command, RecipeCommand)
        stages = [key for key, value in content.items() if isinstance(value, dict) and key != "paper"]
        for stage in stages or [None]:
            chosen = load_recipe(f"{name}:{stage}" if stage else name)
            for protocol in ("honest", "paper"):
                context = click.Context(command, info_name=table)
                context.default_map = command._defaults(chosen, protocol)
                for param in command.params:
                    if param.name in context.default_map:
                        param.type_cast_value(context, context.default_map[param.name])
    for line in Path("bccli/recipes", f"{name}.toml").read_text(encoding="utf-8").splitlines():
        if " = " in line and not line.startswith(("#", "title", "paper", "dataset")):
            assert "#" in line, line


@pytest.fixture
def folds(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> Path:
    """A prepared dataset with folds."""
    bccli("prepare", "folder", make_folder(images=2), tmp_path / "folds", *PATIENT, "--folds", 3)
    return tmp_path / "folds"


def test_the_recipe_of_a_run_repeats_it(bccli: Bccli, folds: Path, tmp_path: Path) -> None:
    options = (
        *("--fold", 1, "--epochs", 2, "--batch-size", 4, "--dense", "8,4", "--dropout", 0.25, "--seed", 11),
        *("--output", "sigmoid", "--loss", "mse", "--optimizer", "rmsprop", "--lr", 0.002, "--patience", 5),
        *("--monitor", "val_accuracy", "--stop-at", "val_accuracy=0.99", "--class-weights", "balanced"),
        *("--trainable", "none"),
    )
    first, second = tmp_path / "first", tmp_path / "second"
    bccli("train", folds, first, *options)
    bccli("train", folds, second, "--recipe", first / "recipe.toml")
    assert (second / "predictions.csv").read_bytes() == (first / "predictions.csv").read_bytes()
    assert (second / "recipe.toml").read_bytes() == (first / "recipe.toml").read_bytes()
    settings = [json.loads((run / "run.json").read_text())["settings"] for run in (first, second)]
    assert settings[0] == settings[1]
    assert "nothing to do" in bccli("train", folds, first, "--recipe", first / "recipe.toml").stderr


@pytest.mark.slow
def test_the_recipe_of_all_folds_repeats_them(bccli: Bccli, folds: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bccli("train", folds, run, "--fold", "all", "--epochs", 1, "--batch-size", 4)
    assert "nothing to do" in bccli("train", folds, run, "--recipe", run / "recipe.toml").stderr


# The papers' values

_PLATEAU = {"schedule": "plateau", "decay": 0.5, "decay-epochs": 3}
EXPECTED: dict[str, dict[str, dict[str, object]]] = {
    "bcnet": {
        "prepare": {"size": "224x224", "fit": "stretch", "split-by": "patient", "ratios": "60/20/20"},
        "prepare.paper": {
            "split-by": "image",
            "holdout": 21,
            "ratios": "75/25/0",
            "interpolation": "nearest",
        },
        "train": {
            "backbone": "vgg16",
            "weights": "imagenet",
            "trainable": "none",
            "input-norm": "backbone",
            "head": "gap",
            "dense": [1024, 1024],
            "dropout": 0.0,
            "feature-norm": "none",
            "weight-decay": 0.0,
            "output": "softmax",
            "loss": "categorical_crossentropy",
            "optimizer": "adam",
            "lr": 0.001,
            "batch-size": 52,
            "epochs": 50,
            "stop-at": "val_accuracy=0.88",
            "monitor": "val_accuracy",
            "augment": "zoom",
        },
        "train.paper": {"augment-val": True},
        "finetune": {
            "from-layer": ["vgg16:15", "mobilenet:80", "inception-v3:249"],
            "optimizer": "adam",
            "lr": 1e-5,
            "batch-size": 52,
            "epochs": 50,
            "stop-at": "val_accuracy=0.88",
            "monitor": "val_accuracy",
            "augment": "zoom",
            "train-batch-norm": False,
        },
    },
    "resnet50-breakhis": {
        "prepare": {
            "task": "binary",
            "size": "144x96",
            "fit": "stretch",
            "split-by": "patient",
            "ratios": "60/15/25",
        },
        "prepare.paper": {
            "split-by": "magnification",
            "test-magnification": "40",
            "ratios": "1/0/0",
            "interpolation": "nearest",
        },
        "train.paper": {"watch-test": True},
        "train": {
            "backbone": "resnet50",
            "weights": "imagenet",
            "trainable": "all",
            "input-norm": "train",
            "head": "gap",
            "dense": [1024],
            "dropout": 0.4,
            "output": "sigmoid",
            "loss": "mse",
            "optimizer": "rmsprop",
            "lr": 0.001,
            "batch-size": 32,
            "epochs": 200,
            "steps-per-epoch": 200,
            "monitor": "val_loss",
            "augment": "flips",
        },
    },
    "cbis-ddsm-ft": {
        "prepare": {
            "task": "masses",
            "split-by": "official",
            "ratios": "80/10/10",
            "clahe": True,
            "clahe-clip": 2.0,
            "clahe-tiles": 8,
            "interpolation": "auto",
            "denoise-strength": 3,
            "denoise-template": 7,
            "denoise-search": 21,
            "roi": "crop",
            "margin": 0,
            "aspect": [0.4, 1.5],
            "size": "328x328",
            "fit": "stretch",
            "center-crop": "320x320",
            "denoise": True,
        },
        "prepare.paper": {"split-by": "image"},
        "augment": {"policy": "table5", "total": 48000},
        "augment.paper": {"total": 60000, "ratios": "80/10/10"},
        "train": {
            "backbone": "vgg16",
            "weights": "imagenet",
            "trainable": "none",
            "input-norm": "backbone",
            "head": "gap",
            "dense": [4096],
            "dropout": 0.2,
            "feature-norm": "none",
            "weight-decay": 0.0,
            "output": "sigmoid",
            "loss": "binary_crossentropy",
            "optimizer": "rmsprop",
            "lr": 1e-5,
            "batch-size": 32,
            "epochs": 1000,
            "patience": 50,
            "monitor": "val_loss",
        },
        "finetune": {
            "from-layer": [
                *("vgg16:10", "vgg19:17", "xception:122", "xception:127", "xception:130"),
                *("resnet50:160", "resnet50:170", "resnet50:173"),
                *("resnet101:330", "resnet101:340", "resnet101:343", "resnet152:510", "resnet152:513"),
            ],
            "head": "gap",
            "dense": [],
            "dropout": 0.2,
            "output": "sigmoid",
            "loss": "binary_crossentropy",
            "optimizer": "rmsprop",
            "lr": 2e-7,
            "batch-size": 32,
            "epochs": 1000,
            "patience": 50,
            "monitor": "val_loss",
            "train-batch-norm": False,
        },
    },
    "mini-ddsm-single": {
        "prepare": {
            "task": "three",
            "keep": ["normal=0.25"],
            "size": "252x252",
            "fit": "pad",
            "split-by": "patient",
            "ratios": "70/20/10",
        },
        "prepare.paper": {"split-by": "image"},
        "train": {
            "backbone": "efficientnet-b0",
            "weights": "imagenet",
            "trainable": "none",
            "input-norm": "backbone",
            "head": "thesis",
            "dense": [10],
            "dropout": 0.2,
            "output": "softmax",
            "loss": "categorical_crossentropy",
            "optimizer": "adam",
            "lr": 5e-4,
            "batch-size": 32,
            "epochs": 5,
            "monitor": "val_loss",
            "augment": "flips",
        },
        "train.paper": {"lr": 0.001, "batch-size": 8},
        "finetune.paper": {"batch-size": 8, **_PLATEAU},
        "finetune": {
            "from-layer": ["top_conv"],
            "optimizer": "adam",
            "lr": 5e-4,
            "batch-size": 32,
            "epochs": 25,
            "monitor": "val_loss",
            "augment": "flips",
            "train-batch-norm": False,
        },
    },
    "mini-ddsm-hierarchy": {
        "prepare": {
            "task": "three",
            "keep": ["normal=0.25"],
            "size": "252x252",
            "fit": "pad",
            "split-by": "patient",
            "ratios": "70/20/10",
        },
        "prepare.paper": {"split-by": "image", "keep": ["normal=0.5"]},
        "hierarchy.paper": {"lr": 0.001, "batch-size": 8, **_PLATEAU},
        "hierarchy": {
            "tree": "normal, tumor(benign, cancer)",
            "decide": "greedy",
            "backbone": "efficientnet-b0",
            "weights": "imagenet",
            "trainable": "none",
            "input-norm": "backbone",
            "head": "thesis",
            "dense": [10],
            "dropout": 0.2,
            "output": "softmax",
            "loss": "categorical_crossentropy",
            "optimizer": "adam",
            "lr": 5e-4,
            "batch-size": 32,
            "epochs": 5,
            "monitor": "val_loss",
            "augment": "flips",
            "from-layer": "top_conv",
            "tune-epochs": 25,
            "tune-lr": 5e-4,
            "train-batch-norm": False,
        },
    },
}
"""What contract and papers say, written down a second time."""

EXPECTED["hybrid-bilstm"] = {
    "prepare": {
        "task": "four",
        "sample": 400,
        "ratios": "70/20/10",
        "split-by": "patient",
        "stain": "macenko",
        "patch": 512,
        "stride": 512,
    },
    "prepare.paper": {"split-by": "image"},
    "train": {},
    "train.patches": {
        "backbone": "inception-v3",
        "weights": "imagenet",
        "trainable": "all",
        "input-norm": "backbone",
        "head": "gap",
        "dense": [],
        "dropout": 0.0,
        "output": "softmax",
        "loss": "categorical_crossentropy",
        "optimizer": "adam",
        "lr": 1e-4,
        "batch-size": 32,
        "epochs": 50,
        "patience": 10,
        "monitor": "val_loss",
        "augment": "hybrid",
    },
    "train.images": {
        "head": "bilstm",
        "dense": [128, 128, 128],
        "dropout": 0.5,
        "output": "softmax",
        "loss": "categorical_crossentropy",
        "optimizer": "adam",
        "lr": 0.001,
        "batch-size": 32,
        "epochs": 100,
        "patience": 20,
        "monitor": "val_loss",
        "augment": "hybrid",
        "views": 50,
    },
}

_TUNED = EXPECTED["cbis-ddsm-ft"]
EXPECTED["cbis-ddsm-tl"] = {
    **{table: _TUNED[table] for table in ("prepare", "prepare.paper", "augment", "augment.paper")},
    "train": {**_TUNED["train"], "backbone": ["cbis-20"]},
}

_NUMBERS = {"clahe-clip", "clahe-tiles", "denoise-strength", "denoise-template", "denoise-search"}
SILENT = {
    "mini-ddsm-single": {"ratios", "batch-size", "monitor", "train-batch-norm", "split-by"},
    "mini-ddsm-hierarchy": {"ratios", "batch-size", "monitor", "train-batch-norm", "split-by"},
    "bcnet": {"lr", "monitor", "train-batch-norm"},
    "resnet50-breakhis": {"fit", "head", "lr"},
    "hybrid-bilstm": {
        *("input-norm", "loss", "optimizer", "lr", "batch-size", "epochs", "patience", "monitor", "dropout"),
    },
    "cbis-ddsm-ft": {"input-norm", "batch-size", "monitor", "train-batch-norm", *_NUMBERS},
    "cbis-ddsm-tl": {"input-norm", "batch-size", "monitor", *_NUMBERS},
}
"""Where a paper says nothing at all."""


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recipe_has_the_values_of_its_paper(name: str) -> None:
    tables = load_recipe(name).tables
    found: dict[str, dict[str, object]] = {}
    for command, content in tables.items():
        found[command] = {key: value for key, value in content.items() if not isinstance(value, dict)}
        found |= {f"{command}.{key}": value for key, value in content.items() if isinstance(value, dict)}
    assert found == EXPECTED[name]
    lines = Path("bccli/recipes", f"{name}.toml").read_text(encoding="utf-8").splitlines()
    silent = {line.partition(" = ")[0] for line in lines if "# paper silent: our choice, because" in line}
    assert silent == SILENT[name]


@pytest.mark.slow
def test_the_protocol_of_the_data_decides_over_the_tables_of_train(
    bccli: Bccli, make_folder: MakeFolder, recipe: Callable[[str], Path], tmp_path: Path
) -> None:
    path = recipe("[train]\nepochs = 1\nbatch-size = 4\n[train.paper]\nbatch-size = 3\n")
    raw = make_folder()
    for protocol, size in (("honest", 4), ("paper", 3)):
        data, run = tmp_path / protocol, tmp_path / f"run-{protocol}"
        bccli("prepare", "folder", raw, data, *PATIENT, "--protocol", protocol)
        bccli("train", data, run, "--recipe", path)
        assert json.loads((run / "run.json").read_text())["settings"]["batch_size"] == size
    refused(bccli("train", tmp_path / "none", tmp_path / "run", "--recipe", path, exit=3), "no such folder")


def test_the_protocol_of_the_run_decides_over_the_tables_of_finetune(tmp_path: Path) -> None:
    command = cli.commands["finetune"]
    assert isinstance(command, RecipeCommand)
    for name, marker, protocol in (("run", "run.json", "paper"), ("data", "dataset.json", "honest")):
        (tmp_path / name).mkdir()
        (tmp_path / name / marker).write_text(json.dumps({"protocol": protocol}))
    context = click.Context(command, info_name="finetune")
    run = {"run": str(tmp_path / "run")}
    assert command._protocol(context, run) == "paper"
    assert command._protocol(context, {**run, "data": str(tmp_path / "data")}) == "honest"
    assert command._protocol(context, {"run": str(tmp_path / "none")}) is None
    recipe = load_recipe("mini-ddsm-single")
    assert [command._defaults(recipe, protocol)["schedule"] for protocol in ("paper",)] == ["plateau"]
    assert "schedule" not in command._defaults(recipe, "honest")


@pytest.mark.parametrize(
    ("name", "dataset", "protocol"),
    [
        pytest.param("bcnet", "databiox", "paper", marks=pytest.mark.full),
        pytest.param("resnet50-breakhis", "breakhis", "honest", marks=pytest.mark.slow),
        pytest.param("bcnet", "databiox", "honest", marks=pytest.mark.full),
        pytest.param("resnet50-breakhis", "breakhis", "paper", marks=pytest.mark.full),
    ],
)
def test_both_recipes_run_on_the_raw_layout(
    bccli: Bccli, tmp_path: Path, name: str, dataset: str, protocol: str
) -> None:
    """As they are, but for the weights, which are not to be had here, and for fewer epochs and steps."""
    raw, data, run = tmp_path / "raw", tmp_path / "data", tmp_path / "run"
    if dataset == "databiox":
        databiox(raw, cases=3)
    else:
        breakhis(raw, numbers=1)
    few = ("--holdout", 6) if (name, protocol) == ("bcnet", "paper") else ()
    bccli("prepare", dataset, raw, data, "--recipe", name, "--protocol", protocol, *few)
    short = ("--epochs", 1) if name == "bcnet" else ("--epochs", 1, "--steps-per-epoch", 2)
    result = bccli("train", data, run, "--recipe", name, "--weights", "none", *short)
    info = json.loads((run / "run.json").read_text())
    assert (info["recipe"], info["protocol"]) == (name, protocol)
    size = [224, 224] if name == "bcnet" else [144, 96]
    assert info["size"] == size
    assert ("val is augmented" in result.stderr) == (name == "bcnet" and protocol == "paper")
    settings = info["settings"]
    wanted = EXPECTED[name]["train"]
    given = {"weights": "none", "epochs": 1, "steps-per-epoch": settings["steps_per_epoch"]}
    for key, value in (wanted | given).items():
        if key == "stop-at":
            value = ["val_accuracy", 0.88]
        if key == "monitor" and "no val images" in result.stderr:
            value = "loss"
        assert settings[key.replace("-", "_")] == value, key
    assert {row["protocol"] for row in rows_of(result.stdout)} == {protocol}


def test_a_recipe_of_another_dataset_is_said(bccli: Bccli, tmp_path: Path) -> None:
    """Of datasets that have one; the settings are kept, and own images take any recipe's silently."""
    stored = {"breakhis": True, "databiox": False, "folder": False, "phantom": False}
    for dataset, is_said in stored.items():
        data = tmp_path / dataset
        data.mkdir()
        (data / "dataset.json").write_text(json.dumps({"dataset": dataset, "protocol": "honest"}))
        ended = bccli("train", data, tmp_path / "run", "--recipe", "bcnet", exit=3)
        said = "--recipe bcnet: is for databiox, and this is breakhis; its settings are kept\n"
        assert (said in ended.stderr) == is_said
