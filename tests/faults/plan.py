"""The library that lets acts on files fail, and the plan that it reads; the layout is that of `shim.c`."""

import ctypes
import mmap
import os
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ACTS = "open", "write", "fsync", "rename", "unlink", "mkdir"
MODES = "never", "once", "from on", "half", "kill", "half, kill", "gone"
_SOURCE = Path(__file__).with_name("shim.c")


class _Layout(ctypes.Structure):
    _fields_ = [
        ("below", ctypes.c_char * 1024),
        ("trace", ctypes.c_char * 1024),
        ("folder", ctypes.c_char * 1024),
        ("away", ctypes.c_char * 1024),
        ("act", ctypes.c_int32),
        ("number", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("mode", ctypes.c_int32),
        ("fired", ctypes.c_int32),
        ("counts", ctypes.c_int32 * len(ACTS)),
    ]


def compiler() -> str | None:
    """The C compiler, None where there is none."""
    return shutil.which("gcc") or shutil.which("cc")


def build(folder: Path) -> Path:
    """Compile the library into a folder."""
    library = folder / "shim.so"
    command = [str(compiler()), "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


@dataclass(frozen=True)
class Act:
    """The `number`-th act of a kind that a command does, counted from 1; `step` is on what it is done."""

    act: str
    number: int
    step: str


@dataclass(frozen=True)
class Plan:
    """The plan in a file, for all acts below a folder."""

    file: Path

    @classmethod
    def write(
        cls,
        file: Path,
        below: Path,
        *,
        act: str = "open",
        number: int = 0,
        error: int = 0,
        mode: str = "never",
        trace: Path | None = None,
        folder: Path | None = None,
    ) -> "Plan":
        """A new plan; acts are told to `trace`, if there is one, and `folder` is what may be gone."""
        values = ACTS.index(act), number, error, MODES.index(mode), 0
        away = file.with_name("away")
        shutil.rmtree(away, ignore_errors=True)
        paths = (os.fsencode(path or "") for path in (trace, folder, away))
        layout = _Layout(os.fsencode(below) + b"/", *paths, *values)
        file.write_bytes(bytes(layout))
        return cls(file)

    @property
    def fired(self) -> bool:
        """Whether the act that was to fail has been reached."""
        with self.file.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            return bool(_Layout.from_buffer_copy(content).fired)


def acts_of(trace: Path, below: Path) -> list[Act]:
    """What a trace tells, in order."""
    counts: Counter[str] = Counter()
    found = []
    for line in trace.read_text("utf-8").splitlines():
        number, _, path = line.split(" ", 2)
        act = ACTS[int(number)]
        counts[act] += 1  # as the shim counts; lines of several processes may come in another order
        found.append(Act(act, counts[act], step_of(os.path.relpath(path, below))))
    return found


def step_of(path: str) -> str:
    """A path in which all that is numbered alike is one step; ~ is the temporary name of a file."""
    path = re.sub(r"\.([^/]+)\.\d+\.tmp(\.\w+)?", r"\1\2~", path)
    return re.sub(r"[0-9a-f]{16}|\d+", "N", path)
