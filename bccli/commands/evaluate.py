"""`bccli evaluate`: runs or predictions → figures."""

import sys
from pathlib import Path

import click

from bccli import console, options


@click.command()
@click.argument(
    "runs", nargs=-1, required=True, type=options.existing(allow_dash=True), metavar="RUN|predictions.csv…"
)
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    default="test",
    show_default=True,
    help="Which images; a table of predictions without splits is taken whole.",
)
@click.option("--positive", metavar="NAME", default=None, help="The positive class.  [default: the run's]")
@options.output_format()
def evaluate(runs: tuple[Path, ...], split: str, positive: str | None, format: str) -> None:
    """Print the figures of runs, or of any tool's predictions.

    A table of predictions is a CSV with path,label and p_<class> columns (or predicted), patients where
    they are known; - reads it from standard input.
    """
    from bccli.core.evaluation import figures_json

    found = figures_json([_evaluate(path, split, positive) for path in runs])
    if format == "json":
        console.show_json(found)
    else:
        console.show_figures(found["runs"], format)


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
