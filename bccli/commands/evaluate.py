"""`bccli evaluate`: runs or predictions → figures."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bccli.core.errors import DataError, UsageError
from bccli.core.evaluation.breasts.choices import LEVELS, MEAN, RULES
from bccli.core.evaluation.checklists.catalogue import CHECKLISTS
from bccli.options import common as options
from bccli.options import path_types, value_types
from bccli.options.call import words_of_call
from bccli.options.sharing import share, waiting
from bccli.terminal import console


@click.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    type=path_types.existing(allow_dash=True),
    metavar="RUN|predictions.csv…",
)
@click.option(
    "--data",
    type=path_types.existing(),
    default=None,
    metavar="DATA",
    help="Evaluate on all images of this prepared dataset, audited against what the run has seen.",
)
@click.option(
    "--features",
    type=path_types.existing(),
    metavar="FILE|FOLDER",
    default=None,
    help="With --data, the vectors of its images, for a run that was trained with --features.",
)
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    default=None,
    help="Which of a run's images; a table without splits is taken whole.  [default: test]",
)
@click.option(
    "--level",
    type=click.Choice(["image", "patch", "patient", "breast", "exam"]),
    default="image",
    show_default=True,
    help="What counts as one case; with the mean of its patches' or images' probabilities, or as "
    "--fuse-views says; a film of a detector has the largest of its tiles. A breast is known by patient and "
    "side. Of a table, patch takes rows of one source for patches, image averages what several folds say of "
    "one image.",
)
@click.option(
    "--fuse-views",
    type=click.Choice(RULES),
    default=None,
    help="With --level breast or exam, how the views of a breast, then the breasts of an exam, become one: "
    "their mean, the gravest, at least one of them, or what is best on val.  [default: mean]",
)
@click.option(
    "--bootstrap",
    type=value_types.RoundsType(0, 1_000_000),
    metavar="N",
    default=None,
    help="Rounds for the 95 % intervals; 0 for none.  [default: 1,000 to 20,000, as their digits need]",
)
@click.option(
    "--threshold",
    type=value_types.ThresholdType(),
    default=None,
    help="From which probability on a case is positive: a number, or a rule for val.",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="Fit a temperature to val and store it with the run, or leave a stored one out.  "
    "[default: use what is stored]",
)
@click.option(
    "--triage",
    type=value_types.TriageType(),
    multiple=True,
    help="Lock a threshold on val so that this holds for new patients in 95 of 100 studies, and store it "
    "with the run: predict then says negative, positive or refer. A patient is set aside when all its "
    "images are. sensitivity= does not depend on the prevalence; repeatable.",
)
@click.option(
    "--prevalence",
    type=value_types.FiniteType(0, 1, min_open=True, max_open=True),
    default=None,
    metavar="P",
    help="Say what the predictive values of --triage come to at this share of positive patients.",
)
@click.option(
    "--coverage",
    type=value_types.FiniteType(0.5, 1, max_open=True),
    default=None,
    metavar="0.9",
    help="Calibrate sets of classes on val that hold the true one so often, and store them with the run: "
    "predict then has a column set.",
)
@click.option(
    "--by",
    type=path_types.NameType(),
    metavar="COLUMN[,COLUMN]",
    default=None,
    help="Break down by magnification, subtype, view, density, age in bands, or another column of "
    "the manifest; "
    "by several at once. Says whether the groups differ more than by chance, patients whole.",
)
@click.option(
    "--positive",
    type=path_types.NameType(),
    metavar="NAME",
    default=None,
    help="The positive class.  [default: the run's, or the graver one as the names say, or the last]",
)
@click.option(
    "--columns",
    type=value_types.ListType(str, "NAME,…", fewest=1),
    default=(),
    help="Which columns tables and CSV have, in this order: keys of the JSON, accuracy_low and accuracy_high "
    "and the like, test_accuracy, or cbis-ddsm for those of that paper's tables. JSON has all.",
)
@click.option(
    "--audit/--no-audit",
    help="Print the leakage audit of prepared datasets, which are named instead of runs.",
)
@click.option(
    "--checklist",
    type=click.Choice(tuple(CHECKLISTS)),
    default=None,
    help="Print a journal's checklist instead of the figures, filled from what one RUN knows.",
)
@options.device
@options.workers
@waiting("works in RUN, or that makes DATA")
@options.skip_bad
@options.output_format("markdown", "latex")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="DIR",
    help="Also write tables and plots (PNG and SVG) here.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.html",
    help="Also write one page that needs no network: model card, figures, leaks, images, curves.",
)
@click.option(
    "--without-images/--with-images",
    help="Leave every picture of a patient out of the report.",
)
@click.pass_obj
def evaluate(screen: console.Console, runs: tuple[Path, ...], **settings: Any) -> int:
    """Print the figures of runs, or of any tool's predictions.

    A table of predictions is a CSV with path,label and p_<class> columns (or predicted), patients where
    they are known; commas, semicolons or tabs separate its cells; - reads it from standard input. Several
    are ordered by their accuracy on val; two are compared. Thresholds and temperatures are chosen on val.
    """
    if settings["audit"]:
        _audit(runs, screen, settings)
        return 0
    from bccli.core.evaluation.evaluate import evaluate as measured
    from bccli.core.evaluation.leaderboard import (
        comparison,
        figures_json,
        leaderboard,
        with_remarks_on_images,
    )  # fmt: skip
    from bccli.core.evaluation.run_figures import has_decisions, store_decisions, store_temperature
    from bccli.core.evaluation.subjects import with_trees
    from bccli.core.evaluation.terms import Terms
    from bccli.terminal.figure_columns import check_columns

    columns = check_columns(settings["columns"])
    _check_together(settings)
    terms = Terms(
        rounds=settings["bootstrap"],
        fuse_views=settings["fuse_views"] or MEAN,
        **{name: settings[name] for name in _TERMS},
    )
    if settings["output"]:
        _refuse_foreign(settings["output"], audit=False)
    _check_report(settings)
    share(screen, settings)
    paths, unfinished = _expanded(runs)
    if settings["checklist"] and len(paths) != 1:
        raise UsageError(f"--checklist is about one run, and there are {len(paths)}; name one of them")
    subjects = with_trees(list(_subjects(paths, screen, settings)))
    done = leaderboard([measured(subject, terms, screen) for subject in subjects])
    for entry in done if settings["calibrate"] else ():
        store_temperature(entry, terms)
    for entry in done:
        if why := store_decisions(entry):
            screen.note(f"{entry.subject.name}: predict will not decide by it: {why}")
        elif entry.subject.run and has_decisions(entry):
            _guard(entry, screen)
    done = with_remarks_on_images(done)
    versus = comparison(done, terms)
    found = figures_json([figures for entry in done for figures in entry.figures], versus)
    checklist = _checklist(done, settings) if settings["checklist"] else None
    if settings["output"]:
        _write(settings["output"], done, found, screen, columns, checklist)
    if settings["report"]:
        _report(done, versus, screen, settings, checklist)
    if checklist:
        console.show_checklist(checklist, settings["format"])
    elif settings["format"] == "json":
        console.show_json(found)
    else:
        console.show_figures(found["runs"], settings["format"], comparison=versus, columns=columns)
    bad = _warn_of_unused(subjects, unfinished, screen)
    return 4 if bad and not settings["skip_bad"] else 0


_TERMS = ("level", "positive", "threshold", "calibrate", "by", "triage", "prevalence", "coverage")
"""The options that say on which terms is measured, by their names there."""


def _check_together(settings: dict[str, Any]) -> None:
    """Raises UsageError for options that do not go together."""
    if settings["checklist"] and settings["columns"]:
        raise UsageError("--columns is about figures, and --checklist prints none; leave one out")
    if settings["fuse_views"] and settings["level"] not in LEVELS:
        raise UsageError(
            f"--fuse-views is about breasts and exams, and --level is {settings['level']}; add --level "
            "breast or --level exam"
        )
    if settings["features"] and not settings["data"]:
        raise UsageError("--features are vectors of the images of another dataset; add --data DATA")
    if settings["data"] and settings["split"]:
        raise UsageError("--split is for a run's own images, and --data takes all of DATA; leave one out")
    if settings["prevalence"] and not settings["triage"]:
        raise UsageError("--prevalence is about --triage; add it, such as --triage sensitivity=0.95")


def _guard(entry: Any, screen: console.Console) -> None:
    """Store with a run what its images of train are like, for `predict`, or say why that cannot be."""
    from bccli.core.evaluation.cautions.guarding import store_guard

    if why := store_guard(entry.subject.run):
        screen.note(f"{entry.subject.name}: predict will not say which images are unlike train: {why}")


def _expanded(runs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The paths with sweeps replaced by their complete members, and the members that are not complete."""
    from bccli.core.evaluation.subjects import runs_at

    pairs = [runs_at(path) for path in runs]
    return [path for done, _ in pairs for path in done], [path for _, others in pairs for path in others]


