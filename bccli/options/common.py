"""The options that commands share, each declared once, and the types of their values."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from bccli.core.catalog import nearest
from bccli.core.errors import UsageError
from bccli.terminal.console import FORMATS

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


# A side of a prepared image in pixels; whole mammograms have about 6,000.
MAX_SIDE = 16_384

# Of fewer rounds not one lies beyond a limit that 2.5 % of them are beyond.
FEWEST_ROUNDS = 40


class SizeType(click.ParamType):
    """WxH in pixels, or one of some names."""

    def __init__(self, *names: str) -> None:
        self.names, self.name = names, "|".join(("WxH", *names))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value) in self.names:
            return str(value)
        width, cross, height = str(value).lower().replace("×", "x").partition("x")
        if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            self.fail(f"{value!r} is not WIDTHxHEIGHT in pixels, such as 224x224", param, ctx)
        if max(int(width), int(height)) > MAX_SIDE:
            self.fail(f"{value!r} has a side of more than {MAX_SIDE:,} pixels", param, ctx)
        return int(width), int(height)


class NameType(click.ParamType):
    """A name, which has to be there."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip():
            self.fail("is empty; give a name or leave the option out", param, ctx)
        return value


class RoundsType(click.IntRange):
    """How often something is drawn anew for 95 % intervals: not at all, or often enough for their limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        rounds = super().convert(value, param, ctx)
        if 0 < rounds < FEWEST_ROUNDS:
            self.fail(
                f"{rounds} rounds are too few for 95 % intervals, with 2.5 % of them beyond each limit: "
                f"give {FEWEST_ROUNDS} or more, or 0 for no intervals",
                param,
                ctx,
            )
        return rounds


class RangeType(click.ParamType):
    """Two numbers, from and to."""

    name = "MIN,MAX"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        try:
            low, high = (float(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not two numbers, such as 0.4,1.5", param, ctx)
        if not 0 < low < high < math.inf:
            self.fail(f"{value!r} is no range: the first must be above 0 and below the second", param, ctx)
        return low, high


class ShareType(click.ParamType):
    """A name and a share, such as normal=0.25."""

    name = "CLASS=SHARE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        name, _, number = str(value).rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not name or not 0 < share <= 1:
            self.fail(f"{value!r} is not a class and a share up to 1, such as normal=0.25", param, ctx)
        return name, share


class RatiosType(click.ParamType):
    """train/val/test shares."""

    name = "A/B/C"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        if isinstance(value, tuple):
            return value
        try:
            train, val, test = (float(number) for number in str(value).split("/"))
        except ValueError:
            self.fail(f"{value!r} is not train/val/test, such as 70/20/10", param, ctx)
        if min(train, val, test) < 0 or train <= 0:
            self.fail(f"{value!r} leaves nothing to train on; no share may be negative", param, ctx)
        return train, val, test


class ListType(click.ParamType):
    """Values with commas between them, each made by `of`, which raises ValueError for what it is not."""

    def __init__(self, of: Callable[[str], Any] = str, metavar: str = "A,B") -> None:
        self.of, self.name = of, metavar

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.of(item.strip()) for item in str(value).split(",") if item.strip())
        except ValueError:
            self.fail(f"{value!r} is not a list such as {self.name}", param, ctx)


class TargetType(click.ParamType):
    """One of `measures` and the value that it has to exceed, such as val_accuracy=0.88."""

    name = "MEASURE=VALUE"

    def __init__(self, measures: Sequence[str]) -> None:
        self.measures = measures

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        measure, _, number = str(value).partition("=")
        try:
            target = float(number)
        except ValueError:
            target = math.nan
        if not math.isfinite(target):
            self.fail(f"{value!r} is not a measure and a value, such as val_accuracy=0.88", param, ctx)
        if measure not in self.measures:
            hint = nearest(measure, self.measures)
            self.fail(f"{measure!r} is none of {', '.join(self.measures)}{hint}", param, ctx)
        return measure, target


class ThresholdType(click.ParamType):
    """youden, sensitivity=SHARE, specificity=SHARE, or the threshold itself."""

    name = "youden|sensitivity=0.95|FLOAT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from bccli.core.metrics.thresholds import Rule, parse_rule

        if isinstance(value, Rule):
            return value
        try:
            return parse_rule(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class FoldType(click.ParamType):
    """The number of a fold, or all."""

    name = "K|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if isinstance(value, int) or value == "all":
            return value
        if not str(value).isdecimal():
            self.fail(f"{value!r} is neither a number from 0 on nor all", param, ctx)
        return int(value)


class CountType(click.ParamType):
    """A whole number from 1 on, or all, which is None."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "all":
            return None
        if not (str(value).isdecimal() and int(value) > 0):
            self.fail(f"{value!r} is neither a number from 1 on nor all", param, ctx)
        return int(value)


