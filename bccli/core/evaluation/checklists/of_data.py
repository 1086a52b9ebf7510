"""What follows from facts about the data: where images come from, how they were prepared and divided."""

from collections.abc import Iterator, Mapping
from typing import Any

from bccli.core.catalog import DATASETS
from bccli.core.data.dataset import DatasetInfo
from bccli.core.data.leakage import OTHER_SIDE, Leaks, leak_sentences
from bccli.core.evaluation.checklists.facts import Facts
from bccli.core.evaluation.checklists.state import FILLED, Answer, filled, for_authors, not_met
from bccli.core.evaluation.report.absent import Absent
from bccli.core.runs.run_info import RunInfo

OF_TABLES = "A table of predictions does not say it."
_OWN_DATA = frozenset({"folder", "csv"})
"""Datasets that users bring, of which nobody but them knows the source."""


def _settings(info: DatasetInfo) -> Mapping[str, Any]:
    """How the images were prepared first, whatever copies were made of them later."""
    return info.prepared or info.settings


def _titled(name: str) -> str:
    """A known dataset with its paper, address and licence; empty for one that bccli does not know."""
    row = None if name in _OWN_DATA else DATASETS.get(name)
    if row is None:
        return ""
    licence = f"licence {row.licence}" if row.licence else ""
    return ", ".join(filter(None, (row.title, row.citation, row.home, licence)))


def _unreached(facts: Facts, why: Absent) -> Answer:
    """The answer of items that need dataset.json where it cannot be reached."""
    return for_authors(OF_TABLES if facts.run is None else why.why)


def sources(facts: Facts) -> Answer:
    """Which datasets the images are from."""
    if facts.run is None:
        return for_authors(OF_TABLES)
    names = {"Training and internal test": facts.run.dataset}
    if facts.external:
        names["measured here"] = facts.external.dataset
    titles = {use: _titled(name) for use, name in names.items()}
    if not all(titles.values()):
        unknown = ", ".join(dict.fromkeys(name for use, name in names.items() if not titles[use]))
        return for_authors(f"The data are the user's own (read as {unknown}).", "run.json: dataset")
    return filled("; ".join(f"{use}: {title}" for use, title in titles.items()) + ".", "run.json: dataset")


def eligibility(facts: Facts) -> Answer:
    """Which images were taken, of a dataset that others collected; the user's own are for the authors."""
    if isinstance(facts.data, Absent):
        return _unreached(facts, facts.data)
    text = f"{_subset(facts.data)} Images that were left out: {_excluded(facts.data)}."
    where = "dataset.json: settings, excluded, quarantined"
    if not _titled(facts.data.dataset):
        return for_authors(text, where)
    return filled(f"Dataset: {DATASETS[facts.data.dataset].title}. {text}", where)


def _excluded(info: DatasetInfo) -> str:
    """What was left out, and how much of it."""
    dropped = sum((info.conflicts.get("left_out") or {}).values())
    found = {kind.replace("_", " "): count for kind, count in info.excluded.items()}
    found |= {"unreadable": info.quarantined, "one picture under several labels": dropped}
    return ", ".join(f"{count:,} ({kind})" for kind, count in found.items() if count) or "none"


def composed(run: RunInfo) -> str:
    """That nodes of a tree were trained before, in a way that their own runs tell; empty where none was."""
    mark = "compose "
    nodes = [name.removeprefix(mark) for name in run.settings if name.startswith(mark)]
    return (
        f"The runs of {', '.join(nodes)} were trained before; their own run.json tells how." if nodes else ""
    )


def preprocessing(facts: Facts) -> Answer:
    """The steps from a raw image to what the model sees."""
    if facts.run is None or composed(facts.run):
        return for_authors(OF_TABLES if facts.run is None else composed(facts.run))
    steps = "; ".join(_steps(facts.run.preparation))
    return filled(f"Each image, in this order: {steps}.", "run.json: preparation")


def _steps(made: Mapping[str, Any]) -> Iterator[str]:
    """The steps of a preparation in words."""
    for name, words in _STEPS.items():
        if made.get(name):
            yield words.format(**{**_BLANK, **made})
    size = made.get("size")
    if size:
        yield f"brought to {size[0]}×{size[1]} pixels (fit {made.get('fit')})"
    else:
        yield "kept at its own size"
    if centre := made.get("center_crop"):
        yield f"the central {centre[0]}×{centre[1]} pixels cut out"
    if made.get("denoise"):
        yield "noise removed by non-local means"


