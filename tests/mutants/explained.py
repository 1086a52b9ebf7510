"""Mutants that change nothing a test could see, and why."""

_ONE_WEIGHTING = "there is one weighting, so that the first is the last"
_ONE_ROUND = "without intervals there is one round, and what is the same in every round has no limits"
_AT_ONCE = "how many weightings come at once changes no figure"
_SOONER = "the search only ends later, with the same result, but where a cost is exactly 1"

EXPLAINED: dict[tuple[str, str, str], str] = {
    (
        "bccli.core.metrics.bootstrap",
        "{name: Spread(float(here[name][0]), over[name], left[name], clusters) for name in here}",
        "here[name][0] → here[name][-1]",
    ): _ONE_WEIGHTING,
    (
        "bccli.core.metrics.material",
        "cluster = np.zeros(len(shares), np.int64)",
        "np.zeros(len(shares), np.int64) → np.ones(len(shares), np.int64)",
    ): "every patient has an image, so that each entry is written",
    (
        "bccli.core.metrics.material",
        "return np.bincount(owners, values, count).astype(np.float64, copy=False)",
        "copy=False → copy=True",
    ): "a copy has the same numbers",
    (
        "bccli.core.data.split_solver",
        "if lowest == 0:",
        "lowest == 0 → lowest == 1",
    ): _SOONER,
    (
        "bccli.core.data.split_solver",
        "if lowest == 0:",
        "lowest == 0 → lowest == -1",
    ): _SOONER,
    (
        "bccli.core.data.split_solver",
        "if gain >= _GAIN:",
        "gain >= _GAIN → gain > _GAIN",
    ): "no sum of such prices is this very number",
    (
        "bccli.core.metrics.bootstrap",
        "weights = np.bincount(drawn.reshape(-1), minlength=rounds * clusters)",
        "-1 → -2",
    ): "NumPy takes any negative length for the one that is left",
    (
        "bccli.core.metrics.bootstrap",
        "return max(int(min(wanted, MOST_ROUNDS, MOST_CELLS / max(cells, 1))) - FEWEST_ROUNDS, 0)",
        "max(cells, 1) → max(cells, 2)",
    ): "five patients, the least, have five images",
    (
        "bccli.core.metrics.weighted",
        "return np.stack(columns, axis=1) if columns else np.zeros((0, 0))",
        "np.stack(columns, axis=1) if columns else np.zeros((0, 0)) → "
        "np.stack(columns, axis=1) if columns else np.ones((0, 0))",
    ): "nothing is in either",
    (
        "bccli.core.metrics.support",
        "both = 2 * of_own * of_rest / (of_own + of_rest) if of_own and of_rest else 0.0",
        "of_own and of_rest → of_own or of_rest",
    ): "the harmonic mean with 0 is 0, too",
    (
        "bccli.core.metrics.significance",
        "if known[name] and not np.isnan(values[0])",
        "values[0] → values[-1]",
    ): _ONE_WEIGHTING,
    (
        "bccli.core.metrics.limits",
        "square = (influence**2).mean() if len(known) else 0.0",
        "(influence ** 2).mean() if len(known) else 0.0 → (influence ** 2).mean() if len(known) else -1.0",
    ): "both are no square that is large enough to divide by",
    (
        "bccli.core.metrics.significance",
        "FEWEST_SWAPS, MOST_CELLS = 1000, 100_000_000",
        "(1000, 100000000) → (1000, 99999999)",
    ): "beyond ten thousand patients, one swap more or less of thousands",
    (
        "bccli.core.metrics.significance",
        "patients = int(owners.max(initial=-1)) + 1",
        "initial=-1 → initial=1",
    ): "with fewer than two patients there is no test, however many are counted",
    ("bccli.core.metrics.weighted", "IN_CACHE = 1 << 17", "1 << 17 → 1 << 18"): _AT_ONCE,
    ("bccli.core.metrics.weighted", "IN_CACHE = 1 << 17", "1 << 17 → 1 << 16"): _AT_ONCE,
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
