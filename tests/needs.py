"""Which tests need TensorFlow, as their source says it: those of what trains, and those that import it.

A test needs it where it, a fixture that it takes, or a function of the tests that it calls imports TensorFlow
or Keras or what builds on them, or has a command that trains among its words: `bccli("train", …)`, or a tuple
that begins so. A command that is refused before it trains is counted, too.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

TRAINING = {"train", "finetune", "hierarchy"}
HEAVY = (
    *("tensorflow", "keras", "bccli.core.models"),
    *("bccli.core.data.image_batches", "bccli.core.training.live_augmentation"),
    *("bccli.core.training.loop", "bccli.core.training.assembly"),
    "bccli.core.fusion.networks",
)
LIGHT = ("bccli.core.models.tflite_export", "bccli.core.models.drawing", "bccli.core.weights.pretrained")
"""Of those, what can be imported without."""


def mark_tensorflow(items: list[pytest.Item]) -> None:
    """Mark those of the items that need TensorFlow."""
    for item in items:
        if isinstance(item, pytest.Function) and _needs(item):
            item.add_marker("tensorflow")


def _needs(item: pytest.Function) -> bool:
    fixtures = [definitions[-1].func for definitions in item._fixtureinfo.name2fixturedefs.values()]
    return any(needs_tensorflow(function) for function in (item.function, *fixtures))


def needs_tensorflow(function: Any) -> bool:
    """Whether a function of the tests, or one of theirs that it calls, needs it."""
    code = getattr(function, "__code__", None)
    return code is not None and _reaches(code.co_filename, code.co_name)


def _reaches(file: str, name: str) -> bool:
    seen: set[tuple[str, str]] = set()
    waiting = [(file, name)]
    while waiting:
        place = waiting.pop()
        own, called = _functions(place[0]).get(place[1], (False, ()))
        if own:
            return True
        seen.add(place)
        waiting += [each for each in called if each not in seen]
    return False


@cache
def _functions(file: str) -> dict[str, tuple[bool, tuple[tuple[str, str], ...]]]:
    """Each function and constant of a module of the tests: whether it needs TensorFlow, and what it uses."""
    if not file.startswith(str(Path(__file__).parent)) or not Path(file).is_file():
        return {}  # of others, or a package of ours
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    places = dict(_imports(tree))
    heavy = {name for node in tree.body if _imports_heavy(node) for name in _bound(node)}
    names = {name for node in tree.body for name in _names(node)}
    places |= {name: (file, name) for name in names}
    found = {}
    for node in tree.body:
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        called = tuple(places[name] for name in used & places.keys())
        own = bool(used & heavy) or any(map(_is_heavy, ast.walk(node)))
        for name in _names(node):
            found[name] = own, called
    return found


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _imports(tree: ast.Module) -> Iterator[tuple[str, tuple[str, str]]]:
    """What a module takes from others of the tests: by its name here, the file and the name there."""
    for node in tree.body:
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom) and module.startswith("tests."):
            file = Path(__file__).parent.parent.joinpath(*module.split(".")).with_suffix(".py")
            for each in node.names:
                yield each.asname or each.name, (str(file), each.name)


def _imports_heavy(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(_is_heavy_name(each.name) for each in node.names)
    return isinstance(node, ast.ImportFrom) and _is_heavy_name(node.module or "")


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that an import binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (each.asname or each.name.partition(".")[0] for each in node.names)


def _is_heavy(node: ast.AST) -> bool:
    if _imports_heavy(node):
        return True
    words = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
    return len(words) > 1 and isinstance(words[0], ast.Constant) and words[0].value in TRAINING


def _is_heavy_name(module: str) -> bool:
    return not _within(module, LIGHT) and _within(module, HEAVY)


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in packages)
