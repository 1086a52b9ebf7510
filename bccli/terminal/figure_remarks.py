"""What has to be known about the figures of `evaluate`, a line each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bccli.core.data.positive_class import Positive, positive_sentence
from bccli.terminal.decision_remarks import decision_sentences
from bccli.terminal.detection_tables import box_definitions, box_sentences
from bccli.terminal.figure_cells import SHOWN, Figures, name_of, p_value, title_of
from bccli.terminal.writers import cell


def remarks(figures: Sequence[Figures], comparison: Mapping[str, Any] | None) -> Iterator[str]:
    """What has to be known about the tables, a line each."""
    for row in figures:
        title = title_of(row)
        yield from _on_images(title, row)
        yield from _on_decisions(title, row)
        yield from box_sentences(title, row)
        yield from _on_gaps(title, row)
    yield from box_definitions(figures, compared=bool(comparison and comparison["n"]))
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
    if (watched := row["watched_test"]) is not None:
        yield f"{title}: {_watched(watched)}"
    if row["merged"]:
        yield f"{title}: {row['merged']}"
    for remark in row["remarks"] or ():
        yield f"{title}: {remark}"


def _watched(late: Mapping[str, Any]) -> str:
    """That test was watched, and what it came to in late epochs, where that is known."""
    what = "test was watched in each epoch of training, and nothing was chosen by it"
    if not late:
        return what
    return (
        f"{what}; in its epochs {late['first_epoch']} to {late['last_epoch']} it has an accuracy of "
        f"{late['mean_accuracy']:.4f} on average, and of {late['best_accuracy']:.4f} at best (epoch "
        f"{late['best_epoch']})"
    )


def _on_decisions(title: str, row: Figures) -> Iterator[str]:
    """How classes were decided on."""
    if row["positive"]:
        positive = Positive(row["positive"], row["positive_origin"] or "unknown")
        yield f"{title}: {positive_sentence(row['classes'], positive)}"
    if row["threshold"]:
        chosen = "as given" if row["threshold"]["chosen_on"] is None else "chosen on val"
        yield f"{title}: {row['positive']} from {row['threshold']['value']:.4f} on, {chosen}"
    yield from decision_sentences(title, row)
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
            what = f"interval of {name_of(name.removeprefix('ci.'))}" if name[:3] == "ci." else name_of(name)
            reasons.setdefault(why, []).append(what)
        elif name.startswith("folds"):
            what = name_of(name.removeprefix("folds").removeprefix("."))
            reasons.setdefault(why, []).append(f"mean of {what} over the folds" if what else "folds")
    for why, names in reasons.items():
        yield f"{title}: no {', '.join(names)} ({why})"
    left_out = {name: share for name, share in (row["ci_left_out"] or {}).items() if name in _EXPLAINED}
    if left_out:
        most = max(*left_out.values(), 0.001)
        named = ", ".join(name_of(name) for name in left_out)
        yield (
            f"{title}: the intervals of {named} hold where the measure is defined; up to {most:.1%} of "
            "the rounds, which lack a class, are left out"
        )


_EXPLAINED = frozenset(SHOWN) - {"majority_accuracy", "ece"}
"""The measures whose absence is explained below a table; `reasons` in the JSON has those of each class."""


def _on_beta(figures: Sequence[Figures]) -> Iterator[str]:
    """Which runs have a β that augmented copies count in."""
    from bccli.core.metrics.overfitting import ALL

    if counted := [title_of(row) for row in figures if row["beta_rows"] == ALL and row["beta"] is not None]:
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
        yield f"AUC {one:.4f} and {other:.4f} ({test} p = {p_value(areas['p'])})"
    if not alone["naive"]:
        yield f"McNemar p = {p_value(alone['p'])}"
