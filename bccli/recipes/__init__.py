"""Recipes: a paper's settings as data, read as defaults of the commands' options.

A recipe has one table per command with keys spelled like the options. `[prepare.paper]` lies over
`[prepare]` under `--protocol paper`, `[train.paper]` over `[train]` where DATA was prepared so, and
`[finetune.paper]` over `[finetune]` where --data or RUN's was; any other sub-table is a stage, chosen by
`--recipe NAME:STAGE`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bccli.core.catalog import nearest
from bccli.core.errors import DataError
from bccli.core.reading.regular_files import explained
from bccli.core.reading.texts import read_json, read_toml

PAPER = "paper"
_DESCRIPTION = frozenset({"title", "paper", "dataset"})
_NOT_IN_RECIPES = frozenset({"help", "recipe"})


@dataclass(frozen=True)
class Recipe:
    """The tables of a recipe file, the folder that its paths start from, and the dataset that it is for, if
    it is for one."""

    name: str
    folder: Path
    tables: dict[str, dict[str, Any]]
    stage: str | None = None
    dataset: str = ""


class RecipeCommand(click.Command):
    """A command whose defaults `--recipe` may set; environment and command line win over the recipe."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        name = self._early(ctx, given, "recipe")
        if name and not ctx.resilient_parsing:
            recipe = load_recipe(name)
            check_keys(recipe, ctx.find_root().command)
            ctx.default_map = self._defaults(recipe, self._protocol(ctx, given))
            if sentence := self._misuse(ctx, given, name, recipe):
                ctx.obj.note(sentence)
        return super().parse_args(ctx, args)

    def _protocol(self, ctx: click.Context, given: Mapping[str, Any]) -> str | None:
        """What --protocol says; where a command has none, that of its prepared dataset or of its run RUN."""
        names = {param.name for param in self.params}
        if "protocol" in names:
            return self._early(ctx, given, "protocol")
        return self._stored(ctx, given, "protocol")

    def _stored(self, ctx: click.Context, given: Mapping[str, Any], key: str) -> str | None:
        """What its prepared dataset or its run RUN has under a key."""
        data = self._early(ctx, given, "data")
        return _stored(data, "dataset.json", key) if data else _stored(given.get("run"), "run.json", key)

    def _misuse(self, ctx: click.Context, given: Mapping[str, Any], name: str, recipe: Recipe) -> str:
        """A sentence where a recipe is for another of the datasets that have one."""
        dataset = self._early(ctx, given, "dataset") or self._stored(ctx, given, "dataset")
        if not recipe.dataset or dataset == recipe.dataset or dataset not in _datasets():
            return ""
        return f"--recipe {name}: is for {recipe.dataset}, and this is {dataset}; its settings are kept"

    def _early(self, ctx: click.Context, given: Mapping[str, Any], name: str) -> str | None:
        for param in self.params:
            if param.name == name:
                return str(given.get(name) or param.value_from_envvar(ctx) or "") or None
        return None

    def _defaults(self, recipe: Recipe, protocol: str | None) -> dict[str, Any]:
        values = resolve(recipe, str(self.name), protocol)
        options = {spelling(param): param for param in self.params if isinstance(param, click.Option)}
        return {
            str(options[key].name): _to_default(options[key], value, recipe) for key, value in values.items()
        }


def is_given(name: str, *, besides_recipe: bool = False) -> bool:
    """Whether an option of the running command has a value of its own, from the command line, the
    environment or a recipe, or from one of the first two."""
    source = click.get_current_context().get_parameter_source(name)
    defaults = [None, click.core.ParameterSource.DEFAULT]
    return source not in ([*defaults, click.core.ParameterSource.DEFAULT_MAP] if besides_recipe else defaults)


def value_in_recipe(name: str) -> Any:
    """What the recipe says of an option of the running command, as a default; None where it says nothing."""
    return (click.get_current_context().default_map or {}).get(name)


def left_to_recipe(name: str) -> bool:
    """Whether an option of the running command has its value from a recipe."""
    source = click.get_current_context().get_parameter_source(name)
    return source == click.core.ParameterSource.DEFAULT_MAP


def settings_for(
    name: str, settings: Mapping[str, Any], *, tables: Sequence[str], common: Collection[str]
) -> dict[str, Any]:
    """The running command's `settings` with those of another recipe over them, from one of its `tables`.

    Raises click.UsageError for keys that are no options of the command, or are in `common`.
    """
    context = click.get_current_context()
    recipe = load_recipe(name)
    check_keys(recipe, context.find_root().command)
    table = next((key for key in tables if key in recipe.tables), "")
    if not table:
        wanted = " or ".join(f"[{key}]" for key in tables)
        raise click.UsageError(f"recipe {recipe.name}: has no table {wanted}; add one")
    options = {spelling(param): param for param in context.command.params if isinstance(param, click.Option)}
    found = {}
    protocol = _stored(context.params.get("data"), "dataset.json", "protocol")
    for key, value in resolve(recipe, table, protocol).items():
        if key not in options or options[key].name in common:
            raise click.UsageError(
                f"recipe {recipe.name}: {key} in [{table}] is no setting of a node; remove it"
            )
        given = _to_default(options[key], value, recipe)
        found[str(options[key].name)] = options[key].process_value(context, given)
    return {**settings, **found}


