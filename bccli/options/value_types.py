"""The types of options' values that are numbers, sizes and lists, and how users write them."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from bccli.core.catalog import nearest

# A side of a prepared image in pixels; whole mammograms have about 6,000.
MAX_SIDE = 16_384

# Of fewer rounds not one lies beyond a limit that 2.5 % of them are beyond.
FEWEST_ROUNDS = 40


class SizeType(click.ParamType):
    """WxH in pixels, N for N×N, or one of some names."""

    def __init__(self, *names: str) -> None:
        self.names, self.name = names, "|".join(("WxH", *names))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value) in self.names:
            return str(value)
        width, cross, height = str(value).lower().replace("×", "x").partition("x")
        height = height if cross else width
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            self.fail(f"{value!r} is not WIDTHxHEIGHT in pixels, such as 224x224", param, ctx)
        if max(int(width), int(height)) > MAX_SIDE:
            self.fail(f"{value!r} has a side of more than {MAX_SIDE:,} pixels", param, ctx)
        return int(width), int(height)


class RoundsType(click.IntRange):
    """The number of random draws for 95 % intervals: none, or enough for their limits."""

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
    """Values with commas between them, at least `fewest`, each made by `of`, which raises ValueError for what
    it is not."""

    def __init__(self, of: Callable[[str], Any] = str, metavar: str = "A,B", *, fewest: int = 0) -> None:
        self.of, self.name, self.fewest = of, metavar, fewest

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple | list):
            return tuple(value)
        try:
            values = tuple(self.of(item.strip()) for item in str(value).split(",") if item.strip())
        except ValueError:
            self.fail(f"{value!r} is not a list such as {self.name}", param, ctx)
        if len(values) < self.fewest:
            self.fail(f"{value!r} names nothing; give {self.name} or leave the option out", param, ctx)
        return values


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


class TriageType(click.ParamType):
    """A promise: npv=SHARE, ppv=SHARE or sensitivity=SHARE."""

    name = "npv=0.98|ppv=…|sensitivity=…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from bccli.core.metrics.decisions.triage import TriageRule, parse_triage

        if isinstance(value, TriageRule):
            return value
        try:
            return parse_triage(str(value))
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


class FiniteType(click.FloatRange):
    """A number in a range; neither nan nor inf, which a comparison lets pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number to compute with", param, ctx)
        return number


class NumberOrType(click.ParamType):
    """One of some names, or a finite number from `least` on."""

    def __init__(self, names: Sequence[str], least: float) -> None:
        self.names, self.least, self.name = tuple(names), least, "|".join((*names, "NUMBER"))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if str(value) in self.names:
            return str(value)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= self.least):
            known = ", ".join(self.names)
            self.fail(f"{value!r} is neither {known} nor a number from {self.least:g} on", param, ctx)
        return number


class CountType(click.ParamType):
    """A whole number from 1 on, or all, which is None."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "all":
            return None
        if not (str(value).isdecimal() and int(value) > 0):
            self.fail(f"{value!r} is neither a number from 1 on nor all", param, ctx)
        return int(value)


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
        """The number of this task among those of its array, of its step, or of the steps of its array, from 1
        on."""
        known = {name: os.environ.get(f"SLURM_{name}", "") for name in _SLURM}
        numbers = {name: int(value) for name, value in known.items() if value.isdecimal()}
        process = numbers.get("PROCID", 0)
        if "ARRAY_TASK_ID" in numbers:
            first, gap = numbers.get("ARRAY_TASK_MIN", 0), numbers.get("ARRAY_TASK_STEP") or 1
            each = numbers.get("STEP_NUM_TASKS") or 1
            place = (numbers["ARRAY_TASK_ID"] - first) // gap
            return str(place * each + min(process, each - 1) + 1)
        if "PROCID" in numbers:
            return str(process + 1)
        self.fail("auto works inside a Slurm job array or step only; say 1/8, 2/8, …", param, ctx)


_SLURM = ("ARRAY_TASK_ID", "ARRAY_TASK_MIN", "ARRAY_TASK_STEP", "PROCID", "STEP_NUM_TASKS")
