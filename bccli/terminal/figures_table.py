"""The figures of `evaluate` as tables: for a terminal, for a paper, and flat for programs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bccli.core.data.positive_class import Positive, positive_sentence
from bccli.core.metrics.bootstrap import digits_of
from bccli.terminal.writers import cell

Row = dict[str, Any]
Figures = Mapping[str, Any]

# What the terminal's table shows; JSON and CSV have all measures.
_SHOWN = (
    "protocol", "level", "n", "patients", "positive", "accuracy", "majority_accuracy", "balanced_accuracy",
    "f1", "hierarchical_precision", "hierarchical_recall", "hierarchical_f1", "roc_auc", "pr_auc", "tpr",
    "tnr", "mcc", "kappa", "loss", "log_loss", "ece", "brier", "patient_accuracy",
    "train_accuracy", "val_accuracy", "beta", "beta_rows", "overfit",
)  # fmt: skip

# What a row of the terminal's table shows where there are too many runs for a column each.
_ABREAST = 2
_LEADING = {
    "n": "n",
    "accuracy": "accuracy",
    "majority_accuracy": "majority",
    "roc_auc": "AUC",
    "val_accuracy": "val",
    "beta": "β",
}

# What a paper's table shows, a row per run.
_PUBLISHED = (
    "protocol", "split", "level", "n", "patients", "positive", "accuracy", "majority_accuracy",
    "balanced_accuracy", "f1", "roc_auc", "pr_auc", "tpr", "tnr", "mcc", "kappa", "brier",
)  # fmt: skip

_NESTED = frozenset(
    {"classes", "confusion_matrix", "per_class", "ci", "ci_error", "ci_left_out", "calibration", "leakage",
     "reasons", "remarks", "threshold", "fusion", "folds", "paper", "tree"}
)  # fmt: skip

_LEAKS = ("patients", "identical", "near_duplicates", "children")

_HIERARCHICAL = {f"hierarchical_{name}": name for name in ("precision", "recall", "f1")}

_WIDE = 3
"""So many classes with intervals fit into 80 columns and a little more."""

_NAMES = {
    "roc_auc": "AUC",
    "pr_auc": "PR AUC",
    "mcc": "MCC",
    "kappa": "κ",
    "ece": "ECE",
    "beta": "β",
    "beta_rows": "β measured on",
}


def flat_rows(figures: Sequence[Figures], comparison: Mapping[str, Any] | None = None) -> list[Row]:
    """A row per run: all that fits into a cell, then the limits of the intervals.

    Of a comparison only that there can be none.
    """
    versus = comparison if comparison and not comparison["n"] else None
    ways = dict.fromkeys(way for row in figures for way in row["fusion"] or {})
    limited = dict.fromkeys(name for row in figures for name in row["ci"] or {} if "." not in name)
    more = ["ece", "brier", *(_HIERARCHICAL if any(row.get("tree") for row in figures) else ())]
    folded = dict.fromkeys(name for row in figures for name in (row["folds"] or {}).get("measures", ()))
    return [
        {
            **{key: value for key, value in row.items() if key not in _NESTED},
            **{name: _value(row, name) for name in more},
            "threshold": (row["threshold"] or {}).get("value"),
            **{f"{way}_accuracy": (row["fusion"] or {}).get(way, {}).get("accuracy") for way in ways},
            **{
                f"{name}_{end}": limits[place] if (limits := (row["ci"] or {}).get(name)) else None
                for name in limited
                for place, end in enumerate(("low", "high"))
            },
            **{f"leakage_{kind}": (row["leakage"] or {}).get(kind) for kind in _LEAKS},
            **{
                f"{name}_fold_{part}": ((row["folds"] or {}).get("measures", {}).get(name) or {}).get(part)
                for name in folded
                for part in ("mean", "sd")
            },
            "remarks": "; ".join(remarks([row], versus)),
        }
        for row in figures
    ]


def tables(figures: Sequence[Figures], comparison: Mapping[str, Any] | None) -> Iterator[list[Row]]:
    """The tables for a terminal: a column per run, then what there is of classes, papers and a comparison.

    More than two are a row each, with what one chooses by.
    """
    columns = _unique(_title(row) for row in figures)
    if len(figures) > _ABREAST:
        yield leading_rows(columns, figures)
    else:
        yield _measure_rows(columns, figures)
    if len(figures) == 1:
        yield _class_rows(figures[0])
    yield from _common_tables(figures, comparison)


def leading_rows(names: Sequence[str], figures: Sequence[Figures]) -> list[Row]:
    """A row per run with what one chooses by."""
    return [
        {"run": name, **{shown: _leading(row, key) for key, shown in _LEADING.items()}}
        for name, row in zip(names, figures, strict=True)
    ]


def _leading(row: Figures, measure: str) -> str | None:
    """A figure with three decimals and its limits, which break into a line of their own."""
    value = row[measure]
    return None if value is None else cell(value, digits=3) + _limits_of(row, measure)


def _measure_rows(columns: Sequence[str], figures: Sequence[Figures]) -> list[Row]:
    return [
        {
            "measure": _name(measure),
            **{
                key: shown
                for name, row in zip(columns, figures, strict=True)
                for key, shown in _columns_of(name, row, measure)
            },
        }
        for measure in _SHOWN
        if any(_value(row, measure) is not None for row in figures)
    ]


def _columns_of(name: str, row: Figures, measure: str) -> Iterator[tuple[str, str | None]]:
    """A figure of a run, and behind it that of its folds where there are some."""
    yield name, _with_limits(row, measure)
    if row["folds"]:
        yield f"{name}, {_folds_in_words(row)}", _spread(row, measure)


def _folds_in_words(row: Figures) -> str:
    return f"mean ± sd of {len(row['folds']['names'])} folds"


def _spread(row: Figures, measure: str) -> str | None:
    """Mean and standard deviation over the folds."""
    found = row["folds"]["measures"].get(measure)
    return f"{found['mean']:.4f} ± {found['sd']:.4f}" if found else None


def published(figures: Sequence[Figures], comparison: Mapping[str, Any] | None) -> Iterator[list[Row]]:
    """The tables for a paper: a row per run and group, then the same as for a terminal."""
    yield [
        {
            "run": " ".join(filter(None, (row["name"], row["group"]))),
            **{_name(measure): _with_limits(row, measure) for measure in _PUBLISHED},
        }
        for row in figures
    ]
    if rows := _fold_rows(figures):
        yield rows
    yield from _common_tables(figures, comparison)


def _fold_rows(figures: Sequence[Figures]) -> list[Row]:
    """Mean ± standard deviation over the folds, a row per run that has some."""
    return [
        {
            "run": _title(row),
            "over": _folds_in_words(row),
            **{_name(measure): _spread(row, measure) for measure in _PUBLISHED if measure in _OF_FOLDS},
        }
        for row in figures
        if row["folds"]
    ]


_OF_FOLDS = ("accuracy", "balanced_accuracy", "f1", "roc_auc", "pr_auc", "tpr", "tnr", "mcc", "kappa")


def _common_tables(figures: Sequence[Figures], comparison: Mapping[str, Any] | None) -> Iterator[list[Row]]:
    if rows := [entry for row in figures for entry in _way_rows(row)]:
        yield rows
    if rows := [entry for row in figures for entry in _node_rows(row)]:
        yield rows
    if rows := [entry for row in figures for entry in _paper_rows(row)]:
        yield rows
    if comparison and comparison["n"]:
        yield _comparison_rows(comparison)


def _class_rows(row: Figures) -> list[Row]:
    """Each class against the rest, a column per class; intervals where few classes leave room for them."""
    limits = (row["ci"] or {}) if len(row["classes"]) <= _WIDE else {}
    measures: Sequence[str] = list(next(iter((row["per_class"] or {}).values()), ()))
    return [
        {
            "class": _name(key),
            **{
                name: cell(values[key]) + (_limits_of(row, f"{key}.{name}") if limits else "")
                for name, values in row["per_class"].items()
            },
        }
        for key in measures
    ]


_WAYS = {"patch": "patches", "vote": "majority vote of patches", "mean": "mean probability of patches"}


def _way_rows(row: Figures) -> Iterator[Row]:
    """Patches and images side by side: what the patches come to, and each way from them to images."""
    if not row["fusion"]:
        return
    own = {"images": row} if row["kind"] == "fusion" else {}
    ways = {**{_WAYS[name]: values for name, values in row["fusion"].items()}, **own}
    for name, values in ways.items():
        measures = {_name(key): values.get(key) for key in ("n", "accuracy", "balanced_accuracy", "f1")}
        yield {"run": _title(row), "told by": name, **measures}


def _node_rows(row: Figures) -> Iterator[Row]:
    """Each node of a tree on what truly belongs under it; of a flat run, by sums of its probabilities."""
    tree = row.get("tree") or {"nodes": {}}
    for name, node in tree["nodes"].items():
        yield {
            "run": _title(row),
            "node": name if tree["decide"] else f"{name} (summed)",
            "children": ", ".join(node["classes"]),
            "n": node["n"],
            "accuracy": cell(node["accuracy"]) + _limits_of(node, "accuracy"),
            "majority": cell(node["majority_accuracy"]),
            "balanced": cell(node["balanced_accuracy"]),
        }


def _paper_rows(row: Figures) -> Iterator[Row]:
    """The recipe's figures in its paper beside the measured ones, which have a protocol and an interval."""
    for entry in row["paper"] or ():
        measured = cell(entry["measured"]) + _limits_of(row, entry["measure"])
        yield {
            "run": row["name"],
            "measure": entry["measure"].replace("_", " "),
            "paper": cell(entry["paper"]),
            "paper n": cell(entry["n"]),
            "where": entry["where"],
            "measured": measured,
            "protocol": row["protocol"],
            "remark": entry["remark"],
        }


