"""README and program say the same. `python -m tests.test_readme` writes the generated parts anew."""

import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bccli.cli import cli
from bccli.core.catalog import DATASETS
from tests.conftest import REPOSITORY, Bccli
from tests.readme_blocks import BLOCKS, README, SHORT, blocks_of, entry_of, is_slow, run_block

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BLOCK = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def help_blocks() -> str:
    """What `bccli COMMAND --help` prints, folded away for each command."""
    blocks = []
    for name in cli.commands:
        text = CliRunner().invoke(cli, [name, "--help"], terminal_width=100, max_content_width=100).stdout
        blocks.append(
            f"<details><summary><code>bccli {name} --help</code></summary>\n\n```\n{text}```\n\n</details>\n"
        )
    return "\n".join(blocks)


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


GENERATED = {"help": help_blocks, "datasets": dataset_table}


def with_generated_parts(text: str) -> str:
    """README with its generated parts as they should be."""
    return BLOCK.sub(lambda match: match[1] + GENERATED[match["name"]]() + match[4], text)


def test_generated_parts_are_current() -> None:
    text = README.read_text()
    assert {match["name"] for match in BLOCK.finditer(text)} == set(GENERATED)
    assert text == with_generated_parts(text), "run: python -m tests.test_readme"


def commands_in(text: str) -> list[str]:
    """Every `bccli …` line in code blocks and loops, continuation lines joined."""
    joined = text.replace("\\\n", " ")
    return [
        line.strip().removeprefix("$ ")
        for line in joined.splitlines()
        if re.match(r" *(\$ )?bccli (?!\d)", line)
    ]


def example_texts() -> list[Path]:
    return [README, *sorted((REPOSITORY / "examples").glob("*.sh"))]


@pytest.mark.parametrize("path", example_texts(), ids=lambda path: path.name)
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
    texts = blocks_of(README.read_text())
    assert [sum(text.startswith(start) for text in texts) for start in BLOCKS] == [1] * len(BLOCKS)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, marks=[pytest.mark.slow] * is_slow(text), id=text.splitlines()[0][:60])
        for text in blocks_of(README.read_text())
    ],
)
@pytest.mark.exports
@pytest.mark.pictures
def test_a_block_of_commands_runs(
    bccli: Bccli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """On made-up raw data; what is shorter than in README stands in the table."""
    block = entry_of(text)
    assert block is not None, "this block of README has no entry in tests/readme_blocks.py"
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
    table = README.read_text().split("## What it depends on")[1]
    assert {name for name in needed if name not in table} == set()


if __name__ == "__main__":
    README.write_text(with_generated_parts(README.read_text()))
