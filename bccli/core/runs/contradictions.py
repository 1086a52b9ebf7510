"""Where a table of predictions lacks a prediction, or contradicts itself."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from bccli.core.runs.prediction_table import NO_LABEL

_NO_PREDICTION = NO_LABEL | {"none", "?", "-"}


def without_none(cells: list[str], classes: Collection[str]) -> list[str]:
    """The column `predicted`, empty where a program says that nothing is predicted."""
    nothing = {cell for cell in set(cells) - set(classes) if cell.casefold() in _NO_PREDICTION}
    return ["" if cell in nothing else cell for cell in cells] if nothing else cells


def one_sided(labels: Sequence[str], predicted: Sequence[str]) -> Iterator[str]:
    """Which classes are only labels or only predicted: in a table without probabilities, perhaps slips."""
    for what, one, other in (("label", labels, predicted), ("prediction", predicted, labels)):
        if alone := sorted(set(one) - set(other)):
            rows, named = sum(map(Counter(one).__getitem__, alone)), ", ".join(alone[:3])
            never = "prediction" if what == "label" else "label"
            counted = f"{rows:,} row{'s' * (rows != 1)}"
            yield f"{named} is the {what} of {counted} and never the {never}; correct it if it is no class"


def other_than_most_probable(predicted: np.ndarray, probabilities: np.ndarray) -> Iterator[str]:
    """In how many rows another class is predicted (n,) than the most probable one (n, classes)."""
    chosen = np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0]
    if others := int((chosen < probabilities.max(axis=1)).sum()):
        yield (
            f"{others:,} of {len(predicted):,} rows predict another class than the most probable: accuracy "
            "and F1 are those of the column predicted, areas and losses those of the probabilities"
        )
