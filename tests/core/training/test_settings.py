"""One row more in the table of training settings is an option, a recipe's key, and a part of run.json."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bccli.core.catalog import find_backbone
from bccli.core.training import setting_types as types
from bccli.core.training.design import Design, size_hint
from bccli.core.training.settings import SETTINGS, Schedule, rows_of
from bccli.core.weights.pretrained import Weights

# bccli with one row more, and with a trainer that ends after what would be the first epoch.
PROGRAM = """
import sys
from dataclasses import make_dataclass, replace
from bccli.core import kinds
from bccli.core.training import settings
from bccli.core.training.setting_types import STEPS, Number, rows_of, setting

row = setting(0.25, Number(0, 1), "How fast the example forgets.", jobs=STEPS)
More = make_dataclass("Schedule", [("example_rate", float, row)], bases=(settings.Schedule,), frozen=True)
older = set(rows_of(settings.Schedule))
settings.SETTINGS = (*settings.SETTINGS, *(one for one in rows_of(More) if one not in older))
settings.Schedule = More

import bccli.core.training.network as network
from bccli.core.training.recipe import to_recipe

def train_network(job, run, *_):
    (run.root / "history.csv").write_text("")
    (run.root / "recipe.toml").write_text(to_recipe(job.design, job.weights, None))
    sys.exit(0)

network.train_network = train_network
from bccli.cli import cli
cli.main(sys.argv[1:])
"""


def bccli_with_a_row(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run bccli in a fresh interpreter in which the table has one row more."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["train", "finetune", "hierarchy"])
def test_a_row_is_an_option(command: str) -> None:
    shown = " ".join(bccli_with_a_row(command, "--help").stdout.split())
    assert "--example-rate FLOAT RANGE How fast the example forgets. [default: 0.25; 0<=x<=1]" in shown


def test_a_row_is_read_from_recipes_repeated_by_them_and_compared(prepared: Path, tmp_path: Path) -> None:
    run, recipe = tmp_path / "run", tmp_path / "mine.toml"
    recipe.write_text("[train]\nexample-rate = 0.5\n")
    assert not bccli_with_a_row("train", prepared, run, "--recipe", recipe).returncode
    assert '"example_rate": 0.5' in (run / "run.json").read_text()
    assert "example-rate = 0.5" in (run / "recipe.toml").read_text()
    assert not bccli_with_a_row("train", prepared, run, "--recipe", run / "recipe.toml").returncode
    other = bccli_with_a_row("train", prepared, run)
    assert other.returncode == 3
    assert "example-rate 0.5, now 0.25" in other.stderr
    useless = bccli_with_a_row(
        "train", prepared, tmp_path / "svm", "--classifier", "svm", "--example-rate", 1
    )
    assert useless.returncode == 2
    assert "--example-rate: --classifier svm has no use for it" in useless.stderr


def test_names_are_single_and_every_field_of_the_schedule_is_a_row() -> None:
    names = [row.name for row in SETTINGS]
    assert len(names) == len(set(names))
    assert {row.name for row in rows_of(Schedule)} <= set(names)
    assert all(row.jobs and row.jobs <= types.ANY_JOB for row in SETTINGS)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_kind_of_16_bits_tells_runs_apart_only_where_there_are_16_bits(mixed: bool) -> None:
    schedules = (Schedule(mixed_precision=mixed, mixed_type=kind) for kind in ("float16", "bfloat16"))
    one, other = (Design(schedule=schedule).to_json(Weights("none")) for schedule in schedules)
    assert (one == other) == (not mixed)


def test_images_that_are_far_too_large_for_a_network_are_hinted_at() -> None:
    hint = size_hint(find_backbone("vgg16"), (700, 460))
    assert hint.startswith("images of 700×460 have 6 times the pixels that vgg16 is made for")
    assert "--size 224x224" in hint
    assert size_hint(find_backbone("vgg16"), (448, 448)) == ""
    assert size_hint(find_backbone("nasnet-large"), (700, 460)) == ""
    assert size_hint(replace(find_backbone("vgg16"), size=0), (700, 460)) == ""
