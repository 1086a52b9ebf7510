"""One fault: what a command leaves behind it, and what the same command makes of that."""

import csv
import hashlib
import io
import json
import re
import shlex
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.faults.cases import INPUTS, MADE, Case
from tests.faults.kinds import Kind
from tests.faults.plan import Act, Plan, acts_of
from tests.faults.server import Server

KILLED = -9
_SECONDS = re.compile(r"(?<=,)\d+\.\d(?=,)")
_TIMED = "log.txt", ".seconds"
"""Files that tell of times, and so are never the same."""


@dataclass(frozen=True)
class Fault:
    """An act of a command that fails in one of the ways."""

    case: Case
    act: Act
    kind: Kind

    def __str__(self) -> str:
        return f"{self.case.name}: {self.kind.name} at {self.act.act} {self.act.number} ({self.act.step})"


@dataclass(frozen=True)
class Verdict:
    """What came of a fault; `lost`, `left` and `said` are what went wrong, empty where nothing did.

    `lost` is something half-written or other results in the end, `left` are files that nobody removes, and
    `said` is another exit code or more than a sentence. It was `missed` where the command never got there.
    """

    fault: Fault
    code: int = 0
    missed: bool = False
    lost: str = ""
    left: tuple[str, ...] = ()
    said: str = ""

    @property
    def survived(self) -> bool:
        """Whether all is as it would have been without the fault."""
        return not (self.lost or self.left or self.said)


@dataclass
class Undisturbed:
    """What a case is without a fault: where it starts, the acts of its command, its end."""

    acts: list[Act]
    code: int
    before: dict[str, str]
    after: dict[str, str]
    names: set[str]


@dataclass
class Bench:
    """A folder in which one server tries faults: `base` has what is made once."""

    root: Path
    server: Server
    known: dict[str, Undisturbed] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """Where commands run."""
        return self.root / "place"

    def undisturbed(self, case: Case) -> Undisturbed:
        """A case without faults, made at its first use."""
        if case.name not in self.known:
            self.known[case.name] = self._undisturbed(case)
        return self.known[case.name]

    def _undisturbed(self, case: Case) -> Undisturbed:
        start = self.root / "starts" / case.name
        if not start.exists():
            self._start(case, start)
        self._copy(start)
        before, trace = contents(self.place), self.root / "trace"
        trace.write_text("")
        plan = Plan.write(self.root / "plan", self.place, trace=trace)
        code = self.server.run(case.command, self.place, plan=plan.file)
        acts = acts_of(trace, self.place)
        assert code in (0, 4), f"{case.name}: exit {code}\n{self.said}"
        self._run_all(case.after)
        return Undisturbed(acts, code, before, contents(self.place), names(self.place))

    def _start(self, case: Case, start: Path) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        for name in case.needs:
            self._bring(name)
        self._run_all(case.before)
        for name in case.gone:
            shutil.rmtree(self.place / name)
        start.parent.mkdir(exist_ok=True)
        shutil.copytree(self.place, start)

    def _bring(self, name: str) -> None:
        """Put a copy of what is made once in its place, with what it was made of where that is read again."""
        made = self.root / "base" / name
        if not made.exists():
            if name in INPUTS:
                INPUTS[name](made)
            else:
                self._make(name)
        shutil.copytree(made, self.place / name, dirs_exist_ok=True)

    def _make(self, name: str) -> None:
        words, needs = MADE[name]
        for need in needs:
            self._bring(need)
        self._run_all((words,))
        (self.root / "base").mkdir(exist_ok=True)
        shutil.copytree(self.place / name, self.root / "base" / name)

    def _copy(self, start: Path) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(start, self.place)

    def _run_all(self, commands: tuple[str, ...]) -> None:
        for words in commands:
            code = self.server.run(shlex.split(words), self.place)
            assert code == 0, f"{words}: exit {code}\n{self.said}"

    @property
    def said(self) -> str:
        """What the last command said on stderr."""
        return (self.root / "err").read_text("utf-8", "replace")

    def faults_of(self, case: Case, kinds: tuple[Kind, ...]) -> Iterator[Fault]:
        """All faults of these kinds at each act of a case."""
        for act in self.undisturbed(case).acts:
            for kind in kinds:
                if act.act in kind.acts and (kind.mode != "gone" or case.removable):
                    yield Fault(case, act, kind)

    def attempt(self, fault: Fault) -> Verdict:
        """Let one act of a command fail, and run it again."""
        case, act, kind = fault.case, fault.act, fault.kind
        whole = self.undisturbed(case)
        self._copy(self.root / "starts" / case.name)
        plan = Plan.write(
            self.root / "plan", self.place, act=act.act, number=act.number, error=kind.error, mode=kind.mode,
            folder=self.place / (case.removable or ""),
        )  # fmt: skip
        code = self.server.run(case.command, self.place, plan=plan.file)
        if not plan.fired:
            return Verdict(fault, code, missed=True)
        said = wrongly_said(code, self.said, whole.code, kind)
        lost = ", ".join(halves(self.place, whole))
        again = self.server.run(case.command, self.place)
        if again != whole.code:
            return Verdict(fault, code, False, lost or f"again: exit {again}: {self.said[-300:]}", (), said)
        said = said or wrongly_said(again, self.said, whole.code, None)
        try:
            self._run_all(case.after)
        except AssertionError as error:
            return Verdict(fault, code, False, lost or str(error), (), said)
        lost = lost or ", ".join(differences(contents(self.place), whole.after))
        return Verdict(fault, code, False, lost, tuple(sorted(names(self.place) - whole.names)), said)


