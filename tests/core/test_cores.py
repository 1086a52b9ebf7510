"""How many cores and how much memory a process may use, by control groups of both versions."""

import math
import os
from pathlib import Path

import pytest

from bccli.core import cores
from bccli.core.cores import available_cores, available_memory, cpu_quota, schedulable_cores


def groups(place: Path, membership: str, **files: str) -> float:
    """The quota that made-up control groups give; `__` in a name is `/`."""
    (place / "membership").write_text(membership)
    for name, content in files.items():
        *folders, file = name.split("__")
        path = place.joinpath("root", *folders, file.replace("_max", ".max").replace("cpu_cfs", "cpu.cfs"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return cpu_quota(place / "root", place / "membership")


def test_version_2_and_the_groups_above(tmp_path: Path) -> None:
    files = {
        "cpu_max": "400000 100000\n",
        "job__cpu_max": "250000 100000\n",
        "job__step__cpu_max": "max 100000\n",
    }
    assert groups(tmp_path, "0::/job/step\n", **files) == 2.5


def test_version_1(tmp_path: Path) -> None:
    files = {"cpu__job__cpu_cfs_quota_us": "150000\n", "cpu__job__cpu_cfs_period_us": "100000\n"}
    assert groups(tmp_path, "4:memory:/\n3:cpu,cpuacct:/job\n0::/\n", **files) == 1.5


def test_in_a_container_the_root_is_the_group(tmp_path: Path) -> None:
    assert groups(tmp_path, "0::/docker/4711\n", cpu_max="50000 100000\n") == 0.5


@pytest.mark.parametrize("content", ["max 100000\n", "", "-1\n", "0 0\n", "many\n"])
def test_no_limit_is_none(tmp_path: Path, content: str) -> None:
    assert groups(tmp_path, "0::/\n", cpu_max=content) == math.inf


def test_without_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "root", tmp_path / "nowhere") == math.inf
    assert groups(tmp_path, "3:cpu:/job\n0::/\n") == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 8), (2.0, 2), (1.5, 2), (0.2, 1), (64.0, 8)])
def test_the_smaller_of_quota_and_affinity_counts(
    monkeypatch: pytest.MonkeyPatch, quota: float, expected: int
) -> None:
    monkeypatch.setattr(cores, "schedulable_cores", lambda: 8)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert available_cores() == expected


def test_here_it_is_no_more_than_the_machine_has() -> None:
    assert 1 <= available_cores() <= schedulable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("membership", "file"),
    [
        ("0::/job/step\n", "job/memory.max"),
        ("4:memory:/job/step\n0::/\n", "memory/job/memory.limit_in_bytes"),
    ],
)
def test_memory_is_what_the_groups_leave(tmp_path: Path, membership: str, file: str) -> None:
    (tmp_path / "membership").write_text(membership)
    path = tmp_path / "root" / file
    path.parent.mkdir(parents=True)
    path.write_text("2000000000\n")
    assert available_memory(tmp_path / "root", tmp_path / "membership") == 2_000_000_000
    path.write_text("max\n")
    assert available_memory(tmp_path / "root", tmp_path / "membership") > 2_000_000_000


def test_memory_is_zero_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    assert available_memory() == 0