def _comparison_rows(comparison: Mapping[str, Any]) -> list[Row]:
    """What the first has more than the second, measure by measure."""
    first, second = comparison["first"], comparison["second"]
    return [
        {
            "measure": _name(name),
            f"{first} − {second}": f"{entry['difference']:+.4f}"
            f"{_limits(entry['ci'], digits_of(entry['ci_error']), signed=True)}".replace("-", "−"),
            "p": None if entry["p"] is None else _p(entry["p"]),
        }
        for name, entry in comparison["differences"].items()
    ]


def remarks(figures: Sequence[Figures], comparison: Mapping[str, Any] | None) -> Iterator[str]:
    """What has to be known about the tables, a line each."""
    for row in figures:
        title = _title(row)
        yield from _on_images(title, row)
        yield from _on_decisions(title, row)
        yield from _on_gaps(title, row)
    for unit in dict.fromkeys(row["resampled"] for row in figures if row["ci"]):
        yield f"95 % intervals over {unit}"
    yield from _on_beta(figures)
    yield from _tests(comparison)


def _on_images(title: str, row: Figures) -> Iterator[str]:
    """What images were measured, and what was known of them before."""
    from bccli.core.data.leakage import leak_sentences

    for sentence in leak_sentences({row["split"] or "data": row["leakage"] or {}}):
        yield f"{title}: {sentence}"
    if row["patients"] is None and row["n"]:
        yield f"{title}: patients unknown"
    if row["merged"]:
        yield f"{title}: {row['merged']}"
    for remark in row["remarks"] or ():
        yield f"{title}: {remark}"


