"""The model card: what a run was trained on and how, what was left out before, and what repeats it."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bccli.core.data.dataset import DatasetInfo
from bccli.core.data.positive_class import Positive, positive_sentence
from bccli.core.errors import BccliError
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.evaluation.report.absent import Absent
from bccli.core.evaluation.report.prepare_command import prepare_command
from bccli.core.evaluation.report.run_data import RunData
from bccli.core.reading.regular_files import open_file
from bccli.core.runs.aggregation import words_of_level
from bccli.core.runs.predictions import Predictions
from bccli.core.runs.run_folder import RECIPE_FILE, Run
from bccli.core.runs.run_info import FOLDS
from bccli.core.runs.training_images import training_images_of


@dataclass(frozen=True)
class SplitRow:
    """The images of a split, how many patients they are of, and how many of them are of unknown patients."""

    split: str
    images: int
    patients: int
    unknown: int


@dataclass(frozen=True)
class Step:
    """A step from the images that were found to those that were measured: what happens, and to how many."""

    what: str
    images: int
    leaves: bool = False


@dataclass(frozen=True)
class Card:
    """Facts as pairs of a name and a text, splits, the flow of exclusions, versions, and commands whose words
    are quoted as a shell wants them."""

    facts: tuple[tuple[str, str], ...]
    splits: tuple[SplitRow, ...]
    flow: tuple[Step, ...] | Absent
    versions: tuple[tuple[str, str], ...] | Absent
    commands: tuple[tuple[str, ...], ...]


def card(entry: Evaluation, data: RunData | Absent, command: Sequence[str]) -> Card:
    """The card of a run or table; `command` are the words of the call that measures it."""
    run = entry.subject.run
    return Card(
        tuple((name, text) for name, text in _facts(entry, data) if text),
        tuple(_splits(entry)),
        data if isinstance(data, Absent) else tuple(_flow(data.dataset.info, entry)),
        Absent("A table of predictions does not say what made it.") if run is None else _versions(run),
        tuple(tuple(map(shlex.quote, words)) for words in _commands(run, data, command)),
    )


def _facts(entry: Evaluation, data: RunData | Absent) -> Iterator[tuple[str, str]]:
    figures, run = entry.whole, entry.subject.run
    yield "Model", _model(figures.kind, figures.backbone, run)
    yield "Run", str(run.root) if run else ""
    yield "Table", "" if run else figures.name or ""
    yield "Dataset", figures.dataset or ""
    yield "Data", "" if isinstance(data, Absent) else str(data.dataset.root)
    yield "Content of the data (SHA-256)", "" if isinstance(data, Absent) else data.dataset.hash
    yield "Classes", ", ".join(figures.classes)
    if figures.positive:
        positive = Positive(figures.positive, figures.positive_origin or "unknown")
        yield "Positive class", positive_sentence(figures.classes, positive).removeprefix("positive class: ")
    yield "Protocol", figures.protocol or ""
    yield "Measured", _measured(entry)
    if run:
        yield "Input", _input(run)
        yield from _backbones(run)
        yield "Recipe", run.info.recipe or ""
        yield "Seed", "" if run.info.seed is None else str(run.info.seed)
        yield "Parameters", f"{run.info.parameters:,}" if run.info.parameters else ""
        yield "Tree of classes", run.info.tree


def _backbones(run: Run) -> Iterator[tuple[str, str]]:
    """What is known of networks that somebody else trained: test images may have been among theirs."""
    for name, card in run.info.cards:
        yield f"{name} was pretrained on", card.get("pretrained_on") or "not stated by its card"
        yield f"Licence of {name}", card.get("licence") or "not stated by its card"
        yield f"Source of {name}", card.get("source", "")
        files = (f"{file}: {digest}" for file, digest in card["files"].items())
        yield f"Files of {name} (SHA-256)", ", ".join(files)


def _model(kind: str | None, backbone: str | None, run: Run | None) -> str:
    """Such as `network on vgg16, in 5 folds`."""
    within = run.info.kind_within if run else kind
    folds = f", in {len(run.info.parts)} folds" if run and run.info.kind == FOLDS else ""
    return " on ".join(filter(None, (within, backbone))) + folds


def _measured(entry: Evaluation) -> str:
    figures = entry.whole
    units = words_of_level(figures.level)
    where = f" of {figures.split}" if figures.split else ""
    return f"{figures.n:,} {units}{where}" + (f", from {figures.merged}" if figures.merged else "")


def _splits(entry: Evaluation) -> Iterator[SplitRow]:
    """Train and val as the run has stored them, and what was measured; a table's val beside it."""
    subject = entry.subject
    if subject.run:
        try:
            images = training_images_of(subject.run)
        except (BccliError, OSError):
            images = []
        for split in ("train", "val"):
            patients = [image.sample.patient for image in images if image.split == split]
            if patients and split != subject.split and subject.run.info.kind != FOLDS:
                yield split_row(split, patients)
    elif subject.val is not None and len(subject.val) and subject.split != "val":
        yield split_row("val", _patients(subject.val))
    rows = (subject.patches or subject).predictions
    yield split_row(_name_of_measured(entry), _patients(rows))


