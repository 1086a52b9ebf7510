"""Policies: what may happen to an image, as data, built in or in a file of the user's.

A policy is a TOML file of `[[operations]]`, each with the `augmenter` (a row of OWN, a group, or any of
imgaug's), its `probability`, and parameters by imgaug's names: [a, b] draws evenly from a to b,
{choice = [...]} one of a list, anything else is fixed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bccli.core.augmentation import library
from bccli.core.augmentation.operations import GROUPS, OWN, Parameter
from bccli.core.catalog import nearest
from bccli.core.errors import DataError, UsageError
from bccli.core.reading.regular_files import explained
from bccli.core.reading.texts import read_toml

_FOLDER = Path(__file__).parent.parent.parent / "policies"
_TABLES = ("title", "paper", "operations")


@dataclass(frozen=True)
class Operation:
    """Something that happens to an image with a `probability`: `augmenter` names what.

    `parameters` are as in the file; a group has `children` instead. It is `own` where it is a row of OWN.
    """

    augmenter: str
    probability: float = 1.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    children: tuple["Operation", ...] = ()
    own: bool = False

    def to_json(self) -> dict[str, Any]:
        """The operation as in a file."""
        value = {"augmenter": self.augmenter, "probability": self.probability, **self.parameters}
        return value | ({"children": [one.to_json() for one in self.children]} if self.children else {})


@dataclass(frozen=True)
class Policy:
    """Operations in the order in which they are tried; `title` and `paper` say what they are for."""

    name: str
    operations: tuple[Operation, ...]
    title: str = ""
    paper: str = ""

    def to_json(self) -> dict[str, Any]:
        """The content, which decides the pixels: two policies of equal content make the same copies."""
        return {"operations": [one.to_json() for one in self.operations]}


def built_in() -> dict[str, Path]:
    """The files of the built-in policies by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}


def find_policy(choice: str) -> Policy:
    """A policy by its name or file. Raises UsageError naming the nearest policy, augmenter or parameter."""
    known = built_in()
    path = known.get(choice) or Path(choice)
    try:
        content = read_toml(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"no policy {choice!r}{nearest(choice, known)}; built in: {', '.join(known)}; or name a TOML file"
        ) from None
    except OSError as error:
        raise UsageError(f"policy {path}: cannot be read, as it {explained(error)}") from None
    except (ValueError, DataError) as error:
        raise UsageError(f"policy {path}: not valid TOML: {error}") from None
    return policy_from_json(content, choice)


def policy_from_json(content: Mapping[str, Any], name: str) -> Policy:
    """A policy from the content of a file or of `Policy.to_json`. Raises UsageError as `find_policy`."""
    where = f"policy {name}"
    for key in content:
        if key not in _TABLES:
            raise UsageError(f"{where}: unknown key {key!r}{nearest(key, _TABLES)}")
    operations = _operations(content.get("operations"), where)
    return Policy(name, operations, str(content.get("title", "")), str(content.get("paper", "")))


def _operations(value: Any, where: str) -> tuple[Operation, ...]:
    if not isinstance(value, list) or not value:
        raise UsageError(f"{where}: has no operations; add [[operations]] with an augmenter")
    return tuple(_operation(one, f"{where}, operation {number}") for number, one in enumerate(value, 1))


def _operation(value: Any, where: str) -> Operation:
    if not isinstance(value, dict) or not isinstance(value.get("augmenter"), str):
        raise UsageError(f"{where}: names no augmenter, such as augmenter = 'Fliplr'")
    parameters = dict(value)
    augmenter = parameters.pop("augmenter")
    where = f"{where} ({augmenter})"
    probability = parameters.pop("probability", 1.0)
    if not _is_number(probability) or not 0 <= probability <= 1:
        raise UsageError(f"{where}: probability {probability!r} is not a number from 0 to 1")
    if augmenter in GROUPS:
        children = _operations(parameters.pop("children", None), f"{where}, children")
        _check_values(parameters, GROUPS[augmenter], where)
        return Operation(augmenter, float(probability), parameters, children)
    own = augmenter in OWN and _is_enough(augmenter, parameters)
    if own:
        _check_values(parameters, OWN[augmenter].parameters, where)
    else:
        _check_imgaug(augmenter, parameters, where)
    return Operation(augmenter, float(probability), parameters, own=own)


def _is_enough(augmenter: str, parameters: Mapping[str, Any]) -> bool:
    """Whether our operation of that name will do, or imgaug's has parameters that ours does not know."""
    return set(parameters) <= set(OWN[augmenter].parameters) or augmenter not in library.known_augmenters()


def _check_imgaug(augmenter: str, parameters: dict[str, Any], where: str) -> None:
    """Raises UsageError for what imgaug does not know or cannot do."""
    known = library.known_augmenters()
    if augmenter not in known:
        hint = nearest(augmenter, {*OWN, *GROUPS, *known})
        raise UsageError(f"{where}: no such augmenter in imgaug or here{hint}")
    if library.takes_others(augmenter):
        raise UsageError(
            f"{where}: is made of other augmenters; give them a probability, or put them into "
            f"{', '.join(GROUPS)} with children"
        )
    known_parameters = library.known_parameters(augmenter)
    _check_names(parameters, known_parameters, where)
    missing = [name for name, needed in known_parameters.items() if needed and name not in parameters]
    if missing:
        raise UsageError(f"{where}: needs {', '.join(missing)}")
    try:
        library.try_out(augmenter, parameters)
    except library.UnfitError as reason:
        raise UsageError(f"{where}: imgaug refuses it: {reason}") from None


def _check_names(given: Iterable[str], known: Iterable[str], where: str) -> None:
    for name in given:
        if name not in known:
            there = ", ".join(known) or "none"
            raise UsageError(f"{where}: no parameter {name!r}{nearest(name, known)}; there are: {there}")


def _check_values(given: Mapping[str, Any], rows: Mapping[str, Parameter], where: str) -> None:
    """Raises UsageError where parameters of ours are unknown, missing or out of bounds."""
    _check_names(given, rows, where)
    for name, row in rows.items():
        if name not in given:
            if row.default is None:
                raise UsageError(f"{where}: needs {name}, such as {name} = {_example(row)}")
            continue
        for value in _ends(given[name], f"{where}: {name}"):
            if not _fits(value, row):
                raise UsageError(f"{where}: {name} {value!r} is not {_wanted(row)}")


def _ends(value: Any, where: str) -> list[Any]:
    """The values that bound what may be drawn."""
    if isinstance(value, dict):
        if value.keys() != {"choice"} or not isinstance(value["choice"], list) or not value["choice"]:
            raise UsageError(f"{where}: a table is a choice, such as {{ choice = [1, 2, 3] }}")
        return value["choice"]
    if isinstance(value, list):
        if len(value) != 2 or not all(_is_number(end) for end in value) or value[0] > value[1]:
            raise UsageError(f"{where} {value!r}: is not a range [from, to]; a list is {{ choice = [...] }}")
        return value
    return [value]


def _fits(value: Any, row: Parameter) -> bool:
    if row.words:
        return value in row.words
    return _is_number(value) and row.low <= value <= row.high and (not row.whole or value == int(value))


def _wanted(row: Parameter) -> str:
    if row.words:
        return f"one of {', '.join(row.words)}"
    return f"a {'whole ' if row.whole else ''}number from {row.low:g} to {row.high:g}"


def _example(row: Parameter) -> str:
    return "1" if row.whole else "[0.9, 1.1]" if row.low <= 0.9 and row.high >= 1.1 else f"{row.low:g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
