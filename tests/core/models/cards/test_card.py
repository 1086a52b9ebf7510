"""What a card may say."""

from pathlib import Path
from typing import Any

import pytest

from bccli.core.errors import UsageError
from bccli.core.models.cards.card import Card, find_card, is_card, read_card, templates
from tests import cards


def read(tmp_path: Path, **changes: Any) -> Card:
    return read_card(cards.card(tmp_path / "net.onnx", **changes))


@pytest.mark.parametrize(
    ("size", "expected"), [([24, 16], (24, 16)), (24, (24, 24)), ("24x16", (24, 16)), ([24], (24, 24))]
)
def test_size(size: Any, expected: tuple[int, int], tmp_path: Path) -> None:
    assert read(tmp_path, size=size).size == expected


def test_defaults_follow_the_file(tmp_path: Path) -> None:
    assert read(tmp_path).layout == "NCHW"
    assert read_card(cards.card(tmp_path / "net.tflite")).layout == "NHWC"
    plain = read(tmp_path, mean=None, std=0.5)
    assert (plain.mean, plain.std) == ((0.0,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"size": None}, "has no size"),
        ({"range": None}, "has no range"),
        ({"file": None}, "has no file"),
        ({"size": [0, 24]}, "no whole number"),
        ({"size": [24, 24, 3]}, "not [width, height]"),
        ({"size": [24, 99999]}, "pixels a side"),
        ({"range": [1.0, 0.0]}, "does not rise"),
        ({"std": [1.0, 0.0, 1.0]}, "divided by"),
        ({"range": [0, 255], "std": 0.229}, "cannot be that of pixels from 0 to 255"),
        ({"range": [0, 1], "mean": [123.7, 116.8, 103.9]}, "cannot be that of pixels from 0 to 1"),
        ({"mean": [1.0, 2.0]}, "list of 3 numbers"),
        ({"layout": "NCWH"}, "did you mean 'NCHW'"),
        ({"pooling": "classtoken"}, "did you mean 'class-token'"),
        ({"sha256": "abc"}, "not 64 hexadecimal digits"),
        ({"file": "net.pt"}, "ends in none of"),
        ({"name": "../net"}, "choose another"),
        ({"name": "vgg16"}, "taken by a built-in"),
        ({"redistribute": "yes"}, "neither true nor false"),
        ({"output": [""]}, "neither a name"),
        ({"output": ["a", "a"]}, "names one twice"),
        ({"deviation": [1.0, 1.0, 1.0]}, "unknown key"),
        ({"licence": 4}, "is no text"),
        ({"tokens_before": -1}, "no whole number from 0"),
    ],
)
def test_what_cannot_be_meant_is_named(changes: dict[str, Any], part: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--backbone") as caught:
        read(tmp_path, **changes)
    assert part in str(caught.value)


def test_files_that_are_no_cards(tmp_path: Path) -> None:
    (tmp_path / "text.toml").write_text("no toml")
    for name, part in (("text.toml", "no TOML"), ("none.toml", "no such card"), (".", "is a directory")):
        with pytest.raises(UsageError, match=part):
            read_card(tmp_path / name)


def test_what_names_a_card(tmp_path: Path) -> None:
    assert is_card("my.toml")
    assert not is_card("vgg16")
    for name in templates():
        assert is_card(name)
        card = find_card(name)
        assert card.name == name
        assert card.is_template
        assert card.licence
        assert card.source.startswith("https://")
        assert card.width


def test_all_that_changes_features_changes_the_identity(tmp_path: Path) -> None:
    hashes = {"net.onnx": "0" * 64}
    first = read(tmp_path).identity(hashes)
    others = (
        {"size": [32, 32]}, {"layout": "NHWC"}, {"channels": "BGR"}, {"range": [-1.0, 1.0]},
        {"mean": [0.0, 0.0, 0.0]}, {"std": [1.0, 1.0, 1.0]}, {"output": "x"}, {"pooling": "average"},
        {"tokens_before": 5}, {"output_layout": "NHWC"},
    )  # fmt: skip
    found = {read(tmp_path, **change).identity(hashes) for change in others}
    assert len({first, *found, read(tmp_path).identity({"net.onnx": "1" * 64})}) == len(others) + 2
    same = {"name": "other"}, {"licence": "x"}, {"source": "https://x"}, {"redistribute": False}
    assert {read(tmp_path, **change).identity(hashes) for change in same} == {first}
