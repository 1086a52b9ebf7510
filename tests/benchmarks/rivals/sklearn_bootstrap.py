"""Bootstrap intervals as they are written by hand: draw patients, call scikit-learn's functions, and again.

Usage: python -m tests.benchmarks.rivals.sklearn_bootstrap PREDICTIONS.csv ROUNDS
Prints {"accuracy": [low, high], …} as its last line. Needs columns label, patient, p_benign, p_malignant.
"""

import csv
import json
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import sklearn.metrics as judge


def read(path: Path) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Labels (n,), probabilities (n, 2), and the rows of each patient."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    owners = defaultdict(list)
    for place, row in enumerate(rows):
        owners[row["patient"]].append(place)
    labels = np.array([int(row["label"] == "malignant") for row in rows])
    probabilities = np.array([[float(row["p_benign"]), float(row["p_malignant"])] for row in rows])
    return labels, probabilities, [np.array(places) for places in owners.values()]


def measure(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """What evaluate gives intervals of, but for the mean over patients."""
    predicted, scores = probabilities.argmax(axis=1), probabilities[:, 1]
    sensitivity = judge.recall_score(labels, predicted, average=None)
    return {
        "accuracy": judge.accuracy_score(labels, predicted),
        "balanced_accuracy": judge.balanced_accuracy_score(labels, predicted),
        "f1": judge.f1_score(labels, predicted),
        "f1.benign": judge.f1_score(labels, predicted, pos_label=0),
        "precision": judge.precision_score(labels, predicted),
        "precision.benign": judge.precision_score(labels, predicted, pos_label=0),
        "tpr": sensitivity[1],
        "tnr": sensitivity[0],
        "roc_auc": judge.roc_auc_score(labels, scores),
        "pr_auc": judge.average_precision_score(labels, scores),
        "mcc": judge.matthews_corrcoef(labels, predicted),
        "kappa": judge.cohen_kappa_score(labels, predicted),
        "log_loss": judge.log_loss(labels, probabilities),
        "brier": judge.brier_score_loss(labels, scores),
    }


def main(path: Path, rounds: int) -> None:
    """Print the limits of each measure."""
    warnings.simplefilter("ignore")
    labels, probabilities, patients = read(path)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(rounds):
        rows = np.concatenate([patients[place] for place in rng.integers(0, len(patients), len(patients))])
        found.append(measure(labels[rows], probabilities[rows]))
    limits = {name: np.quantile([row[name] for row in found], (0.025, 0.975)).tolist() for name in found[0]}
    print(json.dumps(limits))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