class FiniteType(click.FloatRange):
    """A number in a range; neither nan nor inf, which a comparison lets pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number to compute with", param, ctx)
        return number


class OddType(click.IntRange):
    """An odd number in a range, such as the side of a window around a pixel."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = int(super().convert(value, param, ctx))
        if number % 2 == 0:
            self.fail(f"{value!r} is even, and a window around a pixel is odd", param, ctx)
        return number


def positive(text: str) -> int:
    """A whole number from 1 on, for `ListType`. Raises ValueError."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


class ShardType(click.ParamType):
    """I/N, or auto/N for the number that Slurm gave to this task."""

    name = "I/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        text, _, count = str(value).partition("/")
        number = self._from_slurm(param, ctx) if text == "auto" else text
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            of = f" (task {number} of Slurm)" if text == "auto" else ""
            self.fail(f"{value!r}{of} is not I/N with I from 1 to N, such as 2/8 or auto/8", param, ctx)
        return int(number), int(count)

    def _from_slurm(self, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The number of this task among those of its array, or of its step, from 1 on."""
        known = {name: os.environ.get(f"SLURM_{name}", "") for name in _SLURM}
        if known["ARRAY_TASK_ID"].isdecimal():
            first, step = int(known["ARRAY_TASK_MIN"] or 0), int(known["ARRAY_TASK_STEP"] or 1)
            return str((int(known["ARRAY_TASK_ID"]) - first) // step + 1)
        if known["PROCID"].isdecimal():
            return str(int(known["PROCID"]) + 1)
        self.fail("auto works inside a Slurm job array or step only; say 1/8, 2/8, …", param, ctx)


_SLURM = ("ARRAY_TASK_ID", "ARRAY_TASK_MIN", "ARRAY_TASK_STEP", "PROCID")


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


def policy() -> FileOr:
    """A built-in augmentation policy, or the path of a file with one."""
    return FileOr(*(path.stem for path in (Path(__file__).parent.parent / "policies").glob("*.toml")))


def existing(**kwargs: Any) -> click.Path:
    """A path on the disk, checked where it is used, so that the message can say what to do."""
    return click.Path(path_type=Path, **kwargs)


recipe = click.option(
    "--recipe", metavar="NAME|FILE[:STAGE]", help="Take defaults from a recipe; options given here win."
)
protocol = click.option(
    "--protocol",
    type=click.Choice(["honest", "paper"]),
    default="honest",
    show_default=True,
    help="honest: whole patients in one split; paper: what the paper did.",
)
seed = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=0,
    show_default=True,
    help="Start of all random draws.",
)
seeds = click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=None,
    help="Train with so many seeds, from --seed on: a sweep with means and deviations.",
)
workers = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    show_default="the cores at hand",
    help="How many processes or threads read images.",
)
shard = click.option(
    "--shard",
    type=ShardType(),
    metavar="I/N|auto/N",
    default=None,
    help="Do the Ith of N shares of the work; the last to end merges. auto takes I from Slurm.",
)
skip_bad = click.option(
    "--skip-bad/--no-skip-bad", help="Exit with 0 although some inputs could not be read."
)
dry_run = click.option("--dry-run/--no-dry-run", help="Show what would be done, and write nothing.")
overwrite = click.option("--overwrite/--no-overwrite", help="Replace a finished folder that bccli made.")
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Where to compute; gpu fails where there is none.",
)


def output_format(*more: str) -> Decorator[Any]:
    """`--format`, with the formats that only some commands know."""
    return click.option(
        "--format",
        type=click.Choice([*FORMATS, *more]),
        default="auto",
        show_default=True,
        help="auto is a table on a terminal and CSV in a pipe.",
    )


def refuse_overwriting_shards(settings: Mapping[str, Any]) -> None:
    """Raises UsageError for a shard that would begin by clearing what the others have done."""
    if settings["shard"] and settings["overwrite"]:
        raise UsageError(
            "--shard: a shard that starts late would undo the others with --overwrite; remove OUT"
        )


def info_flag(name: str, show: Callable[[], None], help: str) -> Decorator[Any]:
    """A flag that prints a table and ends the command before its arguments are asked for."""

    def print_and_end(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            show()
            ctx.exit()

    return click.option(
        name, is_flag=True, is_eager=True, expose_value=False, callback=print_and_end, help=help
    )
