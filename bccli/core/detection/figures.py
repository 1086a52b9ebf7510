"""How well boxes find lesions: all figures of a set of films, each with its interval over patients."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from bccli.core.detection.average_precision import IOUS
from bccli.core.detection.froc import RATES, froc_curve
from bccli.core.detection.intervals import Measured, measure_study
from bccli.core.detection.matching import RULES, Film
from bccli.core.detection.study import BASES, SIZES, Study, Wanted
from bccli.core.errors import DataError
from bccli.core.metrics.cases import known_patients
from bccli.core.metrics.figures import unit_of
from bccli.core.reading.json_types import misfit

ROUNDS = 1000
CURVE_STEPS = 100
"""So many steps of a curve at most are kept, spread over all of them."""
NOTHING = Measured(None, reason="there is no film")


@dataclass(frozen=True)
class FrocFigures:
    """Sensitivity by false boxes a film, on the films of one base.

    `sensitivity` has a figure for each rate, by its number as text, `mean` is that over the rates; `curve`
    has steps of score, false boxes a film, and sensitivity.
    """

    sensitivity: Mapping[str, Measured]
    mean: Measured
    curve: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class PointFigures:
    """What there is from one score on, the `threshold`, None where no score will do.

    Overlaps are the IoU of a lesion's box and the box that hits it: mean over the lesions that are hit, and
    over all, those that are missed having 0. `false_per_film` and `false_per_normal_film` count false boxes.
    """

    threshold: float | None
    sensitivity: Measured
    iou_of_hits: Measured
    iou_of_lesions: Measured
    false_per_film: Measured
    false_per_normal_film: Measured


@dataclass(frozen=True)
class RuleFigures:
    """The figures by one rule of what a hit is; `spare` counts boxes on lesions that surer ones hit."""

    all: FrocFigures
    normal: FrocFigures
    point: PointFigures
    spare: int


@dataclass(frozen=True)
class SizeFigures:
    """The figures, at the threshold, of lesions with more than `above` and up to `up_to` of their film."""

    above: float | None
    up_to: float | None
    lesions: int
    sensitivity: Measured
    iou_of_hits: Measured


@dataclass(frozen=True)
class DetectionFigures:
    """How well boxes find lesions; `patients` are the known ones, None where there is none.

    `rules` has figures for each rule of `matching.RULES`, `average_precision` for each IoU by its number as
    text, `sizes` for small, medium and large lesions by the rule `either`. `given_threshold` is whether the
    threshold was given, and not that with one false box a film. `resampled` says what the intervals drew
    again, so many `rounds` times, from `seed` on.
    """

    films: int
    normal_films: int
    lesions: int
    patients: int | None
    boxes: int
    given_threshold: bool
    rules: Mapping[str, RuleFigures]
    average_precision: Mapping[str, Measured]
    sizes: Mapping[str, SizeFigures]
    resampled: str
    rounds: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """A dict that `json.dumps(…, allow_nan=False)` takes; see `detection_from_json`."""
        return asdict(self)


def detection_figures(
    films: Sequence[Film],
    *,
    rates: Sequence[float] = RATES,
    ious: Sequence[float] = IOUS,
    threshold: float | None = None,
    size_limits: tuple[float, float] | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> DetectionFigures:
    """Measure the boxes of films against their lesions.

    Sensitivity is given at `rates` of false boxes a film, average precision from `ious` on. Overlaps and
    sizes are looked at from the score `threshold` on, as one chosen on val, by default from the lowest
    with at most one false box a film. `size_limits` are the shares of the film up to which a lesion is small
    and up to which it is medium; by default they part the lesions at hand into thirds. Intervals draw
    patients `rounds` times, 0 for none; a film without a known patient is drawn by itself.

    Raises DataError for a box or lesion that is none, naming its film.
    """
    study = Study(films, Wanted(tuple(rates), tuple(ious), threshold, size_limits))
    patients = [film.patient for film in films]
    resampled = unit_of(patients)
    unit = "patient" if resampled.startswith("patient") else "image"
    found = measure_study(study, rounds=rounds, seed=seed, unit=unit)
    return DetectionFigures(
        films=len(films),
        normal_films=int(study.normal.sum()),
        lesions=len(study.shares),
        patients=len(known_patients(patients)) or None,
        boxes=sum(len(film.boxes) for film in films),
        given_threshold=threshold is not None,
        rules={rule: _of_rule(study, found, rule) for rule in RULES},
        average_precision={f"{value:g}": found.get(f"ap.{value:g}", NOTHING) for value in ious},
        sizes={name: _of_size(study, found, number) for number, name in enumerate(SIZES)},
        resampled=resampled,
        rounds=rounds,
        seed=seed,
    )


def _of_rule(study: Study, found: Mapping[str, Measured], rule: str) -> RuleFigures:
    curves = {base: _of_base(study, found, rule, base) for base in BASES}
    names = ("sensitivity", "iou_of_hits", "iou_of_lesions", "false.all", "false.normal")
    values = [found.get(f"{rule}.{name}", NOTHING) for name in names]
    return RuleFigures(
        **curves,
        point=PointFigures(study.thresholds[rule], *values),
        spare=len(study.matched[rule].spare),
    )


def _of_base(study: Study, found: Mapping[str, Measured], rule: str, base: str) -> FrocFigures:
    names = {f"{rate:g}": f"{rule}.{base}.{rate:g}" for rate in study.wanted.rates}
    return FrocFigures(
        {rate: found.get(name, NOTHING) for rate, name in names.items()},
        found.get(f"{rule}.{base}.mean", NOTHING),
        _steps(study, rule, base),
    )


def _steps(study: Study, rule: str, base: str) -> tuple[tuple[float, float, float], ...]:
    """The steps of a curve, CURVE_STEPS at most; none where an axis is not defined."""
    counted = study.counted(base)
    if not len(study.shares) or not counted.any():
        return ()
    curve = froc_curve(study.matched[rule], counted)
    rows = np.stack([curve.thresholds, curve.false, curve.sensitivity], axis=1)
    kept = np.unique(np.linspace(0, len(rows) - 1, min(CURVE_STEPS, len(rows))).astype(int))
    return tuple((row[0], row[1], row[2]) for row in rows[kept].tolist())


def _of_size(study: Study, found: Mapping[str, Measured], number: int) -> SizeFigures:
    limits, name = study.limits, SIZES[number]
    return SizeFigures(
        limits[number - 1] if limits and number else None,
        limits[number] if limits and number < len(limits) else None,
        int((study.sizes == number).sum()),
        found.get(f"{name}.sensitivity", NOTHING),
        found.get(f"{name}.iou_of_hits", NOTHING),
    )


def detection_from_json(value: Any, where: str) -> DetectionFigures:
    """The figures that `to_json` made a dict of. Raises DataError for another one, naming the place."""
    figures: DetectionFigures = _built(DetectionFigures, value, where)
    return figures


def _built(kind: Any, value: Any, where: str) -> Any:
    """A value of JSON as the type that it was stored from."""
    if is_dataclass(kind) and isinstance(kind, type):
        names = {entry.name for entry in fields(kind)}
        if not isinstance(value, dict) or value.keys() != names:
            raise _foreign(where)
        types = get_type_hints(kind)
        return kind(**{name: _built(types[name], value[name], f"{where}.{name}") for name in value})
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        inner = get_args(kind)
        types_of = inner[:1] * len(value) if inner[-1] is ... else inner
        if len(types_of) != len(value):
            raise _foreign(where)
        return tuple(_built(one, entry, where) for one, entry in zip(types_of, value, strict=True))
    if get_args(kind) and isinstance(value, dict):
        return {key: _built(get_args(kind)[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if misfit(value, kind, where):
        raise _foreign(where)
    return value


def _foreign(where: str) -> DataError:
    return DataError(f"{where}: is not what bccli writes there; copy the whole folder again")
