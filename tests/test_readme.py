"""README, guide and program say the same. `python -m tests.test_readme` writes the generated parts anew."""

import re
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bccli.cli import cli
from bccli.core.catalog import DATASETS
from tests.conftest import REPOSITORY, Bccli
from tests.readme_blocks import BLOCKS, GUIDE, PAGES, README, SHORT, blocks_of, entry_of, is_slow, run_block

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BLOCK = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def help_block(name: str) -> str:
    """What `bccli NAME --help` prints."""
    text = CliRunner().invoke(cli, [name, "--help"], terminal_width=100, max_content_width=100).stdout
    return f"```\n{text}```\n"


def dataset_table() -> str:
    """The datasets that can be read."""
    names = "name", "what", "SOURCE", "classes", "images", "licence", "cite"
    rows = []
    for row in DATASETS.values():
        tasks = [
            (f"`{task.name}`: " if len(row.tasks) > 1 else "") + ", ".join(task.classes) for task in row.tasks
        ]
        images = "; ".join(f"{edition.images:,}" for edition in row.editions)
        cells = f"`{row.name}`", row.title, row.source, "; ".join(tasks), images, row.licence, row.citation
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([f"| {' | '.join(names)} |", "|---" * len(names) + "|", *rows]) + "\n"


GENERATED: dict[str, Callable[[], str]] = {
    "datasets": dataset_table,
    **{f"help-{name}": partial(help_block, name) for name in cli.commands},
}


def with_generated_parts(text: str) -> str:
    """A page with its generated parts as they should be."""
    return BLOCK.sub(lambda match: match[1] + GENERATED[match["name"]]() + match[4], text)


def test_generated_parts_are_current() -> None:
    texts = [page.read_text() for page in PAGES]
    found = [match["name"] for text in texts for match in BLOCK.finditer(text)]
    assert sorted(found) == sorted(GENERATED)
    assert texts == [with_generated_parts(text) for text in texts], "run: python -m tests.test_readme"


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 300


def commands_in(text: str) -> list[str]:
    """Every `bccli …` line in code blocks and loops, continuation lines joined."""
    joined = text.replace("\\\n", " ")
    return [
        line.strip().removeprefix("$ ")
        for line in joined.splitlines()
        if re.match(r" *(\$ )?bccli (?!\d)", line)
    ]


def example_texts() -> list[Path]:
    """README and the scripts, which have to have commands, and the pages that have some."""
    pages = [page for page in GUIDE.rglob("*.md") if commands_in(page.read_text())]
    return [README, *sorted((REPOSITORY / "examples").glob("*.sh")), *sorted(pages)]


@pytest.mark.parametrize("path", example_texts(), ids=lambda path: "-".join(path.parts[-2:]))
def test_commands_in_examples_exist_with_their_options(path: Path) -> None:
    found = commands_in(path.read_text())
    assert found, "no command left to check"
    for line in found:
        words = shlex.split(line.split(" | ")[0].split(" >")[0].replace("…", ""), comments=True)[1:]
        words = words[1:] if words and words[0] in ("-q", "-v") else words
        if not words or words[0].startswith(("-", "COMMAND", "[")):
            continue
        command = cli.commands[words[0]]
        options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        used = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        assert used <= options | {"--help"}, line


def test_each_entry_is_of_one_block() -> None:
    texts = [text for page in PAGES for text in blocks_of(page.read_text())]
    assert [sum(text.startswith(start) for text in texts) for start in BLOCKS] == [1] * len(BLOCKS)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, marks=[pytest.mark.slow] * is_slow(text), id=text.splitlines()[0][:60])
        for page in PAGES
        for text in blocks_of(page.read_text())
    ],
)
@pytest.mark.exports
@pytest.mark.pictures
def test_a_block_of_commands_runs(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """On made-up raw data; what is shorter than on its page stands in the table."""
    block = entry_of(text)
    assert block is not None, "this block has no entry in tests/readme_blocks.py"
    monkeypatch.chdir(tmp_path)
    block.setting(tmp_path, bccli)
    for name, value in {**SHORT, **block.environment}.items():
        if value:
            monkeypatch.setenv(name, value)
    run_block(text, block, bccli)


def test_exit_codes_in_readme_are_those_of_the_program() -> None:
    from bccli.core.errors import BccliError, Stopped, UsageError
    from bccli.core.interruption import EXIT_CODES, STOPPED

    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE)}
    used = {0, 1, 4, BccliError.exit_code, UsageError.exit_code, click.UsageError.exit_code}
    assert documented == used | {Stopped.exit_code, STOPPED, *EXIT_CODES.values()}


def test_dependencies_in_readme_are_those_of_the_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    needed = {re.split(r"[^a-z0-9-]", line)[0] for line in [*project["dependencies"], *extras]}
    table = README.read_text().split("## What it depends on")[1].split("\n## ")[0]
    assert {name for name in needed if name not in table} == set()


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_generated_parts(page.read_text()))
