"""The curve of test, where a training reported it: what a paper that watched test would print of it."""

from collections.abc import Mapping, Sequence
from typing import Any


def watched_test(history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Mean and best accuracy of test over the later half of the epochs; None where test was not watched.

    Abu Al-Haija and Adebanjo 2020, section III, average the accuracy of epochs 101 to 200 of 200.
    """
    late = history[len(history) // 2 :]
    accuracies = [row["test_accuracy"] for row in late if "test_accuracy" in row]
    if not accuracies:
        return None
    best = max(accuracies)
    return {
        "first_epoch": late[0]["epoch"],
        "last_epoch": late[-1]["epoch"],
        "mean_accuracy": sum(accuracies) / len(accuracies),
        "best_accuracy": best,
        "best_epoch": next(row["epoch"] for row in late if row["test_accuracy"] == best),
    }
