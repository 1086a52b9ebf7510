"""--blocks, which is given two values, is refused; what may be given twice is not."""

from pathlib import Path

import pytest

from tests.conftest import Bccli


def test_two_numbers_of_blocks_are_refused(bccli: Bccli) -> None:
    ended = bccli("finetune", "run", "out", "--blocks", 2, "--blocks=3", exit=2)
    assert ended.stderr == "Error: --blocks: is given twice, 2 and 3; name one\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--blocks", "2", "--blocks", "2"),
        ("--from-layer", "2", "--from-layer", "3"),
        ("--lr", "1", "--lr", "2"),
    ],
)
def test_what_may_be_given_twice_goes_on(words: tuple[str, ...], bccli: Bccli, tmp_path: Path) -> None:
    """Of other options the last one counts, so that scripts can put their own defaults first."""
    ended = bccli("finetune", tmp_path / "run", tmp_path / "out", *words, exit=3)
    assert "run: no such file or folder" in ended.stderr
