"""`bccli evaluate`: runs or predictions → figures."""

import sys
from pathlib import Path
from typing import Any

import click

from bccli import console, options
from bccli.core.errors import UsageError


@click.command()
@click.argument(
    "runs", nargs=-1, required=True, type=options.existing(allow_dash=True), metavar="RUN|predictions.csv…"
)
@click.option(
    "--data",
    type=options.existing(),
    default=None,
    metavar="DATA",
    help="Evaluate on all images of this prepared dataset, audited against what the run has seen.",
)
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    default=None,
    help="Which of a run's images; a table without splits is taken whole.  [default: test]",
)
@click.option("--positive", metavar="NAME", default=None, help="The positive class.  [default: the run's]")
@options.device
@options.workers
@options.output_format()
@click.pass_obj
def evaluate(
    screen: console.Console, runs: tuple[Path, ...], data: Path | None, split: str | None, **settings: Any
) -> None:
    """Print the figures of runs, or of any tool's predictions.

    A table of predictions is a CSV with path,label and p_<class> columns (or predicted), patients where
    they are known; - reads it from standard input.
    """
    from bccli.core.evaluation import figures_json

    if data and split:
        raise UsageError("--split is for a run's own images, and --data takes all of DATA; leave one out")
    chosen = split or "test"
    figures = (
        _on_other_data(runs, data, screen, settings)
        if data
        else [_evaluate(path, chosen, settings["positive"]) for path in runs]
    )
    found = figures_json(figures)
    if settings["format"] == "json":
        console.show_json(found)
    else:
        console.show_figures(found["runs"], settings["format"])


def _on_other_data(  # type: ignore[no-untyped-def]
    runs: tuple[Path, ...], data: Path, screen: console.Console, settings: dict[str, Any]
):
    from bccli.core.cores import available_cores
    from bccli.core.external import evaluate_on
    from bccli.core.prepared import load_dataset
    from bccli.core.runs import load_run

    loaded = [load_run(path) for path in runs]
    dataset = load_dataset(data)
    options = {"device": settings["device"], "positive": settings["positive"], "watcher": screen}
    workers = settings["workers"] or available_cores()
    return [evaluate_on(run, dataset, workers=workers, **options) for run in loaded]


def _standard_input() -> str:
    return sys.stdin.buffer.read().decode("utf-8-sig", "surrogateescape")


def _evaluate(path: Path, split: str, positive: str | None):  # type: ignore[no-untyped-def]
    from bccli.core.evaluation import evaluate_predictions, evaluate_run
    from bccli.core.predictions import parse_predictions, read_predictions
    from bccli.core.runs import load_run

    if str(path) == "-":
        return evaluate_predictions(
            parse_predictions(_standard_input(), "standard input"), "-", split, positive=positive
        )
    if path.exists() and not path.is_dir():
        return evaluate_predictions(read_predictions(path), str(path), split, positive=positive)
    return evaluate_run(load_run(path), split, positive=positive)
