"""The cards that the package brings: complete, without weights, and exported by what they say."""

import ast
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEMPLATES = sorted(
    Path(str(one)) for one in files("bccli.core.models.cards").iterdir() if one.name.endswith(".toml")
)
KEYS = {"name", "file", "size", "layout", "channels", "range", "mean", "std", "output", "pooling", "width"}
KEYS |= {"licence", "pretrained_on", "redistribute", "source", "export"}


def arguments(text: str, function: str) -> dict[str, Any]:
    """Those of the one call of a function, by position or name; None for what is computed."""
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    (call,) = (one for one in calls if ast.unparse(one.func) == function)
    named = dict(enumerate(call.args)) | {one.arg: one.value for one in call.keywords}
    return {str(name): _value(node) for name, node in named.items()}


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_is_complete_and_its_lines_write_what_it_describes(path: Path) -> None:
    card = tomllib.loads(path.read_text(encoding="utf-8"))
    assert set(card) - {"tokens_before"} == KEYS  # no sha256: every export has its own
    assert card["name"] == path.stem
    assert ("tokens_before" in card) == (card["pooling"] != "none")
    assert arguments(card["export"], "program.save")["0"] == card["file"]
    call = arguments(card["export"], "torch.onnx.export")
    assert (call["input_names"], call["output_names"]) == (["pixels"], [card["output"]])
    width, height = card["size"]
    assert f"torch.zeros(2, 3, {height}, {width})" in card["export"]
    assert "dynamic_shapes" in call  # any number of images


def test_one_is_of_histology_and_may_not_be_passed_on_and_one_of_natural_images_may() -> None:
    cards = [tomllib.loads(path.read_text(encoding="utf-8")) for path in TEMPLATES]
    assert {card["name"]: card["redistribute"] for card in cards} == {"dinov2-small": True, "uni2-h": False}


def test_the_guide_has_the_keys_and_the_widths_of_the_templates() -> None:
    text = (REPOSITORY / "examples" / "guide" / "backbones.md").read_text(encoding="utf-8")
    for path in TEMPLATES:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
        assert f"`bccli/core/models/cards/{path.name}`" in text
        assert f"{card['width']:,}" in text
        assert card["source"].removeprefix("https://huggingface.co/") in text
    for key in KEYS - {"width", "export"} | {"sha256", "tokens_before"}:
        assert f"`{key}`" in text, key