def built_in(name: str | None) -> str:
    """The name of a built-in recipe without its stage, empty for files and for none."""
    known = {path.stem for path in Path(__file__).parent.glob("*.toml")}
    file = (name or "").partition(":")[0]
    return file if file in known and not Path(name or "").is_file() else ""


def load_recipe(name: str) -> Recipe:
    """Read a recipe by its name or file, with an optional `:STAGE`. Raises click.UsageError."""
    file, _, stage = (name, "", "") if Path(name).is_file() else name.partition(":")
    known = {path.stem: path for path in Path(__file__).parent.glob("*.toml")}
    path = known.get(file) or Path(file)
    try:
        content = read_toml(path)
    except (FileNotFoundError, NotADirectoryError):
        names = ", ".join(sorted(known)) or "none"
        raise click.UsageError(
            f"no recipe {file!r}{nearest(file, known)}; built in: {names}; or name a file"
        ) from None
    except OSError as error:
        raise click.UsageError(f"recipe {path}: cannot be read, as it {explained(error)}") from None
    except (ValueError, DataError) as error:
        raise click.UsageError(f"recipe {path}: not valid TOML: {error}") from None
    tables = {key: value for key, value in content.items() if key not in _DESCRIPTION}
    return Recipe(str(path), path.parent, tables, stage or None, str(content.get("dataset", "")))


def check_keys(recipe: Recipe, group: click.Command) -> None:
    """Every table must be a command's and every key an option's; click.UsageError names the nearest."""
    commands = group.commands if isinstance(group, click.Group) else {}
    for table, content in recipe.tables.items():
        if table not in commands or not isinstance(content, dict):
            raise click.UsageError(f"recipe {recipe.name}: no command {table!r}{nearest(table, commands)}")
        options = [spelling(param) for param in commands[table].params if isinstance(param, click.Option)]
        for key, where in _all_keys(content, f"[{table}]"):
            if key not in options or key in _NOT_IN_RECIPES:
                hint = nearest(key, options)
                raise click.UsageError(f"recipe {recipe.name}: {where} has the unknown key {key!r}{hint}")
    stages = {key for content in recipe.tables.values() for key in _stages(content)}
    if recipe.stage and recipe.stage not in stages:
        hint = nearest(recipe.stage, stages)
        raise click.UsageError(f"recipe {recipe.name}: no stage {recipe.stage!r}{hint}")


def _all_keys(content: dict[str, Any], where: str) -> list[tuple[str, str]]:
    keys = []
    for key, value in content.items():
        if isinstance(value, dict):
            keys += _all_keys(value, f"{where[:-1]}.{key}]")
        else:
            keys.append((key, where))
    return keys


def _stages(content: dict[str, Any]) -> list[str]:
    return [key for key, value in content.items() if isinstance(value, dict) and key != PAPER]


def resolve(recipe: Recipe, command: str, protocol: str | None) -> dict[str, Any]:
    """The recipe's values for a command: its table, the stage over it, the paper's overlay last.

    `protocol` is what the user says, None to take the recipe's own. Raises click.UsageError where a
    stage has to be named.
    """
    table = recipe.tables.get(command, {})
    stages = _stages(table)
    if stages and recipe.stage not in stages:
        names = " or ".join(f"--recipe {recipe.name}:{stage}" for stage in stages)
        raise click.UsageError(f"recipe {recipe.name}: [{command}] has stages; say {names}")
    layers = [table, table.get(recipe.stage, {})] if recipe.stage else [table]
    values = _merged(layers)
    if (protocol or values.get("protocol")) == PAPER:
        values |= _merged([layer.get(PAPER, {}) for layer in layers])
    return values


def _datasets() -> set[str]:
    """Those that built-in recipes are for."""
    found = (read_toml(path).get("dataset") for path in Path(__file__).parent.glob("*.toml"))
    return {str(name) for name in found if name}


def _stored(folder: Any, marker: str, key: str) -> str | None:
    """What a dataset or run has under a key of its marker file, None where there is none: the command will
    say so."""
    try:
        return str(read_json(Path(str(folder)) / marker)[key])
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _merged(layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for layer in layers for key, value in layer.items() if not isinstance(value, dict)}


def spelling(param: click.Parameter) -> str:
    """An option as a recipe spells it: its long name without the dashes."""
    return max(param.opts, key=len).lstrip("-")


def _to_default(option: click.Option, value: Any, recipe: Recipe) -> Any:
    """A recipe's value as the command line would have it, so that it is checked in the same way."""
    is_path = isinstance(option.type, click.Path) and not isinstance(value, int)
    if is_path and value not in getattr(option.type, "names", ()):
        return str(recipe.folder / str(value))
    if isinstance(value, list):
        below = getattr(option.type, "below", None)
        items = [below(str(item), recipe.folder) if below else str(item) for item in value]
        if option.multiple or not items:  # an empty list is none on purpose, an empty text may be an accident
            return items
        return ",".join(items)
    below = getattr(option.type, "below", None)
    given = below(str(value), recipe.folder) if below and isinstance(value, str) else str(value)
    if option.multiple:
        return [given]
    if below:
        return given
    return value if option.is_flag and isinstance(value, bool) else str(value)
