"""What run.json says of bccli's commit, of versions and of the machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bccli.core.runs.provenance import commit_of, provenance

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
    experimental = SimpleNamespace(get_device_details=details.get)
    config = SimpleNamespace(experimental=experimental, list_physical_devices=lambda kind: list(details))
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config, __version__="2"))
    assert provenance()["hardware"]["gpus"] == ["NVIDIA H100", "GPU"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be withheld here")
def test_cores_are_those_that_the_process_may_use() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from bccli.core.runs.provenance import provenance; print(provenance()['hardware']['cores'])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "1"