def _on_decisions(title: str, row: Figures) -> Iterator[str]:
    """How classes were decided on."""
    if row["positive"]:
        positive = Positive(row["positive"], row["positive_origin"] or "unknown")
        yield f"{title}: {positive_sentence(row['classes'], positive)}"
    if row["threshold"]:
        chosen = "as given" if row["threshold"]["chosen_on"] is None else "chosen on val"
        yield f"{title}: {row['positive']} from {row['threshold']['value']:.4f} on, {chosen}"
    if row["temperature"]:
        yield f"{title}: probabilities at temperature {row['temperature']:.3f}, fitted to val"
    if tree := row.get("tree"):
        ways = ", ".join(f"{name} {cell(value)}" for name, value in tree["decisions"].items())
        how = f"decides by {tree['decide']}" if tree["decide"] else "knows no tree"
        yield f"{title}: {how}; accuracy by {tree['labels']}: {ways}"
        yield from _found_regions(title, tree["nodes"])


def _on_gaps(title: str, row: Figures) -> Iterator[str]:
    """Why figures and intervals are missing, and what the others leave out."""
    reasons: dict[str, list[str]] = {}
    for name, why in (row["reasons"] or {}).items():
        if name == "ci":
            yield f"{title}: no intervals ({why})"
        elif name.removeprefix("ci.") in _EXPLAINED and (name != "patient_accuracy"):
            what = f"interval of {_name(name.removeprefix('ci.'))}" if name[:3] == "ci." else _name(name)
            reasons.setdefault(why, []).append(what)
        elif name.startswith("folds"):
            what = _name(name.removeprefix("folds").removeprefix("."))
            reasons.setdefault(why, []).append(f"mean of {what} over the folds" if what else "folds")
    for why, names in reasons.items():
        yield f"{title}: no {', '.join(names)} ({why})"
    left_out = {name: share for name, share in (row["ci_left_out"] or {}).items() if name in _EXPLAINED}
    if left_out:
        most = max(*left_out.values(), 0.001)
        named = ", ".join(_name(name) for name in left_out)
        yield (
            f"{title}: the intervals of {named} hold where the measure is defined; up to {most:.1%} of "
            "the rounds, which lack a class, are left out"
        )


