"""The options of `prepare` alone: which images, how they are split, and what is done to them."""

from pathlib import Path
from typing import Any

import click

from bccli.options import common, completion, path_types, value_types


class PatientsType(click.Path):
    """A number of patients, or a file that lists them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = int(str(value))
        except ValueError:
            return Path(str(value))
        if number < 1:
            self.fail(f"{value!r} is not a number of patients from 1 on", param, ctx)
        return number


def magnification(text: str) -> str:
    """40 for 40, 40x, 40X or 40×, for `ListType`. Raises ValueError."""
    return str(value_types.positive(text.rstrip("xX×")))


_OPTIONS = (
    click.option(
        "--task",
        metavar="NAME",
        shell_complete=completion.tasks,
        default="",
        help="What is asked, such as subtypes.  [default: the dataset's first]",
    ),
    click.option(
        "--magnification",
        type=value_types.ListType(magnification, "40,100", fewest=1),
        default=(),
        help="Only these (breakhis, databiox).",
    ),
    click.option(
        "--sample",
        type=value_types.CountType(),
        metavar="N|all",
        default=None,
        help="Draw N images before the split, or take all though a recipe draws some.",
    ),
    click.option(
        "--split-by",
        type=click.Choice(["patient", "image", "magnification", "official"]),
        default=None,
        help="What may not cross a split; official is the dataset's own split.  "
        "[default: official where the data has one, else patient]",
    ),
    click.option(
        "--ratios",
        type=value_types.RatiosType(),
        default="70/20/10",
        show_default=True,
        help="Shares of train, val and test.",
    ),
    click.option(
        "--test-patients",
        type=value_types.ListType(str, "ID,ID", fewest=1),
        default=(),
        help="Exactly these are test.",
    ),
    click.option(
        "--test-magnification",
        type=value_types.ListType(magnification, "40", fewest=1),
        default=(),
        help="What is test with --split-by magnification.",
    ),
    click.option(
        "--holdout",
        type=click.IntRange(min=1),
        metavar="N",
        default=None,
        help="N images are test: whole patients until there are so many; with --split-by image exactly N, "
        "and the first files of each class are val.",
    ),
    click.option(
        "--folds", type=click.IntRange(min=3), default=None, help="Folds for cross-validation, not splits."
    ),
    click.option(
        "--keep",
        type=value_types.ShareType(),
        multiple=True,
        help="Leave out the rest of a class in train; repeatable.",
    ),
    click.option(
        "--size",
        type=value_types.SizeType("mean"),
        default=None,
        help="Bring every image to this size; mean: the mean width and height of train.",
    ),
    click.option(
        "--fit",
        type=click.Choice(["stretch", "pad", "crop"]),
        default="stretch",
        show_default=True,
        help="How --size treats another aspect ratio.",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(["auto", "nearest", "linear", "area", "cubic", "lanczos"]),
        default="auto",
        show_default=True,
        help="How --size makes pixels of others: auto is area where an image shrinks both ways, else cubic; "
        "masks take the nearest one always.",
    ),
    click.option(
        "--center-crop",
        type=value_types.SizeType(),
        default=None,
        help="Of the sized image, only the middle.",
    ),
    click.option(
        "--aspect",
        type=value_types.RangeType(),
        default=None,
        help="Leave out images or regions whose width over height lies outside.",
    ),
    click.option(
        "--clahe/--no-clahe", help="Equalise the contrast in tiles (CLAHE); the image becomes grey."
    ),
    click.option(
        "--clahe-clip",
        type=value_types.FiniteType(0, 256, min_open=True),
        default=2.0,
        show_default=True,
        help="With --clahe, how many times the mean a bin of a tile's histogram may hold.",
    ),
    click.option(
        "--clahe-tiles",
        type=click.IntRange(1, 64),
        metavar="N",
        default=8,
        show_default=True,
        help="With --clahe, N×N tiles.",
    ),
    click.option("--denoise/--no-denoise", help="Remove noise at the end (non-local means); in grey."),
    click.option(
        "--denoise-strength",
        type=value_types.FiniteType(0, 255, min_open=True),
        default=3.0,
        show_default=True,
        help="With --denoise, how different pixels may look that are averaged, in grey levels.",
    ),
    click.option(
        "--denoise-template",
        type=value_types.OddType(1, 99),
        default=7,
        show_default=True,
        help="With --denoise, side in pixels of the surroundings that are compared, an odd number.",
    ),
    click.option(
        "--denoise-search",
        type=value_types.OddType(1, 99),
        default=21,
        show_default=True,
        help="With --denoise, side in pixels of the window that is searched, an odd number.",
    ),
    click.option(
        "--roi",
        type=click.Choice(["none", "crop", "mask"]),
        default="none",
        show_default=True,
        help="What masks are for: crop cuts out their bounding box, mask blackens the rest; in grey.",
    ),
    click.option(
        "--margin",
        type=click.IntRange(0, value_types.MAX_SIDE),
        metavar="N",
        default=0,
        show_default=True,
        help="Pixels around the box that --roi crop cuts out.",
    ),
    click.option(
        "--context",
        type=value_types.FiniteType(0, 10),
        metavar="SHARE",
        default=0.0,
        show_default=True,
        help="By which share of its size the box that --roi crop cuts out grows, half on either side: 0.5 "
        "makes it half as wide and high again. It ends at the image's edge, and is then not centred.",
    ),
    click.option(
        "--stain",
        type=click.Choice(["none", "macenko", "reinhard", "vahadane"]),
        default="none",
        show_default=True,
        help="Normalise the stain of every image to a target.",
    ),
    click.option(
        "--stain-target",
        type=path_types.FileOr("reference"),
        metavar="FILE|reference",
        default=None,
        help="The image to look like; reference: the stains of Macenko's authors.  "
        "[default: the median of train]",
    ),
    click.option(
        "--patch",
        type=click.IntRange(min=1),
        metavar="N",
        default=None,
        help="Cut into patches of N×N pixels.",
    ),
    click.option(
        "--stride",
        type=click.IntRange(min=1),
        metavar="N",
        default=None,
        help="Pixels from patch to patch.  [default: side by side]",
    ),
    click.option(
        "--min-tissue",
        type=value_types.FiniteType(0, 1),
        metavar="SHARE",
        default=0.0,
        help="Only patches with so much tissue, 0 to 1.",
    ),
    click.option(
        "--min-nuclei",
        type=value_types.FiniteType(0, 1),
        metavar="SHARE",
        default=0.0,
        help="Only patches with so many pixels of nuclei, 0 to 1.",
    ),
    click.option(
        "--min-breast",
        type=value_types.FiniteType(0, 1),
        metavar="SHARE",
        default=0.0,
        help="Only patches with so much of the breast's outline on a mammogram, 0 to 1; letters and white "
        "edges do not belong to it.",
    ),
    click.option(
        "--to-edges/--no-to-edges",
        help="With --patch, let the last patches end at the right and bottom edge, so that no strip of the "
        "image is left out; they overlap with those before.",
    ),
    click.option(
        "--group-similar/--no-group-similar",
        default=True,
        show_default=True,
        help="Keep images of unknown patients that look alike in one split or fold; under honest.",
    ),
    click.option(
        "--conflicts",
        type=click.Choice(["keep", "drop"]),
        default="keep",
        show_default=True,
        help="Images that show one picture under several labels.",
    ),
    click.option(
        "--pack/--no-pack",
        default=False,
        show_default=True,
        help="Also store all pixels in one array for each image size: training reads small images faster.",
    ),
    click.option(
        "--images/--no-images",
        default=True,
        show_default=True,
        help="Whether the images that the table names are here; without, their rows alone become a dataset, "
        "to train on vectors with --features (csv).",
    ),
    click.option(
        "--positive",
        metavar="NAME",
        default=None,
        help="The positive class.  [default: the graver one as far as the names say, else the last]",
    ),
    click.option(
        "--metadata",
        type=path_types.existing(),
        metavar="FILE",
        default=None,
        help="A table (CSV, TSV, XLSX) whose columns become metadata: its column path, source or patient "
        "says which images a row is about.",
    ),
    click.option(
        "--metadata-key",
        metavar="[patient=|path=]COLUMN",
        default=None,
        help="With --metadata, the column that says so, where that has another name or there are several.",
    ),
    click.option("--patient-regex", metavar="RE", default=None, help="Finds the patient in a path (folder)."),
    click.option(
        "--count", type=click.IntRange(min=1), default=240, show_default=True, help="Images (phantom)."
    ),
    click.option(
        "--patients",
        type=PatientsType(),
        metavar="N|FILE",
        default=24,
        show_default=True,
        help="How many patients (phantom), or a CSV of image,patient (bach, folder).",
    ),
)


def preparation_options(command: common.Function) -> common.Function:
    """Give a command all of them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