def wrongly_said(code: int, said: str, expected: int, kind: Kind | None) -> str:
    """What is wrong with a command's exit code and its words on stderr; empty where they are right."""
    killed = kind is not None and "kill" in kind.mode
    if code not in {expected, *(() if kind is None else (3, 4)), *((KILLED,) if killed else ())}:
        return f"exit {code}: {said[-300:]}"
    errors = [line for line in said.splitlines() if line.startswith("Error")]
    wrong = [word for word in ("Traceback", "Exception ignored", "unexpected") if word in said]
    if wrong or len(errors) != (code == 3) or (errors and len(errors[0]) > 500):
        return f"exit {code}, {len(errors)} errors: {said[-600:]}"
    return ""


def contents(place: Path) -> dict[str, str]:
    """The files that are compared with a hash of each, hidden ones left out."""
    return {
        str(path.relative_to(place)): hashlib.sha256(_comparable(path)).hexdigest()
        for path in sorted(place.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(place).parts)
        and path.name not in _TIMED
    }


def _comparable(path: Path) -> bytes:
    """A file's bytes without what tells of times."""
    data = path.read_bytes()
    with suppress(ValueError, AttributeError):
        if path.name == "run.json":
            facts = json.loads(data)
            facts.get("files", {}).pop("leaderboard.csv", None)
            return json.dumps(facts).encode()
        if path.name == "leaderboard.csv":
            return _SECONDS.sub("", data.decode()).encode()
    return data


def names(place: Path) -> set[str]:
    """Everything below a folder, hidden or not, but for folders in caches, which are empty or have files."""
    paths = {path: path.relative_to(place) for path in place.rglob("*")}
    return {str(name) for path, name in paths.items() if not (".cache" in name.parts and path.is_dir())}


def differences(found: dict[str, str], expected: dict[str, str]) -> Iterator[str]:
    """Files that are not the same, in words."""
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} is new"
        elif found[name] != expected[name]:
            yield f"{name} differs"


def halves(place: Path, whole: Undisturbed) -> Iterator[str]:
    """What is neither old nor new nor whole in itself behind a fault, in words."""
    found = contents(place)
    for name, digest in found.items():
        known = digest in (whole.before.get(name), whole.after.get(name))
        if not known and not _within_unfinished(place, name) and not _parses(place / name):
            yield f"{name} is half"
    for marker in place.rglob("dataset.json"):
        yield from _marked(marker.parent, place, found, whole)
    for marker in place.rglob("run.json"):
        with suppress(ValueError):  # said already
            yield from _unlike_hashes(marker)


def _within_unfinished(place: Path, name: str) -> bool:
    """Whether an image belongs to a dataset that is not complete; only a journal vouches for it."""
    top = place / name.partition("/")[0]
    return name.endswith((".png", ".part")) and not (top / "dataset.json").exists()


def _marked(folder: Path, place: Path, found: dict[str, str], whole: Undisturbed) -> Iterator[str]:
    """A dataset that is said to be complete is the old one or the new one, altogether."""
    inside = f"{folder.relative_to(place)}/"

    def part(files: dict[str, str]) -> dict[str, str]:
        return {name: digest for name, digest in files.items() if name.startswith(inside)}

    if part(found) not in (part(whole.before), part(whole.after)):
        yield f"{inside} is said to be complete and is neither old nor new"


def _unlike_hashes(marker: Path) -> Iterator[str]:
    """Files of a complete run that do not have the hash that run.json says."""
    facts: dict[str, Any] = json.loads(marker.read_bytes())
    if facts.get("status") == "complete":
        for name, digest in facts.get("files", {}).items():
            path = marker.parent / name
            known = digest, facts.get("coming", {}).get(name)
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() not in known:
                yield f"{path.name} of a complete run is not what run.json says"


def _parses(path: Path) -> bool:
    """Whether a file is whole in itself, as far as its format tells."""
    try:
        data = path.read_bytes()
        if path.suffix == ".json":
            json.loads(data)
        elif path.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
            return data.endswith(b"\n") and len({len(row) for row in rows}) == 1
        elif path.suffix == ".png":
            Image.open(io.BytesIO(data)).load()
        elif path.suffix == ".npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                [arrays[name] for name in arrays.files]
        elif path.suffix == ".keras":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return archive.testzip() is None
    except Exception:
        return False
    return bool(data)
