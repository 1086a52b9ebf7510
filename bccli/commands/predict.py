"""`bccli predict`: run + images → labels."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import click

from bccli import __version__
from bccli.core.cores import available_cores
from bccli.core.errors import DataError, UsageError
from bccli.options import common as options
from bccli.options import path_types, sharing
from bccli.terminal import console


@dataclass(frozen=True)
class _Written:
    """How many rows there are, how many of them have an error, and how many were made now in so long.

    There are none at all where it is left to another task to write them.
    """

    errors: int
    total: int
    fresh: int
    seconds: float


@click.command()
@click.argument("run", type=path_types.existing())
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…")
@options.output_format("jsonl", "geojson")
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
    help="Masks of the images, by their names, for a run that was trained with --roi crop or mask, and for "
    "--explain. A tree may look for the regions of images without one.",
)
@click.option(
    "--explain",
    type=path_types.existing(),
    metavar="DIR",
    default=None,
    help="Write an overlay of each image to DIR that shows what speaks for its label, and DIR/index.html; "
    "further columns are peak_x,peak_y in pixels of the image, and inside_mask with --mask-dir.",
)
@click.option(
    "--boxes/--no-boxes",
    help="Of a run with --head detector, add the column boxes: left,top,right,bottom,score of each lesion "
    "that it finds, in pixels of the image, the surest first, with semicolons between. With --format "
    "geojson, a polygon for each.",
)
@options.device
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=None,
    show_default="8, and up to 32 of a small --size",
    help="Images per step; where there are several GPUs, on each of them.",
)
@options.workers
@options.shard
@sharing.waiting("writes FILE")
@click.option("--null/--no-null", help="Paths on standard input end with NUL, not with a line.")
@options.skip_bad
@click.option("--overwrite/--no-overwrite", help="Replace the file that --output names, whatever it holds.")
@click.pass_obj
def predict(screen: console.Console, run: Path, inputs: tuple[str, ...], **settings: Any) -> int:
    """Label images with a trained run.

    INPUT is an image, a folder (with all below it), or - for paths on standard input. Raw images get
    exactly the preparation that the run was trained on. An image that cannot be read is a row with its
    error. With --output FILE, the same command again continues what was interrupted, and with --shard
    several tasks answer together: the last to end writes FILE and has the exit code for all inputs, the
    others end with 0.
    """
    from bccli.core.imaging.remarks import Remarks
    from bccli.core.prediction.decisions import Tally
    from bccli.core.prediction.image_paths import LeftOut
    from bccli.core.prediction.predictor import images_per_step

    output, runs, remarks, left_out = settings["output"], (run, *settings["ensemble"]), Remarks(), LeftOut()
    tally = Tally()
    _check(inputs, settings)
    _check_detects(runs, settings)
    wanted = _wanted(runs, settings)
    if "-" in inputs and _is_typed():
        end = "NUL each" if settings["null"] else "one a line"
        screen.note(f"waiting for paths of images, {end}; Ctrl-D ends them")
    images = _find(inputs, left_out, null=settings["null"], vectors=bool(wanted), run=run)
    several = images.at_least(2)
    settings["batch_size"] = settings["batch_size"] or (8 if "-" in inputs else images_per_step(runs))
    file = _output_file(screen, runs, settings)
    if file and (errors := file.errors_if_complete(images)) is not None:
        _check_overlays(output, settings["explain"])
        screen.note(f"{output} is complete; nothing to do")
        return _ended(screen, errors, 0, settings)
    pages = _pages(runs, settings)
    with file.held() if file else nullcontext():
        predictor = _load(screen, runs, images, inputs, settings)
        if file:
            file.look(images)
        _announce(screen, predictor, runs, file, output)
        written = _write(predictor, images, file, settings, pages, remarks, tally, wanted)
    if several and written.fresh:
        what = "patches" if predictor.by_patch else "rows" if wanted else "images"
        screen.note(
            f"{written.fresh} {what} in {written.seconds:.2f} s "
            f"({written.fresh / written.seconds:.0f} a second)"
        )
    if not written.total:
        return 0
    if pages:
        screen.note(f"{settings['explain']}: {pages.counted()}; index.html shows all")
        if pages.pointing.images:
            screen.note(pages.pointing.sentence())
    if decided := tally.decided():
        screen.note(f"decisions: {decided}")
    for sentence in (*_remarks_of(predictor, remarks, tally), *left_out.sentences()):
        screen.warn(sentence)
    return _ended(screen, written.errors, written.total, settings)


def _pages(runs: tuple[Path, ...], settings: dict[str, Any]) -> Any:
    """The pages that show the overlays; None where none are asked for."""
    if not settings["explain"]:
        return None
    from bccli.terminal.explanation_pages import ExplanationPages

    pages = ExplanationPages(settings["explain"], tuple(map(str, runs)))
    pages.begin()
    return pages


def _check_overlays(output: Path, folder: Path | None) -> None:
    """Raises DataError where a complete file has no overlays any more."""
    if folder:
        from bccli.terminal.explanation_pages import holds_overlays

        if not holds_overlays(folder):
            raise DataError(
                f"{output}: is complete, but its overlays are not in {folder}; "
                "pass --overwrite to make both again"
            )


def _announce(
    screen: console.Console, predictor: Any, runs: tuple[Path, ...], file: Any, output: Path
) -> None:
    """The start line, and what is there already."""
    target = "stdout" if str(output) == "-" else output
    screen.note(
        f"bccli {__version__} predict: {predictor.device}, {' + '.join(map(str, runs))} → {target}, "
        f"classes {', '.join(predictor.classes)}"
    )
    if file and file.answered:
        screen.note(f"continuing after {file.answered:,} images")


def _ended(screen: console.Console, errors: int, total: int, settings: dict[str, Any]) -> int:
    """Say how many images have an error, where there are any; returns the exit code."""
    if errors:
        of = f" of {total}" if total else ""
        screen.warn(f"{errors}{of} images have no label; their rows say why")
    return 4 if errors and not settings["skip_bad"] else 0


def _output_file(screen: console.Console, runs: tuple[Path, ...], settings: dict[str, Any]) -> Any:
    """The file that is continued, by this command alone or by several tasks; None for stdout, and for what is
    no regular file, such as a pipe."""
    if not _is_file(settings["output"]):
        return None
    from bccli.core.prediction.output_file import OutputFile
    from bccli.core.prediction.question import Question
    from bccli.core.runs.run_folder import load_run

    sharing.share(screen, settings)
    for run in runs:
        load_run(run)
    options, format = {name: settings[name] for name in ("top", "tta", "level")}, settings["format"]
    if settings["boxes"]:
        options["boxes"] = True
    masks = settings["mask_dir"] and str(settings["mask_dir"])
    if settings["explain"]:
        options["explain"] = str(settings["explain"])
    question = Question.about(runs, **options, mask_dir=masks, format="csv" if format == "auto" else format)
    file = OutputFile(settings["output"], question, settings["batch_size"], settings["overwrite"])
    return _shared(screen, file, settings) if settings["shard"] or file.plan.exists() else file


def _is_file(output: Path) -> bool:
    return str(output) != "-" and (output.is_file() or not output.exists())


def _shared(screen: console.Console, file: Any, settings: dict[str, Any]) -> Any:
    """The file that several tasks write: this is one of them, or collects what they have left."""
    from bccli.core.prediction.shared_output import SharedOutput
    from bccli.core.runs.shard import Shard

    return SharedOutput(file, Shard(*settings["shard"]) if settings["shard"] else None, screen)


def _write(
    predictor: Any,
    images: Iterator[str],
    file: Any,
    settings: dict[str, Any],
    pages: Any,
    remarks: Any,
    tally: Any,
    wanted: Any,
) -> _Written:
    """Answer for the images and write all rows, of an output file those that it has kept, too."""
    from bccli.core.prediction.file_predictions import remarked

    answers = _answers(predictor, settings, wanted)
    times, counted = [time.monotonic()], console.Counted(())

    def write(entries: Iterable[Any]) -> int:
        nonlocal counted
        times.append(time.monotonic())
        rows = tally.through(row for entry in remarked(entries, remarks) for row in entry.rows)
        counted = console.Counted(pages.through(rows) if pages else rows)
        format, output = settings["format"], settings["output"]
        console.write_predictions(
            counted,
            predictor.classes,
            format,
            output,
            positive=predictor.positive,
            patch=predictor.patch_size,
        )
        if pages:
            pages.finish()
        return counted.errors

    if file:
        file.work(answers, write)
        answered = times[1] if len(times) > 1 else time.monotonic()
        return _Written(counted.errors, counted.total, file.fresh, answered - times[0])
    write(answers(images))
    return _Written(counted.errors, counted.total, counted.total, time.monotonic() - times[0])


def _answers(predictor: Any, settings: dict[str, Any], wanted: Any) -> Any:
    """What makes rows of the names of images, or of files of vectors."""
    if wanted:
        from bccli.core.prediction.of_vectors.file_answers import rows_of_vectors

        return partial(rows_of_vectors, predictor, wanted=wanted, top=settings["top"])
    from bccli.core.prediction.file_predictions import rows_of_images

    workers = settings["workers"] or available_cores()
    return partial(rows_of_images, predictor, top=settings["top"], workers=workers)


def _wanted(roots: tuple[Path, ...], settings: dict[str, Any]) -> Any:
    """The vectors that runs know; None where they know images.

    Raises UsageError for options about pixels, DataError where the runs differ.
    """
    from bccli.core.runs.run_folder import load_run

    runs = [load_run(root) for root in roots]
    if not any(run.info.vectors for run in runs):
        return None
    from bccli.core.prediction.of_vectors.entries import Wanted

    if other := next((run for run in runs if not run.info.vectors), None):
        raise DataError(f"{other.root}: knows images, and others know vectors only; leave --ensemble out")
    about_pixels = {name: settings[name] for name in ("tta", "explain", "mask_dir")}
    about_pixels["level"] = settings["level"] == "patch"
    for name, given in about_pixels.items():
        if given:
            raise UsageError(
                f"--{name.replace('_', '-')} is about pixels, and {roots[0]} knows vectors only; leave it out"
            )
    return Wanted.by(runs)


def _check(inputs: tuple[str, ...], settings: dict[str, Any]) -> None:
    output = settings["output"]
    if inputs.count("-") > 1:
        raise UsageError("standard input (-) can be named only once")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")
    if settings["format"] == "geojson" and settings["level"] != "patch" and not settings["boxes"]:
        raise UsageError(
            "--format geojson shows where patches or lesions lie; add --level patch, or --boxes of a run "
            "with --head detector"
        )
    if settings["boxes"] and settings["top"] is not None:
        raise UsageError("--top has no columns but classes, and --boxes adds one; leave one out")
    if settings["explain"] and settings["level"] == "patch":
        raise UsageError("--explain shows whole images, and --level patch labels patches; leave one out")
    if settings["explain"]:
        _check_folder_of_overlays(inputs, settings["explain"], output)
    if settings["shard"] and not _is_file(output):
        raise UsageError("--shard needs --output FILE, which all tasks write together; add it")
    options.refuse_overwriting_shards(settings)


def _check_detects(roots: tuple[Path, ...], settings: dict[str, Any]) -> None:
    """Raises UsageError where boxes are asked of what finds none, or of several detectors."""
    if not settings["boxes"]:
        return
    from bccli.core.runs.run_folder import load_run

    if len(roots) > 1:
        raise UsageError("--boxes are those of one detector; leave --ensemble out")
    if (kind := load_run(roots[0]).info.kind_within) != "detector":
        raise UsageError(
            f"--boxes: {roots[0]} is a {kind}, which says what an image shows and not where; name a run with "
            "--head detector"
        )


def _check_folder_of_overlays(inputs: tuple[str, ...], folder: Path, output: Path) -> None:
    """Raises UsageError where overlays would be taken for images, or pages for the table."""
    from bccli.core.prediction.image_paths import folder_around

    if around := folder_around(folder, inputs):
        raise UsageError(
            f"--explain {folder}: lies in {around}, of which all images are labelled, overlays as well; "
            "name a folder outside of it"
        )
    if output.resolve().parent == folder.resolve() and output.suffix in (".html", ".png"):
        raise UsageError(
            f"--output {output}: --explain writes files of this kind there; name another folder for one"
        )


def _find(
    inputs: tuple[str, ...], left_out: Any, *, null: bool, vectors: bool = False, run: Path = Path()
) -> Any:
    """All images, or files of vectors, as they come. Raises DataError where there is none."""
    from bccli.core.prediction.image_paths import Upcoming, images_named

    if vectors:
        from bccli.core.prediction.of_vectors.file_answers import find_vector_files

        files = Upcoming(find_vector_files(_names(inputs, null), run))
        files.at_least(1)
        return files
    return images_named(_names(inputs, null), left_out, named=", ".join(inputs))


def _load(
    screen: console.Console,
    runs: tuple[Path, ...],
    images: Any,
    inputs: tuple[str, ...],
    settings: dict[str, Any],
) -> Any:
    """The predictor of the runs; nobody waits for more than two names on standard input before it answers."""
    from bccli.core.prediction.predictor import load_predictor, with_masks

    predictor = load_predictor(
        runs,
        device=settings["device"],
        single=not images.at_least(2) and not settings["tta"],
        at_least=None if "-" in inputs else images.at_least,
        by_patch=settings["level"] == "patch",
        step=settings["batch_size"],
        verbose=screen.verbose,
        watcher=screen,
    )
    explaining = _explaining(settings["explain"])
    predictor = replace(
        predictor,
        tta=settings["tta"],
        explaining=explaining,
        boxes=settings["boxes"],
    )
    return with_masks(_deciding(predictor, screen), runs[0], settings["mask_dir"], screen)


def _explaining(folder: Path | None) -> Any:
    """How images are explained; None where that is not asked for."""
    if not folder:
        return None
    from bccli.core.prediction.explanations import Explaining

    return Explaining(folder)


def _deciding(predictor: Any, screen: console.Console) -> Any:
    """The predictor without decisions where they do not hold: what was locked on plain answers says nothing
    of those that are averaged over flips."""
    if not predictor.tta or not predictor.decisions.columns:
        return predictor
    from bccli.core.prediction.decisions import NO_DECISIONS

    named = " and ".join(predictor.decisions.columns)
    screen.note(f"thresholds were locked without --tta, so there is no column {named}")
    return replace(predictor, decisions=NO_DECISIONS)


def _remarks_of(predictor: Any, remarks: Any, tally: Any) -> Iterator[str]:
    """The warnings that follow the predictions of all images."""
    from bccli.core.datasets.verification import Remark

    if remarks.count:
        yield f"{remarks}; look at their labels"
    if unlike := tally.warning():
        yield unlike
    if predictor.masks and (scaled := predictor.masks.scaled):
        yield Remark("mask_scaled", len(scaled), scaled[:3]).sentence()


def _is_typed() -> bool:
    """Whether somebody sits at the other end of standard input."""
    return sys.stdin.isatty()


def _names(inputs: tuple[str, ...], null: bool) -> Iterator[str]:
    from bccli.core.prediction.image_paths import names_from

    for name in inputs:
        yield from names_from(cast(BufferedReader, sys.stdin.buffer), null=null) if name == "-" else [name]
