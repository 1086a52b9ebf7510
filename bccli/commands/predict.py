"""`bccli predict`: run + images → labels."""

import sys
from itertools import chain
from pathlib import Path
from typing import Any

import click

from bccli import __version__, console, options
from bccli.core.errors import DataError, UsageError


@click.command()
@click.argument("run", type=options.existing())
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…")
@options.output_format("jsonl")
@click.option(
    "--output", type=options.existing(allow_dash=True), default="-", help="Write here, not to stdout."
)
@click.option(
    "--top", type=click.IntRange(min=1), default=None, help="Only the K most probable classes, by rank."
)
@options.device
@options.batch_size
@options.workers
@click.option("--null/--no-null", help="Paths on standard input end with NUL, not with a line.")
@options.skip_bad
@click.pass_obj
def predict(screen: console.Console, run: Path, inputs: tuple[str, ...], **settings: Any) -> int:
    """Label images with a trained run.

    INPUT is an image, a folder (with all below it), or - for paths on standard input. Raw images get
    exactly the preparation that the run was trained on. An image that cannot be read is a row with its
    error.
    """
    from bccli.core import inference
    from bccli.core.workers import available_cores

    if inputs.count("-") > 1:
        raise UsageError("standard input (-) can be named only once")
    output = settings["output"]
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")
    names = [name for text in inputs for name in _expand(text, settings["null"])]
    images = inference.find_images(names)
    first = next(images, None)
    if first is None:
        raise DataError(f"no images were found in {', '.join(inputs)}; name images or folders that hold some")
    predictor = inference.load_predictor(run, device=settings["device"], verbose=screen.verbose)
    target = "stdout" if str(output) == "-" else output
    classes = ", ".join(predictor.classes)
    screen.note(
        f"bccli {__version__} predict: TensorFlow on {predictor.device}, {run} → {target}, classes {classes}"
    )
    workers = settings["workers"] or available_cores()
    answers = inference.predict(
        predictor, chain([first], images), batch_size=settings["batch_size"], workers=workers
    )
    counted = console.Counted(inference.to_rows(answers, predictor.classes, settings["top"]))
    console.write_rows(counted, settings["format"], output)
    if counted.errors:
        screen.warn(f"{counted.errors} of {counted.total} images have no label; their rows say why")
    return 4 if counted.errors and not settings["skip_bad"] else 0


def _expand(name: str, null: bool) -> list[str]:
    from bccli.core.inference import names_from

    return (
        names_from(sys.stdin.buffer.read().decode("utf-8", "surrogateescape"), null=null)
        if name == "-"
        else [name]
    )
