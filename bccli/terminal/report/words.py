"""What a report says in words: the result of a run in a sentence, and what pictures show."""

from bccli.core.data.leakage import leak_sentences
from bccli.core.evaluation.report.galleries import Exhibit
from bccli.core.runs.aggregation import words_of_level
from bccli.terminal.detection_tables import limits_of_boxes, measured
from bccli.terminal.figure_cells import Figures, limits_of


def result_sentence(row: Figures) -> str:
    """The result of a run, as JSON has its figures, in one sentence."""
    if not row["n"]:
        return f"{row['name']} was measured on nothing."
    return "; ".join([_right(row), *_rates(row), *_boxes(row), *_caveats(row)]) + "."


def _right(row: Figures) -> str:
    matrix = row["confusion_matrix"] or []
    right = sum(line[number] for number, line in enumerate(matrix))
    return (
        f"Of {_cases(row)}, {row['name']} classifies {right:,} right, which is an accuracy of "
        f"{_share(row, 'accuracy')}, where the most frequent class alone would give "
        f"{row['majority_accuracy']:.3f}"
    )


def _cases(row: Figures) -> str:
    unit = words_of_level(row["level"])
    split = f" of {row['split']}" if row["split"] else ""
    if row["level"] == "patient":
        return f"{row['n']:,} patients{split}"
    patients = row["patients"]
    whose = "unknown patients" if patients is None else f"{patients:,} patient{'s' * (patients != 1)}"
    return f"{row['n']:,} {unit}{split} from {whose}"


def _rates(row: Figures) -> list[str]:
    found = []
    if row["positive"] and row["tpr"] is not None and row["tnr"] is not None:
        found.append(
            f"of those that are {row['positive']} it finds {_share(row, 'tpr')}, and of the others it "
            f"clears {_share(row, 'tnr')}"
        )
    if row["roc_auc"] is not None:
        found.append(f"the area under its ROC curve is {_share(row, 'roc_auc')}")
    return found


def _boxes(row: Figures) -> list[str]:
    """At one false box a film, how many lesions a detector finds."""
    found = measured(row, "sensitivity_at_1")
    if found.get("value") is None:
        return []
    limits = limits_of_boxes(row, "sensitivity_at_1").strip(" ()")
    shown = f"{found['value']:.3f}" + (f" (95 % interval {limits})" if limits else " (no interval)")
    return [f"of {row['froc']['lesions']:,} lesions it finds {shown} at one false box a film"]


def _caveats(row: Figures) -> list[str]:
    found = []
    if (row["protocol"] or "").startswith("paper"):
        found.append("protocol: paper, so that these figures contain the leakage of the paper's split")
    shared = leak_sentences({row["split"] or "data": row["leakage"] or {}})
    return [*found, *shared]


def _share(row: Figures, measure: str) -> str:
    limits = limits_of(row, measure).strip(" ()")
    return f"{row[measure]:.3f}" + (f" (95 % interval {limits})" if limits else " (no interval)")


def alt_text(exhibit: Exhibit, what: str = "Image") -> str:
    """What a picture of a gallery shows, for those who do not see it."""
    answer = "rightly" if exhibit.label == exhibit.predicted else "wrongly"
    return f"{what} {exhibit.name}, truly {exhibit.label}, {answer} classified as {exhibit.predicted}"
