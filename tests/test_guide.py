"""The pages of examples/guide: what they say is done, in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, draw, save

ADDING = REPOSITORY / "examples" / "guide" / "adding.md"
BLOCK = re.compile(r"^<!-- (create|append|run) ?(\S*) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def with_additions(place: Path) -> tuple[Path, list[str]]:
    """A copy of the package with what the page adds, and the commands that the page runs."""
    root, commands = place / "copy", []
    shutil.copytree(REPOSITORY / "bccli", root / "bccli", ignore=shutil.ignore_patterns("__pycache__"))
    for action, name, body in BLOCK.findall(ADDING.read_text(encoding="utf-8")):
        if action == "run":
            commands += body.splitlines()
            continue
        assert (root / name).exists() == (action == "append"), name
        with (root / name).open("a", encoding="utf-8") as stream:
            stream.write(body)
    return root, commands


def test_a_row_adds_a_dataset_a_backbone_a_head_a_policy_and_a_kind_of_run(tmp_path: Path) -> None:
    root, commands = with_additions(tmp_path)
    for patient in range(12):
        label = ("benign", "malignant")[patient % 2]
        for number in range(2):
            pixels = draw(patient % 2, patient * 10 + number, (40, 40))
            save(tmp_path / "raw" / f"{patient}-{label}-{number}.png", pixels)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    printed = []
    programs = {"bccli": ("-m", "bccli"), "python": ()}
    for command in [*commands, "bccli prepare --list-datasets"]:
        program, *words = command.split()
        words = [str(root / word) if word.endswith(".py") else word for word in words]
        done = subprocess.run(
            [sys.executable, *programs[program], *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        printed.append(done.stdout)
    assert len(commands) == 6
    assert "two-convolutions" in printed[3]
    assert printed[5].count("\n") == 25
    assert "slides" in printed[-1]


@pytest.mark.parametrize(
    "page", sorted((REPOSITORY / "examples" / "guide").glob("*.md")), ids=lambda p: p.stem
)
def test_a_page_names_only_files_of_the_package_that_are_there(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for name in re.findall(r"`(bccli/[\w/.-]+)`", text):
        assert (REPOSITORY / name).exists(), name