def _warn_of_unused(subjects: Sequence[Any], unfinished: Sequence[Path], screen: console.Console) -> bool:
    """Name the rows and runs that could not be used; whether there are any."""
    for path in unfinished:
        screen.warn(f"{path}: is unfinished and was left out; run the same bccli train again")
    for subject in subjects:
        if paths := subject.predictions.without_truth:
            named = ", ".join(paths[:5]) + (", …" if len(paths) > 5 else "")
            screen.warn(f"{subject.name}: {len(paths)} rows have no label and were left out ({named})")
    return bool(unfinished) or any(subject.predictions.without_truth for subject in subjects)


def _subjects(runs: Sequence[Path], screen: console.Console, settings: dict[str, Any]) -> Iterator[Any]:
    """Yield the subject of each path, a run or a table."""
    from bccli.core.cores import available_cores
    from bccli.core.data.dataset import load_dataset
    from bccli.core.evaluation.subjects import subject_of_run
    from bccli.core.runs.run_folder import load_run

    split = settings["split"] or "test"
    if settings["data"]:
        from bccli.core.evaluation.external import subject_on

        loaded = [load_run(path) for path in runs]
        share(screen, settings, settings["data"])
        dataset = load_dataset(settings["data"])
        for run in loaded:
            workers = settings["workers"] or available_cores()
            yield subject_on(
                run, dataset, vectors=settings["features"], device=settings["device"], workers=workers,
                watcher=screen,
            )  # fmt: skip
        return
    for path in runs:
        if str(path) == "-" or (path.exists() and not path.is_dir()):
            yield _table(path, split, screen, settings)
        else:
            yield subject_of_run(load_run(path), split)


