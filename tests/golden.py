"""Golden files: what cases gave when somebody last looked at it, as JSON by their names, a line for each."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest


def check(file: Path, name: str, found: Any, *, rel: float = 1e-9, abs: float = 1e-12) -> None:
    """Fail where a case gives something else; numbers with a fraction may differ in their last digits."""
    expected = json.loads(file.read_text(encoding="utf-8"))[name]
    assert json.loads(json.dumps(found)) == _about(expected, rel, abs)


def write(file: Path, cases: Mapping[str, Callable[[], Any]]) -> None:
    """Write what the cases give now."""
    lines = (f"{json.dumps(name)}: {json.dumps(case())}" for name, case in cases.items())
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _about(value: Any, rel: float, abs: float) -> Any:
    if isinstance(value, dict):
        return {key: _about(entry, rel, abs) for key, entry in value.items()}
    if isinstance(value, list):
        return [_about(entry, rel, abs) for entry in value]
    return pytest.approx(value, rel=rel, abs=abs, nan_ok=True) if isinstance(value, float) else value
