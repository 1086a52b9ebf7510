"""`bccli predict`: run + images → labels."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import click

from bccli import __version__
from bccli.core.cores import available_cores
from bccli.core.errors import DataError, UsageError
from bccli.options import common as options
from bccli.options import path_types
from bccli.terminal import console


@click.command()
@click.argument("run", type=path_types.existing())
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…")
@options.output_format("jsonl")
@click.option(
    "--output", type=path_types.existing(allow_dash=True), default="-", help="Write here, not to stdout."
)
@click.option(
    "--top", type=click.IntRange(min=1), default=None, help="Only the K most probable classes, by rank."
)
@click.option("--tta/--no-tta", help="Average the answers to an image's flips and turns by right angles.")
@click.option(
    "--ensemble",
    type=path_types.existing(),
    multiple=True,
    metavar="RUN",
    help="Average with the probabilities of this run too; repeatable.",
)
@click.option(
    "--level",
    type=click.Choice(["image", "patch"]),
    default="image",
    show_default=True,
    help="Answer for each image, or for each patch of it, with its row and column in pixels.",
)
@click.option(
    "--mask-dir",
    type=path_types.existing(),
    metavar="DIR",
    default=None,
    help="Masks of the images, by their names, for a run that was trained with --roi crop or mask. A tree "
    "may look for the regions of images without one.",
)
@options.device
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Images per step."
)
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
    from bccli.core.imaging.remarks import Remarks
    from bccli.core.prediction.file_predictions import predict as predict_files
    from bccli.core.prediction.file_predictions import remarked, to_rows
    from bccli.core.prediction.image_paths import LeftOut

    output, runs, remarks, left_out = settings["output"], (run, *settings["ensemble"]), Remarks(), LeftOut()
    _check(inputs, output)
    first, images = _find(inputs, left_out, null=settings["null"])
    predictor = _with_masks(screen, _load(screen, runs, len(first), settings), run, settings["mask_dir"])
    classes = ", ".join(predictor.classes)
    target = "stdout" if str(output) == "-" else output
    screen.note(
        f"bccli {__version__} predict: {predictor.device}, {' + '.join(map(str, runs))} → {target}, "
        f"classes {classes}"
    )
    started = time.monotonic()
    answers = predict_files(predictor, images, workers=settings["workers"] or available_cores())
    rows = to_rows(
        remarked(answers, remarks),
        predictor.classes,
        settings["top"],
        by_patch=predictor.by_patch,
        columns=() if predictor.by_patch else predictor.shown,
    )
    counted = console.Counted(rows)
    console.write_predictions(
        counted, predictor.classes, settings["format"], output, positive=predictor.positive
    )
    seconds = time.monotonic() - started
    if len(first) > 1:
        what = "patches" if predictor.by_patch else "images"
        screen.note(f"{counted.total} {what} in {seconds:.2f} s ({counted.total / seconds:.0f} a second)")
    for sentence in (*_remarks_of(predictor, remarks), *left_out.sentences()):
        screen.warn(sentence)
    if counted.errors:
        screen.warn(f"{counted.errors} of {counted.total} images have no label; their rows say why")
    return 4 if counted.errors and not settings["skip_bad"] else 0


def _check(inputs: tuple[str, ...], output: Path) -> None:
    if inputs.count("-") > 1:
        raise UsageError("standard input (-) can be named only once")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")


def _find(inputs: tuple[str, ...], left_out: Any, *, null: bool) -> tuple[list[str], Iterator[str]]:
    """The first two images at most, and all of them. Raises DataError where there is none."""
    from bccli.core.prediction.image_paths import find_images

    images = find_images(_names(inputs, null), left_out)
    first = list(islice(images, 2))
    if not first:
        others = f" ({'; '.join(left_out.sentences())})" if left_out.others else ""
        raise DataError(
            f"no images were found in {', '.join(inputs)}{others}; name images or folders that hold some"
        )
    return first, chain(first, images)


def _load(screen: console.Console, runs: tuple[Path, ...], count: int, settings: dict[str, Any]) -> Any:
    """The predictor of the runs; `count` is 1 where there is only one image."""
    from bccli.core.prediction.predictor import load_predictor

    predictor = load_predictor(
        runs,
        device=settings["device"],
        single=count == 1 and not settings["tta"],
        by_patch=settings["level"] == "patch",
        verbose=screen.verbose,
        watcher=screen,
    )
    return replace(predictor, tta=settings["tta"], step=settings["batch_size"])


def _remarks_of(predictor: Any, remarks: Any) -> Iterator[str]:
    """The warnings that follow the predictions of all images."""
    from bccli.core.datasets.verification import Remark

    if remarks.count:
        yield f"{remarks}; look at their labels"
    if predictor.masks and (scaled := predictor.masks.scaled):
        yield Remark("mask_scaled", len(scaled), scaled[:3]).sentence()


def _with_masks(screen: console.Console, predictor: Any, run: Path, folder: Path | None) -> Any:
    """The predictor with the masks that it needs."""
    from bccli.core.prediction.masks import Masks

    if not predictor.needs_masks:
        if folder:
            screen.warn(f"{run} was trained without masks; --mask-dir is not used")
        return predictor
    if folder is None and predictor.finds_regions:
        screen.note(f"{run} classifies regions of images; it looks for them, as no --mask-dir shows them")
        return predictor
    if folder is None:
        raise UsageError(
            f"{run}: was trained on regions that masks mark, and an image alone does not show them; "
            "add --mask-dir DIR with a mask of the same name for each image"
        )
    return replace(predictor, masks=Masks(folder, contours=predictor.contours))


def _names(inputs: tuple[str, ...], null: bool) -> Iterator[str]:
    from bccli.core.prediction.image_paths import names_from

    for name in inputs:
        yield from names_from(cast(BufferedReader, sys.stdin.buffer), null=null) if name == "-" else [name]
