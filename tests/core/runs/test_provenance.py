"""What run.json says of bccli's commit, of versions and of the machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bccli.core.models.backend import describe_device
from bccli.core.runs.provenance import change_of, commit_of, hardware, multiplies_in_tf32, provenance

ONE, TWO = "1" * 40, "ab" * 20


def write(path: Path, text: str) -> Path:
    """A file with a text, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_commit_of_a_checkout_is_read_from_its_files(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    head = write(git / "HEAD", f"{ONE}\n")
    assert commit_of(tmp_path) == ONE
    head.write_text("ref: refs/heads/main\n")
    assert commit_of(tmp_path) == ""  # nothing is committed yet
    write(
        git / "packed-refs",
        f"# pack-refs with: peeled\n{ONE} refs/heads/other\n^{ONE}\n{TWO} refs/heads/main\n",
    )
    assert commit_of(tmp_path) == TWO
    write(git / "refs" / "heads" / "main", f"{ONE}\n")
    assert commit_of(tmp_path) == ONE  # which is newer than what was packed
    head.write_text(f"{'c' * 64}\n")
    assert commit_of(tmp_path) == "c" * 64


def test_the_commit_of_a_worktree_is_in_the_repositorys_folder(tmp_path: Path) -> None:
    folder = tmp_path / "main" / ".git" / "worktrees" / "a"
    write(folder / "HEAD", "ref: refs/heads/wa\n")
    write(folder / "commondir", "../..\n")
    write(tmp_path / "main" / ".git" / "refs" / "heads" / "wa", f"{TWO}\n")
    write(tmp_path / "a" / ".git", f"gitdir: {folder}\n")
    assert commit_of(tmp_path / "a") == TWO
    write(tmp_path / "a" / ".git", "gitdir: ../main/.git/worktrees/a\n")
    assert commit_of(tmp_path / "a") == TWO


@pytest.mark.parametrize(
    "head", ["", "main", "ref: ", "ref: refs/heads/none", "ref: ../../etc/passwd", "12345"]
)
def test_what_is_no_commit_is_none(tmp_path: Path, head: str) -> None:
    assert commit_of(tmp_path) == ""
    write(tmp_path / ".git" / "HEAD", head)
    assert commit_of(tmp_path) == ""
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert commit_of(tmp_path) == ""


def test_git_says_the_same_of_this_checkout() -> None:
    root = Path(__file__).parents[3]
    try:
        said = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        pytest.skip("no git here")
    if said.returncode or not (root / ".git").exists():
        pytest.skip("this is no checkout")
    assert commit_of(root) == said.stdout.strip() == provenance()["commit"]


def test_versions_and_the_machine_are_named_without_loading_anything() -> None:
    script = "import json, sys; from bccli.core.runs.provenance import provenance; found = provenance()"
    loaded = "cv2", "tensorflow", "imagecodecs", "ai_edge_litert", "numpy"
    ending = f"print(json.dumps([found, [name for name in {loaded} if name in sys.modules]]))"
    printed = subprocess.run(
        [sys.executable, "-c", f"{script}\n{ending}"], capture_output=True, text=True, check=True
    ).stdout
    found, present = json.loads(printed)
    assert present == []
    assert {"python", "pillow", "opencv", "litert", "imagecodecs"} <= set(found["versions"])
    import cv2
    import PIL

    assert found["versions"]["pillow"] == PIL.__version__
    assert found["versions"]["opencv"].startswith(cv2.__version__)
    assert found["hardware"]["cores_of_machine"] == os.cpu_count()
    assert "gpus" not in found["hardware"]


def test_the_models_of_the_gpus_are_those_that_tensorflow_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    details = {"a": {"device_name": "NVIDIA H100", "compute_capability": (9, 0)}, "b": {}}
    experimental = SimpleNamespace(
        get_device_details=details.get, tensor_float_32_execution_enabled=lambda: True
    )
    config = SimpleNamespace(experimental=experimental, list_physical_devices=lambda kind: list(details))
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config, __version__="2"))
    assert provenance()["hardware"]["gpus"] == ["NVIDIA H100", "GPU"]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("capabilities", "knows"),
    [([], False), ([(7, 5)], False), ([()], False), ([(8, 0)], True), ([(7, 0), (8, 6)], True)],
)
def test_tf32_is_said_of_gpus_that_know_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: list[tuple[int, ...]], knows: bool, enabled: bool
) -> None:
    tensorflow = gpus_with(capabilities, enabled)
    assert multiplies_in_tf32(tensorflow) is (enabled if knows else None)
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    assert hardware().get("tf32") is (enabled if knows else None)
    words = describe_device(tensorflow)
    assert ("TF32" in words) == bool(knows)
    assert ("(no TF32)" in words) == (knows and not enabled)


def gpus_with(capabilities: list[tuple[int, ...]], enabled: bool) -> Any:
    """What of TensorFlow says which GPUs there are, and whether they multiply in TF32."""
    experimental = SimpleNamespace(
        get_device_details=lambda gpu: {"device_name": "A GPU", "compute_capability": gpu},
        tensor_float_32_execution_enabled=lambda: enabled,
    )
    devices = {"GPU": capabilities, "CPU": ["CPU"]}
    config = SimpleNamespace(experimental=experimental, list_physical_devices=devices.get)
    return SimpleNamespace(config=config, __version__="2")


def test_another_rounding_is_other_hardware_but_not_where_nothing_was_noted() -> None:
    known = {"machine": "x86_64", "cores": 1, "cpu": "A CPU", "gpus": ["A GPU"]}
    rounding, exact = {**known, "tf32": True}, {**known, "tf32": False}
    assert change_of(rounding, rounding) == change_of(known, rounding) == ""
    assert change_of(rounding, exact) == (
        "1 core of A CPU and 1 × A GPU, TF32 before, 1 core of A CPU and 1 × A GPU, no TF32 now"
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be withheld here")
def test_cores_are_those_that_the_process_may_use() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from bccli.core.runs.provenance import provenance; print(provenance()['hardware']['cores'])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "1"
