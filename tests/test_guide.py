"""The pages of examples/guide: what they say is done, in a copy of the package."""

import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bccli.core.evaluation.published import PAPERS
from tests.conftest import PATIENT, REPOSITORY, Bccli, draw, draw_folder, read_rows, save
from tests.readme_blocks import Block, blocks_of, run_block

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
    "page", sorted((REPOSITORY / "examples" / "guide").rglob("*.md")), ids=lambda p: p.stem
)
def test_a_page_names_only_files_of_the_package_that_are_there(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for name in re.findall(r"`(bccli/[\w/.-]+)`", text):
        assert (REPOSITORY / name).exists(), name


PROSE = [REPOSITORY / "README.md", *sorted((REPOSITORY / "examples").rglob("*.md"))]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors_of(page: Path) -> set[str]:
    """What the headings of a page can be linked by, as GitHub makes it of their words."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`(?!\])", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https:", "http:")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_index_has_every_page_by_its_question() -> None:
    index = (REPOSITORY / "examples" / "README.md").read_text(encoding="utf-8").split("## The guide")[1]
    found = re.findall(r"^\* \[(.+)\]\((guide/.+)\)$", index, re.MULTILINE)
    pages = (REPOSITORY / "examples" / "guide").rglob("*.md")
    titles = [(page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "), page) for page in pages]
    wanted = [(title, str(page.relative_to(REPOSITORY / "examples"))) for title, page in titles]
    assert sorted(found) == sorted(wanted)


RECIPE = REPOSITORY / "bccli" / "recipes" / "hybrid-bilstm.toml"
HIDE = REPOSITORY / "examples" / "guide" / "what-the-papers-hide.md"
CLAIMS = {
    "bccli prepare phantom histology pictures --count 240": True,
    "python examples/papers/phantom_raw.py": False,
    "awk 'BEGIN": False,
    "awk 'function": False,
    "bccli prepare phantom histology pictures --count 24 ": True,
}
"""What the blocks of what-the-papers-hide.md begin with, and whether they take minutes."""


def claims() -> Iterator[Any]:
    """The blocks, each with its marks."""
    for number, text in enumerate(blocks_of(HIDE.read_text(encoding="utf-8"))):
        (slow,) = {slow for start, slow in CLAIMS.items() if text.startswith(start)}
        yield pytest.param(text, marks=[pytest.mark.slow] if slow else [], id=str(number))


@pytest.mark.parametrize("text", list(claims()))
def test_what_the_papers_hide_is_shown_by_its_commands(
    text: str, bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = text.replace("python examples", f"{sys.executable} {REPOSITORY / 'examples'}")
    run_block(text.replace("--epochs 40", "--epochs 2"), Block(lambda place, bccli: None), bccli)
    if "honest" in text:
        paper, honest = (accuracy_of(tmp_path / name) for name in ("paper", "honest"))
        assert paper > 0.65  # what coins say of images is known, as their copies are in train
        assert honest < 0.65


def test_the_page_quotes_the_papers_as_the_tables_of_published_figures_do() -> None:
    text = HIDE.read_text(encoding="utf-8")
    areas = [
        one.value for one in PAPERS["cbis-ddsm-tl"] if (one.measure, one.where) == ("auc_paper", "table 7")
    ]
    assert f"AUC {min(areas)} to {max(areas)} in table 7" in text
    # Where the recipe has its 400 images from, the page has them from, too.
    sampled = re.search(r"^sample = 400 .*(section [IVX]+\.[A-Z])", RECIPE.read_text("utf-8"), re.MULTILINE)
    assert sampled
    assert f"40 are test ({sampled[1]})" in text


def accuracy_of(run: Path) -> float:
    """The accuracy of a run on test."""
    figures = json.loads((run / "metrics.json").read_text())["runs"]
    return next(row["accuracy"] for row in figures if row["split"] == "test")


def test_the_arithmetic_of_the_page_is_right() -> None:
    text = HIDE.read_text(encoding="utf-8")
    assert {round(right / 21, 3) for right in range(22)}.isdisjoint({0.72, 0.719, 0.721})
    assert {round(right / 40, 3) for right in range(41)}.isdisjoint({0.905})
    chance = sum(count**2 for count in (99, 30, 27)) / 156**2
    assert f"{chance:.3f}" in text
    assert f"{73 / 156:.3f}" == "0.468"
    assert f"{83 / 156:.3f}" == "0.532"
    assert f"{99 / 156:.3f}" in text


FEATURES = REPOSITORY / "examples" / "guide" / "features.md"


def _slides_and_images(place: Path, bccli: Bccli) -> None:
    """A table of slides with the vectors of their patches, and images of six patients."""
    rng = np.random.default_rng(0)
    lines = ["path,label,patient"]
    for number in range(18):
        label = ("benign", "malignant")[number % 2]
        lines.append(f"TCGA-A{number}.svs,{label},p{number}")
        for folder in ("h5_files", "new_slides"):
            (place / folder).mkdir(exist_ok=True)
            with h5py.File(place / folder / f"TCGA-A{number}.h5", "w") as content:
                content["features"] = rng.normal(number % 2, 1, (5, 8)).astype("f2")
                content["coords"] = np.arange(10).reshape(5, 2) * 256
    (place / "slides.csv").write_text("\n".join(lines) + "\n")


def _vectors_of_images(place: Path, bccli: Bccli) -> None:
    _images(place, bccli)
    rows = read_rows(place / "data" / "manifest.csv")
    numbers = [f"{row['path']},{len(row['label'])},{index}" for index, row in enumerate(rows)]
    (place / "vectors.csv").write_text("\n".join(["path,a,b", *numbers]) + "\n")


def _images(place: Path, bccli: Bccli) -> None:
    draw_folder(place / "raw", patients=9, size=(32, 32))
    bccli("prepare", "folder", place / "raw", place / "data", *PATIENT, "--ratios", "1/1/1")


WAYS_IN_AND_OUT = {
    "bccli prepare csv": Block(_slides_and_images, instead={"--batch-size 4": "--batch-size 4 --epochs 2"}),
    "bccli train data run --features vectors.csv": Block(_vectors_of_images),
    "bccli train data --backbone": Block(
        _images,
        instead={
            "--backbone mobilenet-0.75": "--backbone cnn-15",
            "run --features features.h5": "run --features features.h5 --epochs 2",
        },
    ),
}
"""How the blocks of features.md are run, by what they begin with."""


@pytest.mark.parametrize("text", blocks_of(FEATURES.read_text(encoding="utf-8")), ids=lambda text: text[:30])
def test_vectors_come_and_go_as_the_page_says(
    text: str, bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = (block for start, block in WAYS_IN_AND_OUT.items() if text.startswith(start))
    block.setting(tmp_path, bccli)
    run_block(text, block, bccli)


def test_the_worked_example_of_detection_comes_true() -> None:
    result = doctest.testfile(str(REPOSITORY / "examples" / "guide" / "detection.md"), module_relative=False)
    assert not result.failed
    assert result.attempted > 10
