"""An option of one value that is given two is refused; one of several, or the same again, is not."""

from pathlib import Path

import pytest

from tests.conftest import Bccli


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("finetune", "run", "out", "--blocks", 2, "--blocks=3"), "--blocks: is given twice, 2 and 3"),
        (("train", "data", "run", "--lr", "0.1", "--lr", "0.01"), "--lr: is given twice, 0.1 and 0.01"),
        (("predict", "run", "a", "--output", "a", "--output", "b"), "--output: is given twice, a and b"),
    ],
)
def test_two_values_are_refused(words: tuple[object, ...], sentence: str, bccli: Bccli) -> None:
    assert f"Error: {sentence}; name one\n" in bccli(*words, exit=2).stderr


@pytest.mark.parametrize(
    "words",
    [("--lr", "0.1", "--lr", "0.1"), ("--backbone", "cnn-15", "--backbone", "mobilenet"), ("--dry-run",) * 2],
)
def test_what_may_be_given_twice_goes_on(words: tuple[str, ...], bccli: Bccli, tmp_path: Path) -> None:
    ended = bccli("train", tmp_path / "data", tmp_path / "run", *words, exit=3)
    assert "data: no such folder" in ended.stderr
