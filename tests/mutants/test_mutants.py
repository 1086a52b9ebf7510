"""Mutants are what they are said to be, and tests see them; `python -m tests.mutants` tries more of them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.mutants.__main__ import sample, table
from tests.mutants.explained import EXPLAINED
from tests.mutants.modules import GUARDED, modules
from tests.mutants.mutations import Mutant, mutants_of, mutated
from tests.mutants.trial import Verdict


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a <= b", ["a <= b → a < b", "a <= b → a > b"]),
        ("x = a is None", ["a is None → a is not None"]),
        ("x = a + b // c", ["a + b // c → a - b // c", "a + b // c → a + b * c"]),
        ("x = a and not b", ["a and (not b) → a or not b", "a and (not b) → a and b"]),
        ("x = min(a, -b)", ["min(a, -b) → max(a, -b)", "min(a, -b) → min(a, b)"]),
        ("x = np.any(a)", ["np.any(a) → np.all(a)"]),
        ("x = a[1:]", ["a[1:] → a[:]", "1: → 2:", "1: → 0:"]),
        ("x = 'a word'", ["'a word' → 'a wordX'"]),
        ("x = True", ["True → False"]),
        ("x = zip(a, b, strict=True)", []),
        ("x[a] = b", ["x[a] = b → pass"]),
        ("x += a", ["x += a → pass", "x += a → x -= a"]),
        ("x = a if b else c", ["a if b else c → a if not b else c"]),
        ("def f(a: int = 1):\n    'Says it.'\n    return a", ["1 → 2", "1 → 0", "return a → return None"]),
        ("import a\nassert a == 1", []),
        ("for x in a:\n    if b:\n        continue", ["b → not b", "continue → pass"]),
        ("f(a)", ["f(a) → pass"]),
    ],
)  # fmt: skip
def test_a_mutant_differs_in_one_thing(source: str, expected: list[str]) -> None:
    assert [f"{one.before} → {one.after}" for one in mutants_of("tiny", source)] == expected


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_each_mutant_is_another_program_in_the_same_lines(module) -> None:
    source = module.source
    whole, mutants = ast.dump(ast.parse(source)), mutants_of(module.name, source)
    assert mutants == mutants_of(module.name, source)
    for mutant in mutants[::40]:
        tree = mutated(source, mutant.number)
        assert ast.dump(tree) != whole
        compile(tree, module.path, "exec")
        assert source.splitlines()[mutant.line - 1].strip() == mutant.text
        assert mutant.first <= mutant.line <= mutant.last


def test_a_number_beyond_the_last_is_no_mutant() -> None:
    with pytest.raises(ValueError, match="no mutant 3"):
        mutated("x = 1", 3)


def test_a_seed_is_a_sample() -> None:
    mutants = mutants_of("tiny", "x = [1, 2, 3, 4, 5, 6, 7, 8]")
    assert sample(mutants, 5, 1) == sample(mutants, 5, 1) != sample(mutants, 5, 2)
    assert len(set(sample(mutants, 5, 1))) == 5
    assert sample(mutants, None, 1) == sample(mutants, 99, 1) == mutants


def test_all_named_modules_and_tests_are_there() -> None:
    for row in GUARDED:
        assert (REPOSITORY / row.source).exists(), row.source
        assert not [name for name in row.tests if not (REPOSITORY / name).exists()]


def test_what_is_explained_is_a_mutant() -> None:
    known = {mutant.key for module in modules() for mutant in mutants_of(module.name, module.source)}
    assert set(EXPLAINED) - known == set()


def test_a_table_counts_by_module(monkeypatch: pytest.MonkeyPatch) -> None:
    mutants = [Mutant("tiny", number, 1, 1, 1, "x = 1", "1", str(number)) for number in range(3)]
    monkeypatch.setitem(EXPLAINED, mutants[2].key, "is the same")
    verdicts = [Verdict(mutant, killed=mutant.number == 0) for mutant in mutants]
    assert table(verdicts).splitlines()[-1] == "| all | 3 | 1 | 1 | 1 | 33.3 % |"


# A program that tries all mutants of a module with its tests, and then one that has no time.
TRYING = """
import sys, tempfile
from dataclasses import replace
from pathlib import Path
from tests.mutants.__main__ import trials_of
from tests.mutants.coverage_map import measure
from tests.mutants.modules import Guarded, modules
from tests.mutants.mutations import mutants_of
from tests.mutants.trial import attempt_all, warm_up
known = modules((Guarded("tiny_test.py", ("test_tiny.py",)),), Path.cwd())
mutants = mutants_of(known[0].name, known[0].source)
warm_up()
trials = trials_of(mutants, known, measure(known, Path.cwd()))
for verdict in attempt_all(trials, 2):
    print(verdict.mutant.before, "→", verdict.mutant.after, verdict.killed, verdict.late)
(verdict,) = attempt_all([replace(trials[0], seconds=0)], 1)
print(verdict.killed, verdict.late)
"""
TINY = """
LEAST = 0

def larger(a, b):
    return a if a >= b else b

def unseen(a):
    return -a
"""
TESTS = """
from tiny_test import LEAST, larger

def test_the_larger_one():
    assert larger(1, 2) == larger(2, 1) == 2
    assert LEAST == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_tests_see_the_mutants_that_they_can_see(tmp_path: Path) -> None:
    (tmp_path / "tiny_test.py").write_text(TINY)
    (tmp_path / "test_tiny.py").write_text(TESTS)
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"}
    ended = subprocess.run(
        [sys.executable, "-c", TRYING],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = ended.stdout.splitlines()
    assert sorted(lines[:-1]) == sorted(
        [
            "0 → 1 True False",
            "0 → -1 True False",
            "return a if a >= b else b → return None True False",
            "a if a >= b else b → a if a > b else b False False",
            "a if a >= b else b → a if a < b else b True False",
            "return -a → return None False False",
            "-a → a False False",
        ]
    )
    assert lines[-1] == "True True"
