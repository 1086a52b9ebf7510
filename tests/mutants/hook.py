"""Imports a mutant in the place of its module, in this process or in those that a test starts."""

import ast
import importlib.abc
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.mutants.mutations import mutated

_VARIABLE = "BCCLI_MUTANT"
_SITE = "import tests.mutants.hook as hook\nhook.install_named()\n"


class _Mutation(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads one module, whose lines keep their numbers."""

    def __init__(self, module: str, path: Path, tree: ast.Module) -> None:
        self._module, self._path, self._tree = module, path, tree

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        if name != self._module:
            return None
        places = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, self._path, loader=self, submodule_search_locations=places
        )

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(self._module), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        return compile(self._tree, str(self._path), "exec")


def install(module: str, path: Path, number: int) -> None:
    """Import the mutant with this number of a module from now on, that is, if nobody has imported it."""
    tree = mutated(path.read_text(encoding="utf-8"), number)
    sys.meta_path.insert(0, _Mutation(module, path, tree))


def install_everywhere(module: str, path: Path, number: int, folder: Path) -> None:
    """The same here and in processes that are started from here, which read what is put into a folder."""
    (folder / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [str(folder), str(Path(__file__).parents[2]), *filter(None, known)]
    os.environ["PYTHONPATH"] = os.pathsep.join(places)
    os.environ[_VARIABLE] = json.dumps([module, str(path), number])
    install(module, path, number)


def install_named() -> None:
    """Import the mutant that the environment names."""
    module, path, number = json.loads(os.environ[_VARIABLE])
    install(module, Path(path), number)
