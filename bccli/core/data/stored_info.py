"""What bccli writes in a marker file, dataset.json or run.json, as a record."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from bccli.core.errors import DataError
from bccli.core.files import read_json, write_json

Stored = TypeVar("Stored", bound="StoredInfo")

MARKER = "bccli"
"""What every marker file names as its tool."""


@dataclass(frozen=True, kw_only=True)
class StoredInfo:
    """The facts in a marker file; a field of a derived record has the name of its key.

    Lists are tuples here. `order` are the keys as the file has them, and `others` those that are no field;
    both are there so that a file that is written again changes only where its facts do.
    """

    FORMAT: ClassVar[int] = 1
    REMEDY: ClassVar[str]

    order: tuple[str, ...] = field(default=(), repr=False)
    others: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls: type[Stored], /, **facts: Any) -> Stored:
        """The record of some facts as JSON has them. Raises KeyError for one that lacks a key of its own."""
        names = cls._names()
        known = {name: cls.parse(name, value) for name, value in facts.items() if name in names}
        others = {name: value for name, value in facts.items() if name not in names}
        return cls(**known, order=tuple(facts), others=others)

    @classmethod
    def _names(cls) -> set[str]:
        """The keys of the file that are fields."""
        return {entry.name for entry in fields(cls)} - {"order", "others"}

    @classmethod
    def parse(cls, name: str, value: Any) -> Any:
        """The value of a field from its JSON."""
        return tuple(value) if isinstance(value, list) else value

    @classmethod
    def needed(cls, facts: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys that a file with these facts has to have: by default the fields without a default."""
        return tuple(
            entry.name
            for entry in fields(cls)
            if entry.default is MISSING and entry.default_factory is MISSING
        )

    @classmethod
    def read(cls: type[Stored], path: Path) -> Stored:
        """Read a marker file. Raises DataError as `from_json` does."""
        return cls.from_json(read_json(path), path)

    @classmethod
    def from_json(cls: type[Stored], value: Any, path: Path) -> Stored:
        """The record of what a file at `path` holds.

        Raises DataError where somebody else wrote it, or bccli in another format, where a key is missing or
        where its value is of another type than the field's.
        """
        if not written_by_bccli(value):
            raise DataError(f"{path}: was not written by bccli; name a folder that bccli made")
        found = value.get("format")
        if not isinstance(found, int):
            raise DataError(f"{path}: has no format number; {cls.REMEDY}")
        if found != cls.FORMAT:
            age, remedy = ("a newer", "update this one") if found > cls.FORMAT else ("an older", cls.REMEDY)
            raise DataError(
                f"{path}: was written by {age} bccli (format {found}, not {cls.FORMAT}); {remedy}"
            )
        facts = {key: fact for key, fact in value.items() if key not in ("format", "tool")}
        types = get_type_hints(cls)
        for key in sorted(cls._names() & set(facts)):
            if not _fits(facts[key], types[key]):
                raise DataError(f"{path}: {key!r} is not what bccli writes there; {cls.REMEDY}")
        for key in cls.needed(facts):
            if key not in facts:
                raise DataError(f"{path}: has no {key!r}; {cls.REMEDY}")
        try:
            return cls.of(**facts)
        except KeyError as error:
            raise DataError(f"{path}: has no {error.args[0]!r}; {cls.REMEDY}") from None

    def facts(self) -> dict[str, Any]:
        """The facts as JSON has them, in the order of the file."""
        return {
            name: self.others[name] if name in self.others else _to_json(getattr(self, name))
            for name in self.order
        }

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        return {"format": self.FORMAT, "tool": MARKER, **self.facts()}

    def with_facts(self: Stored, /, **facts: Any) -> Stored:
        """The same record with some facts, as JSON has them, changed or added behind the others."""
        return self.of(**{**self.facts(), **facts})

    def write(self, path: Path) -> None:
        """Write the file, complete or not at all."""
        write_json(path, self.to_json())


def written_by_bccli(value: Any) -> bool:
    """Whether bccli wrote a marker file with this content."""
    return isinstance(value, dict) and value.get("tool") == MARKER


def _fits(value: Any, wanted: Any) -> bool:
    """Whether JSON's value can become a field of the type `wanted`; a record in it looks at its own keys."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is UnionType:
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        types = inner[:1] * len(value) if inner[1:] == (...,) and isinstance(value, list) else inner
        return isinstance(value, list) and len(value) == len(types) and all(map(_fits, value, types))
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if wanted is Any:
        return True
    if isinstance(value, bool):  # which Python takes for a whole number
        return wanted is bool
    return isinstance(value, dict if is_dataclass(wanted) else (int, float) if wanted is float else wanted)


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value.to_json() if hasattr(value, "to_json") else value
