"""`bccli prepare`: raw dataset → prepared dataset."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bccli import __version__, console, options
from bccli.core.catalog import DATASETS
from bccli.core.errors import UsageError
from bccli.recipes import RecipeCommand


def _list_datasets() -> None:
    rows = [
        {"name": row.name, "title": row.title, "classes": ",".join(row.classes), "source": row.source}
        for row in DATASETS.values()
    ]
    console.show_rows(rows)


@click.command(cls=RecipeCommand)
@click.argument("dataset", type=click.Choice(list(DATASETS)))
@click.argument("source", type=options.existing())
@click.argument("out", type=options.existing())
@options.recipe
@options.protocol
@click.option(
    "--magnification", type=options.ListType(str, "40,100"), default="", help="Only these (breakhis)."
)
@click.option(
    "--split-by",
    type=click.Choice(["patient", "image", "official"]),
    default=None,
    help="What may not cross a split; official is the dataset's own split.  "
    "[default: official where the table has one, else patient]",
)
@click.option(
    "--ratios",
    type=options.RatiosType(),
    default="70/20/10",
    show_default=True,
    help="Shares of train, val and test.",
)
@click.option(
    "--test-patients", type=options.ListType(str, "ID,ID"), default="", help="Exactly these are test."
)
@click.option(
    "--folds", type=click.IntRange(min=3), default=None, help="Folds for cross-validation, not splits."
)
@click.option("--size", type=options.SizeType(), default=None, help="Bring every image to this size.")
@click.option(
    "--fit",
    type=click.Choice(["stretch", "pad", "crop"]),
    default="stretch",
    show_default=True,
    help="How --size treats another aspect ratio.",
)
@click.option("--positive", metavar="NAME", default=None, help="The positive class.  [default: the last one]")
@click.option("--patient-regex", metavar="RE", default=None, help="Finds the patient in a path (folder).")
@click.option("--count", type=click.IntRange(min=1), default=240, show_default=True, help="Images (phantom).")
@click.option(
    "--patients", type=click.IntRange(min=1), default=24, show_default=True, help="Patients (phantom)."
)
@options.seed
@options.workers
@options.skip_bad
@options.dry_run
@options.overwrite
@options.info_flag("--list-datasets", _list_datasets, "Show the datasets that can be read, and end.")
@click.pass_obj
def prepare(screen: console.Console, dataset: str, source: Path, out: Path, **settings: Any) -> int:
    """Make a prepared dataset: images of one form, splits without a shared patient, a manifest.

    DATASET is one of the names that --list-datasets explains, SOURCE the downloaded folder (for csv a
    table, for phantom histology or mammography), OUT a new folder. Prints the images and patients per
    split and class.
    """
    from bccli.core import preparing
    from bccli.core.cores import available_cores

    request = _request(dataset, source, settings)
    if settings["dry_run"]:
        found, parts = preparing.look(request, screen)
        console.show_rows([asdict(count) for count in preparing.count_plan(found, parts)])
        return 0
    workers = settings["workers"] or available_cores()
    screen.note(f"bccli {__version__} prepare {dataset}: {source} → {out}, {workers} workers")
    info = preparing.prepare(request, out, workers=workers, overwrite=settings["overwrite"], watcher=screen)
    console.show_rows(info["counts"])
    return _closing(screen, info, out, settings["skip_bad"])


def _request(dataset: str, source: Path, settings: dict[str, Any]) -> Any:
    from bccli.core.datasets import Reading
    from bccli.core.imaging.preparation import Preparation
    from bccli.core.planning import Division
    from bccli.core.preparing import Request

    _check_options(dataset, settings)
    return Request(
        dataset=dataset,
        source=source,
        division=Division(
            by=settings["split_by"] or "default",
            ratios=settings["ratios"],
            test_patients=settings["test_patients"],
            folds=settings["folds"] or 0,
            seed=settings["seed"],
            protocol=settings["protocol"],
        ),
        preparation=Preparation(settings["size"], settings["fit"]),
        reading=Reading(
            magnifications=settings["magnification"],
            patient_regex=settings["patient_regex"],
            count=settings["count"],
            patients=settings["patients"],
            seed=settings["seed"],
        ),
        positive=settings["positive"],
    )


def _check_options(dataset: str, settings: dict[str, Any]) -> None:
    for name in sorted(set().union(*(row.options for row in DATASETS.values()))):
        if name not in DATASETS[dataset].options and _is_given(name):
            raise UsageError(f"--{name.replace('_', '-')} has no meaning for {dataset}; leave it out")
    if settings["split_by"] == "image" and settings["protocol"] == "honest":
        raise UsageError("--split-by image puts patients on both sides; add --protocol paper to insist")
    if settings["folds"] and settings["test_patients"]:
        raise UsageError("--folds and --test-patients contradict each other; leave one out")
    for name in ("folds", "test_patients"):
        if settings[name] and settings["split_by"] == "image":
            raise UsageError(
                f"--{name.replace('_', '-')} keeps patients whole, --split-by image does not; leave one out"
            )


def _is_given(name: str) -> bool:
    """Whether an option has a value of its own, be it from the command line, the environment or a recipe."""
    source = click.get_current_context().get_parameter_source(name)
    return source not in (None, click.core.ParameterSource.DEFAULT)


def _closing(screen: console.Console, info: dict[str, Any], out: Path, skip_bad: bool) -> int:
    from bccli.core.leakage import leak_sentences

    for sentence in leak_sentences(info["audit"]):
        screen.warn(sentence)
    if not info["quarantined"]:
        return 0
    bad, total = info["quarantined"], info["quarantined"] + sum(row["images"] for row in info["counts"])
    screen.warn(f"{bad} of {total} images could not be read; {out / 'quarantine.csv'} says which and why")
    return 0 if skip_bad else 4