def _table(path: Path, split: str, screen: console.Console, settings: dict[str, Any]) -> Any:
    """The subject of a table; prints a note about rows that are not measured."""
    from bccli.core.data.foreign_tables import text_of
    from bccli.core.evaluation.subjects import about_table, subject_of_table
    from bccli.core.runs.predictions import parse_predictions, read_predictions

    if str(path) == "-":
        with text_of(sys.stdin.buffer) as lines:
            predictions = parse_predictions(lines, "standard input")
    else:
        predictions = read_predictions(path)
    given = click.get_current_context().get_parameter_source("level") != ParameterSource.DEFAULT
    level = settings["level"] if given else None
    subject = subject_of_table(predictions, str(path), split, level=level)
    sentences = about_table(subject, predictions)
    for sentence in sentences:
        screen.note(f"{path}: {sentence}")
    return subject.remarking(sentences)


def _refuse_foreign(folder: Path, *, audit: bool) -> None:
    """Raises DataError where `--output` would overwrite what evaluate has not written."""
    from bccli.core.evaluation.figure_folder import foreign_audit, foreign_figures

    foreign = foreign_audit(folder) if audit else foreign_figures(folder)
    if foreign:
        raise DataError(
            f"{foreign}: is there already, and evaluate did not write it; name another folder with --output"
        )


def _write(
    folder: Path,
    done: Sequence[Any],
    found: dict[str, Any],
    screen: console.Console,
    columns: Sequence[str],
    checklist: Any,
) -> None:
    from bccli.core.evaluation.breasts.units_file import MERGED, UNITS_FILE, write_units
    from bccli.core.evaluation.cautions.doubtful_labels import SUSPECTS_FILE, has_suspects, write_suspects
    from bccli.core.evaluation.plots import draw_all
    from bccli.core.files import write_json

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "figures.json", found)
    console.write_figures(folder, found["runs"], found.get("comparison"), columns)
    if checklist:
        console.write_checklist(folder, checklist)
    for number, entry in enumerate(done, 1):
        own = folder / f"{number:02}" if len(done) > 1 else folder
        draw_all(entry, own)
        if entry.whole.level in MERGED:
            write_units(entry.units, entry.whole.level, own / UNITS_FILE)
            screen.note(f"{own / UNITS_FILE} has a row per {entry.whole.level}")
        if has_suspects(entry):
            likely = write_suspects(entry, own)
            screen.note(
                f"{entry.subject.name}: {likely:,} of {len(entry.units):,} labels are doubtful; "
                f"{own / SUSPECTS_FILE} lists all, the most doubtful first"
            )
    screen.note(f"tables and plots are in {folder}")


