"""What bccli writes in a marker file, dataset.json or run.json, as a record."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from bccli.core.errors import DataError
from bccli.core.files import write_json
from bccli.core.reading.json_types import misfit
from bccli.core.reading.texts import read_json

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

        Raises DataError where somebody else wrote it, or bccli in another format, where a key is missing,
        where its value is of another type than the field's, naming the place, or contradicts another.
        """
        if not written_by_bccli(value):
            raise DataError(f"{path}: was not written by bccli; name a folder that bccli made")
        found = value.get("format")
        if not isinstance(found, int) or isinstance(found, bool):
            raise DataError(f"{path}: has no format number; {cls.REMEDY}")
        if found != cls.FORMAT:
            age, remedy = ("a newer", "update this one") if found > cls.FORMAT else ("an older", cls.REMEDY)
            raise DataError(
                f"{path}: was written by {age} bccli (format {found}, not {cls.FORMAT}); {remedy}"
            )
        facts = {key: fact for key, fact in value.items() if key not in ("format", "tool")}
        types = get_type_hints(cls, include_extras=True)
        for key in sorted(cls._names() & set(facts)):
            if wrong := misfit(facts[key], types[key], key):
                raise cls.refusal(path, wrong)
        for key in cls.needed(facts):
            if key not in facts:
                raise DataError(f"{path}: has no {key!r}; {cls.REMEDY}")
        try:
            info = cls.of(**facts)
        except KeyError as error:
            raise DataError(f"{path}: has no {error.args[0]!r}; {cls.REMEDY}") from None
        try:
            wrong = info.contradiction()
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        if wrong:
            raise cls.refusal(path, wrong)
        return info

    @classmethod
    def refusal(cls, path: Path, where: str) -> DataError:
        """The error for a file whose value at `where` bccli would not have written."""
        return DataError(f"{path}: {where!r} is not what bccli writes there; {cls.REMEDY}")

    def contradiction(self) -> str | None:
        """Where a value is of its type, but does not go with the others; None where all do.

        Raises DataError for one that has a sentence of its own.
        """
        return None

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


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value.to_json() if hasattr(value, "to_json") else value
