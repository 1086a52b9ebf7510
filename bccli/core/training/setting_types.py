"""What a row of the table of training settings says: the value's type, the jobs it is for, its help text."""

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

NETWORK, FEATURES, WORDS, FUSION, TUNING = "network", "features", "words", "fusion", "tuning"
"""The kinds of job: a network, a classifier of features, a bag of visual words, a fusion of patches, a
fine-tuning."""

ANY_JOB = frozenset({NETWORK, FEATURES, WORDS, FUSION, TUNING})
STEPS = frozenset({NETWORK, FUSION, TUNING})
"""The jobs in which a network is trained step by step."""


@dataclass(frozen=True)
class Choice:
    """One of some names."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Whole:
    """A whole number, both limits included."""

    least: int = 1
    most: int | None = None


@dataclass(frozen=True)
class Number:
    """A finite number; a limit that is `open` is no value itself."""

    least: float = 0.0
    most: float | None = None
    open_least: bool = False
    open_most: bool = False


@dataclass(frozen=True)
class NumberOr:
    """One of some names, or a finite number from `least` on."""

    names: tuple[str, ...]
    least: float = 0.0


@dataclass(frozen=True)
class Switch:
    """On or off."""


@dataclass(frozen=True)
class Sizes:
    """Whole numbers from 1 on with commas between them, such as the `example`."""

    example: str


@dataclass(frozen=True)
class Target:
    """One of some measures and the value that it has to exceed."""

    measures: tuple[str, ...]


@dataclass(frozen=True)
class FileOr:
    """One of some names, or the path of a file."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class PolicyFile:
    """An augmentation policy, built in or in a file."""


@dataclass(frozen=True)
class Fold:
    """The number of a fold, or all."""


@dataclass(frozen=True)
class Folder:
    """The path of a folder."""


ValueType = Choice | Whole | Number | NumberOr | Switch | Sizes | Target | FileOr | PolicyFile | Fold | Folder


@dataclass(frozen=True)
class Setting:
    """A training setting, from which its option, its key in recipes and its key in run.json are made.

    `default` is the option's, None where the default depends on others; `shown` says it in words then. Jobs
    that are not in `jobs` have no use for the setting. Two runs whose settings differ are different ones if
    the setting `changes_results`; recipes repeat it then, or where it is `repeated` all the same.
    """

    name: str
    type: ValueType
    help: str
    default: Any = None
    jobs: frozenset[str] = ANY_JOB
    changes_results: bool = True
    repeated: bool = True
    shown: str = ""
    metavar: str = ""
    environment: tuple[str, ...] = ()

    @property
    def spelling(self) -> str:
        """The name as options and recipes spell it."""
        return self.name.replace("_", "-")


def setting(default: Any, type: ValueType, help: str, *, inferred: bool = False, **more: Any) -> Any:
    """A field of a dataclass that is a row of the table; the field's name is the setting's.

    A default that is `inferred` is not the option's: the command infers another one from other options.
    """
    row = Setting("", type, help, None if inferred else default, **more)
    return field(default=default, metadata={"setting": row})


def rows_of(record: type) -> Iterator[Setting]:
    """The rows that are the fields of a dataclass."""
    return (_row(one) for one in fields(record))


def _row(one: "Field[Any]") -> Setting:
    row: Setting = one.metadata["setting"]
    return replace(row, name=one.name)
