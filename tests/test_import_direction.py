"""The rooms of core stand in an order, and imports run one way: a later room imports earlier ones."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    ("core",), ("reading",), ("imaging",), ("data",), ("vectors",), ("runs",), ("metrics",), ("detection",),
    ("augmentation", "datasets", "weights"), ("models",),
    ("prediction",), ("evaluation",), ("preparation",), ("training",), ("sweeps",), ("trees", "classifiers"),
    ("fusion",), ("recipes", "policies", "pages"), ("terminal",), ("options",), ("notebook", "commands"),
    ("cli",), ("__main__",),
)  # fmt: skip
"""Rooms by what they may import: those before their row. "core" are core's own files."""

RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "bccli").rglob("*.py")
}


def imports_of(path: Path) -> set[str]:
    """The modules of bccli that a file imports, inside functions and for types as well."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports by a relative name"
            names = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found & MODULES.keys()


def package_of(module: str) -> str:
    """The package that a module lies in; of a package itself, the package."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def room_of(module: str) -> str:
    """The part of bccli that a module belongs to, such as `imaging`, or `core` for core's own files."""
    if module == "bccli.core" or (module.startswith("bccli.core.") and package_of(module) == "bccli.core"):
        return "core"
    return module.split(".")[2 if module.startswith("bccli.core.") else 1]


ARROWS = {
    (module, other)
    for module, path in MODULES.items()
    for other in imports_of(path)
    if "bccli" not in (module, other) and package_of(module) != package_of(other)
}


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room_of(module) for module in MODULES if module != "bccli"} == set(RANKS)


def test_rooms_import_earlier_ones_only() -> None:
    backwards = [
        f"{module} imports {other}"
        for module, other in sorted(ARROWS)
        if room_of(module) != room_of(other) and RANKS[room_of(module)] <= RANKS[room_of(other)]
    ]
    assert not backwards


def test_no_packages_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module, other in ARROWS:
        graph.setdefault(package_of(module), set()).add(package_of(other))
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=lambda f: f.name)
def test_a_folder_is_small_enough_to_be_taken_in(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= 20


def test_core_has_few_packages_and_few_files_beside_them() -> None:
    inside = [module for module in MODULES if module.startswith("bccli.core.") and module.count(".") == 3]
    rooms = {module.split(".")[2] for module in inside}
    assert len(rooms) <= 19
    assert len(list((ROOT / "bccli" / "core").glob("*.py"))) <= 10