_BLANK = {"clahe_clip": "?", "clahe_tiles": "?", "margin": 0, "stride": "?"}
_STEPS = {
    "trim_edge": "the saturated edge of the film left out",
    "clahe": "contrast equalised (CLAHE, clip {clahe_clip}, {clahe_tiles} tiles)",
    "roi": "region of interest by its mask ({roi}, margin {margin})",
    "context": "its box grown by {context:g} of its size",
    "aspect": "left out where its aspect ratio is outside of {aspect[0]} to {aspect[1]}",
    "stain": "stain normalised ({stain})",
    "patch": "cut into patches of {patch}×{patch} pixels, {stride} apart",
}


def quality(facts: Facts) -> Answer:
    """Preprocessing, and what was checked before."""
    first = preprocessing(facts)
    if isinstance(facts.data, Absent) or first.state != FILLED:
        return first
    checked = f"Left out before: {_excluded(facts.data)}. The steps are the same for all images."
    return filled(f"{first.text} {checked}", f"{first.where}; dataset.json: quarantined, excluded")


def subsets(facts: Facts) -> Answer:
    """Which part of the dataset was taken."""
    if isinstance(facts.data, Absent):
        return _unreached(facts, facts.data)
    return filled(_subset(facts.data), "dataset.json: settings")


def _subset(info: DatasetInfo) -> str:
    settings = _settings(info)
    found = [words.format(plain(settings[key])) for key, words in _SUBSETS.items() if settings.get(key)]
    return f"Taken were {', '.join(found)}." if found else "No subset was drawn."


_SUBSETS = {
    "task": "the images of the task {}",
    "magnifications": "the magnifications {}",
    "sample": "{} images drawn at random",
    "keep": "of train, only a share of a class ({})",
}


def plain(value: Any, between: str = ", ") -> str:
    """A setting in words, whatever it is: those of a stranger's file may be of any type."""
    if isinstance(value, list | tuple):
        return between.join(map(plain, value))
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def missing(facts: Facts) -> Answer:
    """What became of images, labels and patients that were missing."""
    if isinstance(facts.data, Absent):
        return _unreached(facts, facts.data)
    bad, unknown = facts.data.quarantined, facts.unknown
    return filled(
        f"Files that could not be read and were left out: {bad:,}. Images without a patient: {unknown:,}. "
        "Every image that was used has a label.",
        "dataset.json: quarantined; seen.csv, predictions.csv",
    )


def partitions(facts: Facts) -> Answer:
    """How images were assigned to splits or folds."""
    if isinstance(facts.data, Absent):
        return _unreached(facts, facts.data)
    seed = _settings(facts.data).get("seed")
    text = f"{_divided(facts.data)}, seed {seed}, protocol {facts.data.protocol}: {_by_part(facts.data)}."
    return filled(text, "dataset.json: settings, counts")


def _divided(info: DatasetInfo) -> str:
    """How a dataset was divided; under the paper's protocol, augmented copies are divided image by image."""
    if info.augmentation and info.settings.get("protocol") == "paper":
        return "Image by image, augmented copies apart from their originals"
    return _division(_settings(info))


def _division(settings: Mapping[str, Any]) -> str:
    """How images were divided before any copy was made, in words."""
    words = _DIVISIONS.get(str(settings.get("by")), str(settings.get("by")))
    if settings.get("folds"):
        return f"{words}, in {settings['folds']} folds"
    ratios = settings.get("ratios")
    if settings.get("by") in ("official", "magnification") or not ratios:
        return words
    return f"{words}; asked for were train/val/test {plain(ratios, '/')}"


_DIVISIONS = {
    "default": "The dataset's own split where it has one, else whole patients",
    "patient": "Whole patients",
    "image": "Image by image",
    "magnification": "By magnification",
    "official": "The dataset's own split",
}


def _by_part(info: DatasetInfo) -> str:
    """The images, or patches, and patients of each class in each part."""
    unit = "patches" if info.preparation.get("patch") else "images"
    parts: dict[str, list[str]] = {}
    for row in info.counts:
        patients = row["patients"]
        whose = f" of {patients:,} patients" if patients is not None else ""
        parts.setdefault(row["part"], []).append(f"{row['label']} {row['images']:,} {unit}{whose}")
    return "; ".join(f"{part}: {', '.join(counts)}" for part, counts in parts.items()) + _copies(info)