def _name_of_measured(entry: Evaluation) -> str:
    run = entry.subject.run
    if run and run.info.kind == FOLDS and entry.subject.split == "test":
        return f"test, over {len(run.info.parts)} folds"
    return entry.subject.split or "all rows"


def _patients(rows: Predictions) -> Sequence[str]:
    return rows.patients or ("",) * len(rows)


def split_row(split: str, patients: Sequence[str]) -> SplitRow:
    """The row of a split, for the patient of each of its images, empty where unknown."""
    return SplitRow(split, len(patients), len(set(patients) - {""}), sum(not name for name in patients))


_BY_READERS = {
    "copy": "are copies of another image",
    "other_view": "show a tumour that is marked in the other view only",
    "other_task": "belong to another task",
}
_EXCLUDED = {
    "no_tissue": "have no patch with enough tissue",
    "no_region": "have no mask, and so no region to cut out",
    "aspect_ratio": "have an aspect ratio outside of the limits",
}


def _flow(info: DatasetInfo, entry: Evaluation) -> Iterator[Step]:
    """What `prepare` left out, and what became of the rest."""
    dropped: Mapping[str, int] = info.conflicts.get("left_out") or {}
    excluded = dict(info.excluded)
    bad = info.quarantined
    found = info.sources + bad + _listed_apart(excluded) + sum(dropped.values())
    yield Step("images found in the source", found)
    if bad:
        yield Step("could not be read", bad, leaves=True)
    for kind, count in excluded.items():
        yield Step({**_EXCLUDED, **_BY_READERS}.get(kind, kind.replace("_", " ")), count, leaves=True)
    if dropped:
        yield Step("showed one picture under several labels", sum(dropped.values()), leaves=True)
    prepared = sum(row["images"] for row in info.counts)
    what = "patches" if info.preparation.get("patch") else "images"
    yield Step(f"{what} prepared ({_by_part(info.counts)})", prepared)
    if info.blank:
        yield Step("of these are blank", info.blank["count"])
    yield Step(
        f"measured here: {_measured(entry)}", len((entry.subject.patches or entry.subject).predictions)
    )


def _listed_apart(excluded: Mapping[str, int]) -> int:
    """Images that readers leave out, which `sources` does not count; those of `_EXCLUDED` it does."""
    return sum(count for kind, count in excluded.items() if kind not in _EXCLUDED)


def _by_part(counts: Iterable[Mapping[str, Any]]) -> str:
    parts: dict[str, int] = {}
    for row in counts:
        parts[row["part"]] = parts.get(row["part"], 0) + row["images"]
    return ", ".join(f"{part} {images:,}" for part, images in parts.items())


def _versions(run: Run) -> tuple[tuple[str, str], ...]:
    others = run.info.others
    found = {"bccli": run.info.version, "commit": others.get("commit"), **_mapping(others.get("versions"))}
    machine = _mapping(others.get("hardware"))
    gpus = machine.get("gpus")
    found |= {"CPU": machine.get("cpu"), "GPU": ", ".join(map(str, gpus)) if isinstance(gpus, list) else gpus}
    return tuple((name, str(text)) for name, text in found.items() if text)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _commands(run: Run | None, data: RunData | Absent, command: Sequence[str]) -> Iterator[Sequence[str]]:
    """What repeats the data, the run and its figures."""
    if not isinstance(data, Absent) and data.dataset.info.augmentation is None:
        yield prepare_command(data.dataset)
    if run and (name := _trained_by(run)):
        root, recipe = _training_data(run), ("--recipe", str(run.root / RECIPE_FILE))
        words = (_base(run), "OUT", "--data", root) if name == "finetune" else (root, "OUT")
        yield "bccli", name, *words, *recipe
    yield command


def _training_data(run: Run) -> str:
    """Where the data lie that a run was trained on, which need not be those that it is measured on."""
    return str((run.root / run.info.data.path).resolve()) if run.info.data.path else "DATA"


def _base(run: Run) -> str:
    """The run that another was fine-tuned from."""
    return str((run.root / run.info.base).resolve()) if run.info.base else "RUN"


def _trained_by(run: Run) -> str:
    """The command that a run's recipe is for."""
    try:
        with open_file(run.root / RECIPE_FILE) as stream:
            first = stream.readline(80).strip()
    except OSError:
        return ""
    return {b"[train]": "train", b"[finetune]": "finetune", b"[hierarchy]": "hierarchy"}.get(first, "")


def _input(run: Run) -> str:
    """What a run takes for an image."""
    if run.info.vectors:
        return f"vectors of {run.info.vectors['width']:,} numbers from another program"
    return "×".join(map(str, run.info.size)) + " pixels, RGB"