def _check_report(settings: dict[str, Any]) -> None:
    """Raises DataError where a report would replace what is none, UsageError where none is asked for."""
    if settings["report"]:
        from bccli.terminal.report.page import refuse_foreign

        refuse_foreign(settings["report"])
    elif settings["without_images"]:
        raise UsageError("--without-images is about a report; name its file with --report FILE.html")


def _report(
    done: Sequence[Any],
    versus: dict[str, Any] | None,
    screen: console.Console,
    settings: dict[str, Any],
    checklist: Any,
) -> None:
    from bccli.core.data.dataset import load_dataset
    from bccli.core.evaluation.report.gather import Wishes, gather
    from bccli.terminal.report.page import write_report

    data = load_dataset(settings["data"]) if settings["data"] else None
    wishes = Wishes(words_of_call(), pictures=not settings["without_images"], data=data)
    write_report(settings["report"], gather(done, wishes, screen), versus, checklist)
    screen.note(f"the report is in {settings['report']}")


def _checklist(done: Sequence[Any], settings: dict[str, Any]) -> Any:
    """The checklist that is asked for, of the only run that was measured."""
    from bccli.core.data.dataset import load_dataset
    from bccli.core.evaluation.checklists.catalogue import fill
    from bccli.core.evaluation.checklists.facts import facts_of

    external = load_dataset(settings["data"]) if settings["data"] else None
    return fill(settings["checklist"], facts_of(done[0], external))


def _audit(paths: tuple[Path, ...], screen: console.Console, settings: dict[str, Any]) -> None:
    from bccli.core.data.audit import audit_all
    from bccli.core.data.dataset import load_dataset

    if settings["data"]:
        raise UsageError("--audit takes prepared datasets where runs stand otherwise; leave --data out")
    for name in ("columns", "report", "checklist"):
        if settings[name]:
            raise UsageError(f"--{name} is about figures, and --audit prints none; leave one out")
    if settings["output"]:
        _refuse_foreign(settings["output"], audit=True)
    datasets = [load_dataset(path) for path in paths]
    for dataset in datasets:
        if not dataset.info.images:
            screen.warn(
                f"{dataset.root}: has no pixels to compare (--no-images), so it is audited by patient"
            )
    findings = list(audit_all(datasets))
    rows = [finding.to_row() for finding in findings]
    shortcuts = list(_shortcuts(datasets, screen, settings["output"]))
    if pairs := [pair for finding in findings for pair in finding.pairs]:
        _list_pairs(pairs, screen, settings["output"])
    if settings["format"] == "json":
        console.show_json({"format": 1, "audits": rows, "shortcuts": shortcuts})
    else:
        console.show_audit(rows, settings["format"])


def _shortcuts(
    datasets: Sequence[Any], screen: console.Console, folder: Path | None
) -> Iterator[dict[str, Any]]:
    """Yield what each trait of each dataset says of the labels; warn of those that say much."""
    from bccli.core.evaluation.cautions.shortcuts import SHORTCUTS_FILE, probe, write_shortcuts

    rows = []
    for dataset in datasets:
        for found in probe(dataset):
            rows.append({"data": str(dataset.root), **found.to_row()})
            if found.is_suspicious:
                screen.warn(f"{dataset.root}: {found.sentence()}")
    if folder:
        write_shortcuts(folder, rows)
        screen.note(f"{folder / SHORTCUTS_FILE} says how well size, border, colour, … alone predict labels")
    yield from rows


def _list_pairs(pairs: Sequence[Any], screen: console.Console, folder: Path | None) -> None:
    from bccli.core.data.audit_pairs import conflict_sentence, conflicts_json, write_pairs

    listed = "--output DIR lists them in DIR/audit.csv"
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        write_pairs(folder / "audit.csv", pairs)
        listed = f"{folder / 'audit.csv'} lists them"
    conflicts = conflicts_json(pairs)
    if conflicts["pairs"]:
        screen.warn(conflict_sentence(conflicts, listed))
