"""What a command says while it works."""

from pathlib import Path

import pytest

from bccli.terminal.console import Console


@pytest.mark.parametrize("quiet", [False, True])
def test_a_warning_that_all_members_of_a_sweep_have_is_said_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, quiet: bool
) -> None:
    screen = Console(quiet=quiet)
    for member in "ab":
        with screen.logging(tmp_path / member):
            screen.warn("test shares 2 patients with train")
            screen.warn(f"{member} has no val images")
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "Warning: test shares 2 patients with train",
        "Warning: a has no val images",
        "Warning: b has no val images",
    ]
    for member in "ab":
        assert "test shares 2 patients" in (tmp_path / member).read_text()
