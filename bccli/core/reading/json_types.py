"""Types of values in JSON, and where a value is not of its type."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from types import FunctionType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from bccli.core.files import leaves_folder


def _between(low: float, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: low <= value <= high


def _can_be_named(path: str) -> bool:
    """Whether a file system can have the names in a path: none is too long, and all have bytes."""
    try:
        return all(len(os.fsencode(name)) <= _LONGEST_NAME for name in path.split("/"))
    except UnicodeEncodeError:
        return False


_LONGEST_NAME = 255

Count = Annotated[int, _between(0)]
Share = Annotated[float, _between(0, 1)]
Positive = Annotated[float, _between(1e-12)]
Side = Annotated[int, _between(1, 10**6)]
"""A width or height in pixels."""
Text = Annotated[str, lambda value: bool(value.strip())]
"""A text that is not blank."""
Below = Annotated[str, lambda value: not leaves_folder(value) and _can_be_named(value)]
"""A path that stays in the folder that it starts from."""
FolderName = Annotated[Below, lambda value: "/" not in value and value[:1] != "."]
"""The name of a folder right below another."""
Entry = TypeVar("Entry")
Distinct = Annotated[tuple[Entry, ...], lambda value: bool(value) and len(set(value)) == len(value)]
"""One entry at least, and none twice."""


def misfit(value: Any, wanted: Any, where: str) -> str | None:
    """Where JSON's `value`, which is at `where`, first is not of the type `wanted`; None where it is.

    What stands in an `Annotated` type behind the first is a function that says whether the value will do, or
    a stricter type. A TypedDict has to have its required keys, and may have others; a dataclass looks at its
    own keys.
    """
    return next(_misfits(value, wanted, where), None)


def _misfits(value: Any, wanted: Any, where: str) -> Iterator[str]:
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        yield from next(filter(None, (_broken(value, rule, where) for rule in inner)), [])
    elif origin is Literal:
        yield from [] if isinstance(value, str) and value in inner else [where]
    elif origin in (UnionType, Union):
        found = [list(_misfits(value, one, where)) for one in inner]
        if all(found):  # the one that goes in deepest is the one that was meant
            yield max(found, key=lambda each: len(each[0]))[0]
    elif origin is list:
        yield from _misfits_in_list(value, (*inner, ...), where)
    elif origin is tuple:
        yield from _misfits_in_list(value, inner, where)
    elif origin in (dict, Mapping):
        yield from _misfits_in_mapping(value, inner, where)
    elif is_typeddict(wanted):
        yield from _misfits_in_record(value, wanted, where)
    elif wanted is not Any and not _is_plain(value, wanted):
        yield where


def _broken(value: Any, rule: Any, where: str) -> list[str]:
    """Where a value breaks a rule, a function that says whether it is kept, or another type."""
    if isinstance(rule, FunctionType):
        return [] if rule(value) else [where]
    return list(_misfits(value, rule, where))


def _misfits_in_list(value: Any, inner: tuple[Any, ...], where: str) -> Iterator[str]:
    types = inner[:1] * len(value) if inner[1:] == (...,) and isinstance(value, list) else inner
    if not isinstance(value, list) or len(value) != len(types):
        yield where
        return
    for number, (one, wanted) in enumerate(zip(value, types, strict=True)):
        yield from _misfits(one, wanted, f"{where}[{number}]")


def _misfits_in_mapping(value: Any, inner: tuple[Any, ...], where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield where
        return
    yield from (f"{where}.{key}" for key in value if misfit(key, inner[0], "") is not None)
    yield from _misfits_in_dict(value, dict.fromkeys(value, inner[1]), where)


def _misfits_in_record(value: Any, wanted: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield where
        return
    for key in sorted(wanted.__required_keys__ - value.keys()):
        yield f"{where}.{key}"
    types = get_type_hints(wanted, include_extras=True)
    yield from _misfits_in_dict(value, {key: types[key] for key in value if key in types}, where)


def _misfits_in_dict(value: dict[str, Any], types: Mapping[str, Any], where: str) -> Iterator[str]:
    for key, wanted in types.items():
        yield from _misfits(value[key], wanted, f"{where}.{key}")


def _is_plain(value: Any, wanted: Any) -> bool:
    """Whether a value is of a plain type; a record in it looks at its own keys."""
    if wanted is None:
        wanted = type(None)
    if isinstance(value, bool):  # which Python takes for a whole number
        return wanted is bool
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if wanted is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**1000)
    return isinstance(value, dict if is_dataclass(wanted) else wanted)
