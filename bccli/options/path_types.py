"""The types of options' values that are names and paths, and how users write them."""

from pathlib import Path
from typing import Any

import click


class NameType(click.ParamType):
    """A name, which has to be there."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip():
            self.fail("is empty; give a name or leave the option out", param, ctx)
        return value


class AssignmentType(click.ParamType):
    """NAME=VALUE as a pair; `names` are values that are no paths."""

    def __init__(self, metavar: str, *names: str) -> None:
        self.name = metavar
        self.names = names

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, _, given = str(value).partition("=")
        if not name.strip() or not given:
            self.fail(f"{value!r} is not {self.name}", param, ctx)
        return name.strip(), given

    def below(self, text: str, folder: Path) -> str:
        """The same with the paths of the value, which @ separates, starting from a folder."""
        name, _, value = text.partition("=")
        paths = value.split("@")
        return f"{name}=" + "@".join(
            path if path.partition(":")[0] in self.names else str(folder / path) for path in paths
        )


def recipes() -> tuple[str, ...]:
    """The names of the built-in recipes."""
    return tuple(sorted(path.stem for path in (Path(__file__).parent.parent / "recipes").glob("*.toml")))


class FileOr(click.Path):
    """One of some names, or the path of a file."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names


class BackboneType(click.ParamType):
    """The name of a backbone or a set of them, or the path of a card."""

    name = "NAME|FILE.toml"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip():
            self.fail("is empty; name a network of --list-backbones or a card", param, ctx)
        return str(value)

    def below(self, text: str, folder: Path) -> str:
        """The same, with the path of a card that starts from a folder."""
        return str(folder / text) if text.lower().endswith(".toml") else text


def policy() -> FileOr:
    """A built-in augmentation policy, or the path of a file with one."""
    return FileOr(*(path.stem for path in (Path(__file__).parent.parent / "policies").glob("*.toml")))


def existing(**kwargs: Any) -> click.Path:
    """A path on the disk, checked where it is used, so that the message can say what to do."""
    return click.Path(path_type=Path, **kwargs)
