"""What this machine gives to this process."""

import math
import os
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_cores() -> int:
    """The cores that this process may use: fewer than the machine's inside a Slurm job or a container."""
    return max(1, math.ceil(min(schedulable_cores(), cpu_quota())))


def schedulable_cores() -> int:
    """The cores that this process may run on, whatever share of their time it gets."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def cpu_quota(root: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float:
    """How many cores' time the control groups give to this process and those beside it; inf for no limit.

    A group's limit is also that of those below it. In a container, the group's path may be that outside of
    it: then the root is the group.
    """
    folders = _groups("cpu", root, membership)
    return min([math.inf, *(_quota(each) if new else _quota_of_v1(each) for each, new in folders)])


def available_memory(root: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """The bytes of memory that this process and those beside it may use, as `cpu_quota` finds them; 0 where
    the system does not say."""
    names = {True: "memory.max", False: "memory.limit_in_bytes"}
    words = [_words(folder / names[new]) for folder, new in _groups("memory", root, membership)]
    limits = [int(word) for word in chain.from_iterable(words) if word.isdecimal()]
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
    return min([machine, *limits])


def _groups(controller: str, root: Path, membership: Path) -> Iterator[tuple[Path, bool]]:
    """The folders of this process's control groups and of all above them, and whether they are of version
    2."""
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from ((folder, True) for folder in _upwards(root, path))
        elif controller in controllers.split(","):
            for name in (controller, controllers):
                yield from ((folder, False) for folder in _upwards(root / name, path))


def _upwards(root: Path, path: str) -> list[Path]:
    """The folders of a group and of all above it."""
    inner = PurePosixPath(path.lstrip("/"))
    return [root / folder for folder in (inner, *inner.parents)]


def _quota(folder: Path) -> float:
    """The limit of a group of version 2, such as `150000 100000`."""
    return _share(*_words(folder / "cpu.max"))


def _quota_of_v1(folder: Path) -> float:
    return _share(*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us"))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text("ascii").split()
    except (OSError, ValueError):
        return []


def _share(quota: str = "max", period: str = "", *_: str) -> float:
    """A quota by its period; infinite where there is none."""
    known = quota.isdecimal() and period.isdecimal() and int(quota) and int(period)
    return int(quota) / int(period) if known else math.inf