_EXPLAINED = frozenset(_SHOWN) - {"majority_accuracy", "ece"}
"""The measures whose absence is explained below a table; `reasons` in the JSON has those of each class."""


def _on_beta(figures: Sequence[Figures]) -> Iterator[str]:
    """Which runs have a β that augmented copies count in."""
    from bccli.core.evaluation.overfitting import ALL

    if counted := [_title(row) for row in figures if row["beta_rows"] == ALL and row["beta"] is not None]:
        yield f"{', '.join(counted)}: β is measured on {ALL}, as the paper's protocol has it"


def _found_regions(title: str, nodes: Mapping[str, Any]) -> Iterator[str]:
    """How well nodes that see regions are shown these by the nodes above them."""
    for name, node in nodes.items():
        if located := node.get("located"):
            yield (
                f"{title}: without masks, the regions of {name} would be found with a hit rate of "
                f"{cell(located['hit_rate'])} and an IoU of {cell(located['iou'])} (n = {located['n']})"
            )


def _tests(comparison: Mapping[str, Any] | None) -> Iterator[str]:
    if not comparison:
        return
    pair = f"{comparison['first']} and {comparison['second']}"
    if not comparison["n"]:
        yield f"{pair} cannot be compared: {comparison['reason']}"
        return
    alone, areas = comparison["mcnemar"], comparison["delong"]
    yield (
        f"{pair} on {comparison['n']} common cases: only the first is right on {alone['first_only']}, "
        f"only the second on {alone['second_only']}"
    )
    if any(entry["p"] is not None for entry in comparison["differences"].values()):
        yield f"p from swapping the two within whole {comparison['resampled']}"
    if areas and areas["p"] is not None:
        one, other = areas["roc_auc"]
        clustered = areas["method"].startswith("Obuchowski")
        test = "DeLong's test for images of one patient, Obuchowski 1997," if clustered else "DeLong"
        yield f"AUC {one:.4f} and {other:.4f} ({test} p = {_p(areas['p'])})"
    if not alone["naive"]:
        yield f"McNemar p = {_p(alone['p'])}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _title(row: Figures) -> str:
    return " ".join(filter(None, (row["name"], row["split"], row["group"])))


def _unique(names: Iterator[str]) -> list[str]:
    """Names of columns; the second of the same name gets a number."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def _name(measure: str) -> str:
    return _NAMES.get(measure, measure.replace("_", " "))


def _value(row: Figures, measure: str) -> Any:
    if measure in _HIERARCHICAL:
        return ((row.get("tree") or {}).get("hierarchical") or {}).get(_HIERARCHICAL[measure])
    return (row["calibration"] or {}).get(measure) if measure in ("ece", "brier") else row[measure]


def _with_limits(row: Figures, measure: str) -> str | None:
    value = _value(row, measure)
    return None if value is None else cell(value) + _limits_of(row, measure)


def _limits_of(row: Figures, measure: str) -> str:
    """An interval, where there is one, with as many decimals as are known of all of them."""
    limits = (row["ci"] or {}).get(measure)
    return _limits(limits, digits_of(max((row["ci_error"] or {}).values(), default=None)))


def _limits(limits: Sequence[float] | None, digits: int, *, signed: bool = False) -> str:
    if limits is None:
        return ""
    low, high = (f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}" for value in limits)
    return f" ({low} to {high})" if signed else f" ({low}–{high})"
