"""`bccli -v --version`: what a report of a bug has to say of a machine."""

from importlib.metadata import version as version_of
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bccli import __version__
from bccli.core.models import unusable_gpus
from bccli.options import diagnostics
from tests.conftest import Bccli
from tests.core.models.test_unusable_gpus import CUDA_FAILS
from tests.test_cli import HEAVY, RUN, modules_after

PLAIN = f"bccli, version {__version__}\n"


def answer(stdout: str = "[]", stderr: str = "", returncode: int = 0) -> SimpleNamespace:
    """What the process said that asked TensorFlow."""
    return SimpleNamespace(stdout=stdout, stderr=stderr, returncode=returncode)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The answers that the next processes give, which are not started."""
    answers: list[Any] = []
    monkeypatch.setattr(diagnostics, "_asked", lambda: answers.pop(0))
    return answers


def values(text: str) -> dict[str, str]:
    """The lines below the first by their names."""
    first, *lines = text.splitlines()
    assert first == PLAIN.strip()
    return {line[:14].rstrip(): line[14:] for line in lines}


@pytest.mark.parametrize(
    "words", [["-v", "--version"], ["--version", "-v"], ["-q", "--version", "--verbose"]], ids=" ".join
)
def test_either_order_tells_all_on_stdout(bccli: Bccli, asked: list[Any], words: list[str]) -> None:
    asked.append(answer())
    result = bccli(*words)
    found = values(result.stdout)
    assert result.stderr == ""
    assert list(found) == [
        "commit", "Python", "platform", "cores", "memory", "TensorFlow", "GPU", "Keras", "LiteRT", "OpenCV",
        "NumPy", "Pillow", "weights",
    ]  # fmt: skip
    assert found["TensorFlow"] == version_of("tensorflow")
    assert found["memory"].endswith(" GB")
    assert all(found.values())


def test_without_v_it_is_one_line(bccli: Bccli) -> None:
    assert bccli("--version").stdout == bccli("-q", "--version").stdout == PLAIN
    assert bccli("--version", "train").stdout == PLAIN


def test_this_process_imports_no_tensorflow() -> None:
    code = f"""
import types
from bccli.options import diagnostics
diagnostics._asked = lambda: types.SimpleNamespace(stdout="[]", stderr="", returncode=0)
{RUN}"""
    heavy = set(HEAVY) - {"numpy"}
    assert not modules_after(code, ["-v", "--version"]).intersection(heavy)


def test_what_is_not_installed_is_said_and_not_asked(bccli: Bccli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "installed_version", lambda names: "")
    monkeypatch.setattr(diagnostics, "own_commit", lambda: "")
    found = values(bccli("-v", "--version").stdout)
    packages = ("TensorFlow", "Keras", "LiteRT", "OpenCV", "NumPy", "Pillow")
    assert {found[name] for name in packages} == {"not installed"}
    assert found["GPU"] == "not looked for, as TensorFlow is not installed"
    assert found["commit"] == "not known"


@pytest.mark.parametrize(
    ("said", "hidden", "here", "expected"),
    [
        (answer('log\n["NVIDIA H100", "NVIDIA H100"]\n'), False, True, "2 × NVIDIA H100"),
        (answer('["NVIDIA H100", "NVIDIA A30"]\n'), False, True, "1 × NVIDIA H100, 1 × NVIDIA A30"),
        (answer(), True, True, "none: CUDA_VISIBLE_DEVICES hides them"),
        (answer(), False, False, "none: there is no /dev/nvidia0 or another that this process may open"),
        (answer(stderr=CUDA_FAILS), False, True, "none: failed call to cuInit: INTERNAL"),
        (answer(), False, True, "none: TensorFlow does not say why"),
        (
            answer("", "Traceback\nImportError: libstdc++\n", 1),
            False,
            True,
            "not known, as TensorFlow does not start: ImportError: libstdc++",
        ),
        (answer("", "", -4), False, True, "not known, as TensorFlow does not start: it ended with -4"),
    ],
)
def test_gpus_or_why_there_are_none(
    bccli: Bccli,
    asked: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    said: Any,
    hidden: bool,
    here: bool,
    expected: str,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1" if hidden else "0")
    monkeypatch.setattr(unusable_gpus, "gpu_is_visible", lambda: here)
    asked.append(said)
    assert values(bccli("-v", "--version").stdout)["GPU"].startswith(expected)


def test_the_other_process_asks_tensorflow() -> None:
    found = diagnostics._gpus()
    assert found.startswith("none: ") or " × " in found


def test_weights_that_lie_in_the_cache(
    bccli: Bccli, asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    asked += [answer(), answer()]
    place = f"~/{tmp_path.name}/models"
    assert values(bccli("-v", "--version").stdout)["weights"] == f"none in {place}"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mobilenet_2_5_224_tf_no_top.h5").write_bytes(bytes(2_100_000))
    found = values(bccli("-v", "--version").stdout)["weights"]
    assert found == f"mobilenet-0.25 (2.1 MB) in {place}"


def test_the_memory_is_left_out_where_nobody_says_it(
    bccli: Bccli, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bccli.core.cores.available_memory", lambda: 0)
    monkeypatch.setattr(diagnostics, "hardware", lambda: {"cores": 2, "cores_of_machine": 8})
    asked.append(answer())
    found = values(bccli("-v", "--version").stdout)
    assert (found["memory"], found["cores"]) == ("not known", "2 of 8")