def _copies(info: DatasetInfo) -> str:
    """That augmented copies are counted, too, where there are some."""
    if not info.augmentation:
        return ""
    return f" (augmented copies by the policy {plain(info.augmentation.get('policy'))} are counted, too)"


def disjointness(facts: Facts) -> Answer:
    """On which level splits are disjoint, as the audit found it."""
    if facts.run is None:
        return for_authors("A table of predictions does not say what its model was trained on.")
    leaks, where = _leaks(facts)
    if not leaks:
        return for_authors("The run holds no audit of the images that were measured.")
    if shared := shared_sentences(leaks):
        return not_met(shared, where)
    if facts.unknown:
        text = f"Patients of {facts.unknown:,} images are unknown, so that these are apart as images only."
        return not_met(text, where)
    alike = sum(leak.get("near_duplicates") or 0 for leak in leaks.values())
    text = f"Patient: none is on both sides of {_sides(leaks)}, nor is an identical image or a copy of one"
    return filled(f"{text}. Images that only look alike: {alike:,}.", where)


def _leaks(facts: Facts) -> tuple[Leaks, str]:
    """The audits of the run's own splits, or of what it was measured on beside what it was trained on."""
    if facts.external:
        return {"data": facts.figures.leakage or {}}, f"{facts.place}: leakage"
    return facts.run.leakage if facts.run else {}, "run.json: leakage"


def _sides(leaks: Leaks) -> str:
    return ", ".join(f"{split} and {OTHER_SIDE.get(split, 'the rest')}" for split in leaks)


def shared_sentences(leaks: Leaks) -> str:
    """What nobody may share that splits do share, as sentences; empty where there is none."""
    blocking = {
        split: {kind: count for kind, count in leak.items() if kind != "near_duplicates"}
        for split, leak in leaks.items()
    }
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in leak_sentences(blocking))


def numbers(facts: Facts) -> Answer:
    """How many were found, left out and measured."""
    if isinstance(facts.data, Absent) or isinstance(facts.flow, Absent):
        return for_authors(facts.data.why if isinstance(facts.data, Absent) else "")
    steps = "; ".join(f"{step.images:,} {step.what}" for step in facts.flow)
    steps += _copies(facts.data)
    if not facts.external:
        steps += f"; measured here: {facts.figures.n:,}"
    if facts.data.patients is None:
        return not_met(f"Patients are unknown, and only images are counted: {steps}.", "dataset.json: counts")
    others = f" and {facts.unknown:,} images of unknown ones" if facts.unknown else ""
    text = f"{facts.data.patients:,} patients{others}; {steps}."
    return filled(text, "dataset.json: patients, counts, excluded, quarantined")


def characteristics(facts: Facts) -> Answer:
    """What is known of patients beside what only the authors know."""
    if isinstance(facts.data, Absent):
        return _unreached(facts, facts.data)
    ages = [row for row in facts.data.ages if row.get("label") == ""]
    age = [f"Mean age of {row.get('patients')} patients: {row.get('mean')} years." for row in ages]
    return for_authors(" ".join([f"Known are {_by_part(facts.data)}.", *age]), "dataset.json: counts")


def sample_sizes(facts: Facts) -> Answer:
    """How many patients with and without the outcome each analysis had."""
    if isinstance(facts.data, Absent):
        return _unreached(facts, facts.data)
    if facts.data.patients is None or facts.unknown:
        return not_met(f"Patients are unknown; known are {_by_part(facts.data)}.", "dataset.json: counts")
    return filled(f"{_by_part(facts.data)}.", "dataset.json: counts")


def study_size(facts: Facts) -> Answer:
    """How many were measured; why so many is for the authors."""
    figures = facts.figures
    patients = "unknown patients" if figures.patients is None else f"{figures.patients:,} patients"
    return for_authors(f"Measured were {figures.n:,} cases of {patients}.", f"{facts.place}: n, patients")


def differences(facts: Facts) -> Answer:
    """How the data that were measured differ from those of training."""
    if facts.run is None:
        return for_authors(OF_TABLES)
    if facts.external:
        same = facts.external.preparation == facts.run.preparation
        how = "in the same way" if same else "otherwise"
        return for_authors(f"The data measured here ({facts.external.dataset}) were prepared {how}.")
    if isinstance(facts.data, Absent):
        return _unreached(facts, facts.data)
    text = f"Both are parts of one dataset, prepared in one way. {_divided(facts.data)}."
    return filled(text, "dataset.json: settings, preparation")
