"""Mutants that change nothing a test could see, and why."""

_ONE_WEIGHTING = "there is one weighting, so that the first is the last"
_ONE_ROUND = "without intervals there is one round, and what is the same in every round has no limits"

EXPLAINED: dict[tuple[str, str, str], str] = {
    (
        "bccli.core.metrics.bootstrap",
        "{name: Spread(float(here[name][0]), over[name], left[name], clusters) for name in here}",
        "here[name][0] → here[name][-1]",
    ): _ONE_WEIGHTING,
    (
        "bccli.core.metrics.comparison",
        "if enough and rounds != 0:",
        "enough and rounds != 0 → enough or rounds != 0",
    ): _ONE_ROUND,
    (
        "bccli.core.metrics.comparison",
        "if enough and rounds != 0:",
        "rounds != 0 → rounds != 1",
    ): _ONE_ROUND,
}
"""By module, the line's text, and the change as it is printed."""
