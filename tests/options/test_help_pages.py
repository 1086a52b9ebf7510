"""The pages of `--help` on terminals of several widths: no line is cut, none is too long to read."""

import pytest

from bccli.cli import cli
from bccli.options.help_pages import WIDTH


def help_of(name: str = "") -> str:
    """A command's page, or that of all, as wide as the terminal allows."""
    with cli.make_context("bccli", [], resilient_parsing=True) as whole:
        if not name:
            return whole.get_help()
        with cli.commands[name].make_context(name, [], parent=whole, resilient_parsing=True) as one:
            return one.get_help()


@pytest.mark.parametrize("columns", [60, 80, 120, 220])
def test_no_line_is_wider_than_the_terminal_or_than_is_good_to_read(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    widths = [len(line) for name in ("", *cli.commands) for line in help_of(name).splitlines()]
    assert max(widths) <= min(columns, WIDTH)
    assert (max(widths) > 80) == (columns > 80)


def test_choices_are_broken_behind_one_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = "[categorical_crossentropy|binary_crossentropy|mse|focal]"
    monkeypatch.setenv("COLUMNS", "60")
    narrow = help_of("train")
    assert "--loss [categorical_crossentropy|binary_crossentropy|\n" in narrow
    assert f"--loss {choices}" in "".join(line.strip() for line in narrow.splitlines())
    monkeypatch.setenv("COLUMNS", "80")
    assert f"  --loss {choices}\n" in help_of("train")
