"""What `evaluate` says of triage, of conformal sets and of groups that differ, a line each."""

from collections.abc import Iterator, Mapping
from typing import Any

Facts = Mapping[str, Any]

_PROMISES = {
    "npv": "of those set aside at least {bound:.3f} are negative",
    "ppv": "of those flagged at least {bound:.3f} are positive",
    "sensitivity": "at least {bound:.3f} of the positive ones are not set aside",
}


def decision_sentences(title: str, row: Facts) -> Iterator[str]:
    """Sentences about a row of figures, which may have neither."""
    if facts := row.get("views"):
        yield f"{title}: {_views(row['level'], facts)}"
    if facts := row.get("triage"):
        for rule in facts["rules"]:
            yield f"{title}: {_promise(facts, rule)}"
            yield f"{title}: {_kept(facts, rule)}"
        yield f"{title}: area under risk and coverage {facts['risk_coverage']['area']:.4f}"
    if facts := row.get("conformal"):
        yield f"{title}: {_sets(facts)}"
    if facts := row.get("heterogeneity"):
        yield f"{title}: {_differing(facts)}"


def _views(level: str, facts: Facts) -> str:
    """From what cases were fused, such as `breasts by the mean: 2 of 1 image, 40 of 2`."""
    parts = facts["breasts"] or facts["images"]
    what = "breast" if facts["breasts"] else "image"
    counts = ", ".join(
        f"{count:,} of {number} {what}{'s' * (number != '1')}" for number, count in parts.items()
    )
    chosen = ", which was best on val" if facts["chosen_on"] else ""
    return f"{level}s by {_RULES.get(facts['rule'], facts['rule'])}{chosen}: {counts}"


_RULES = {"mean": "the mean", "max": "the maximum", "noisy-or": "noisy-or"}


def _differing(facts: Facts) -> str:
    """Whether the groups of a breakdown differ."""
    tests = {name: test for name, test in facts.items() if isinstance(test, Mapping)}
    if not tests:
        return f"too few patients to tell whether groups of {facts['by']} differ"
    dealt = "within patients" if next(iter(tests.values()))["within"] else "among patients"
    values = ", ".join(f"{name} p = {test['p']:.3g}" for name, test in tests.items())
    return f"differences among groups of {facts['by']}: {values} (groups dealt anew {dealt})"


def _promise(facts: Facts, rule: Facts) -> str:
    doubt = {
        True: "; optimistic, as val also chose the epoch",
        None: "; optimistic if val also chose the epoch",
    }
    return (
        f"triage {rule['rule']}={rule['target']:g}: a patient is {_done(rule)} "
        f"{rule['threshold']:.4f} of {facts['positive']}; locked on {rule['patients']:,} patients of val, "
        f"{rule['misses']} of {rule['count']:,} wrong: {_PROMISES[rule['rule']].format(**rule)} (95 %, "
        f"one-sided){doubt.get(facts['optimistic'], '')}"
    )


def _done(rule: Facts) -> str:
    return "flagged where an image has" if rule["rule"] == "ppv" else "set aside where no image has"


def _kept(facts: Facts, rule: Facts) -> str:
    found = facts["measured"][f"{rule['rule']}={rule['target']:g}"]
    shares = ", ".join(
        f"{name} {_share(found, key)}"
        for name, key in (("NPV", "npv"), ("PPV", "ppv"), ("sensitivity", "sensitivity"))
    )
    word, key = ("flagged", "flagged") if rule["rule"] == "ppv" else ("set aside", "set_aside")
    sentence = (
        f"of {found['patients']:,} patients {_share(found, key)} are {word}: {shares}; predictive values "
        f"hold for a prevalence of {found['prevalence']:.3f}"
    )
    if other := found.get("at_prevalence"):
        values = ", ".join(f"{name.upper()} {_number(other[name])}" for name in ("npv", "ppv"))
        sentence += f", at {other['prevalence']:g} they are {values}"
    return sentence


def _share(found: Facts, name: str) -> str:
    limits = found["ci"][name]
    return _number(found[name]) + (f" ({limits[0]:.3f}–{limits[1]:.3f})" if limits else "")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _sets(facts: Facts) -> str:
    found = facts["measured"]
    whose = "each class by its own patients" if facts["by_class"] else "all classes together"
    rough = "; approximate, as val may have chosen the epoch" if facts["approximate"] else ""
    return (
        f"sets for a coverage of {facts['coverage']:g}, {whose}, from {facts['patients']:,} patients of val: "
        f"they hold the true class in {found['coverage']:.3f} ({found['ci'][0]:.3f}–{found['ci'][1]:.3f}), "
        f"with {found['mean_size']:.2f} classes on average, one in {found['single']:.1%} and none in "
        f"{found['empty']:.1%}{rough}; nothing is claimed for other sites"
    )
