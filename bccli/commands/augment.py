"""`bccli augment`: prepared dataset → larger prepared dataset."""

from pathlib import Path
from typing import Any

import click

from bccli import __version__
from bccli.core.catalog import nearest
from bccli.core.data.manifest import SPLITS
from bccli.core.errors import UsageError
from bccli.options import common as options
from bccli.options import completion, path_types, value_types
from bccli.options.sharing import share, waiting
from bccli.recipes import RecipeCommand
from bccli.terminal import console


def split_name(text: str) -> str:
    """One of the splits, for `ListType`. Raises click.BadParameter."""
    if text not in SPLITS:
        raise click.BadParameter(f"{text!r} is none of {', '.join(SPLITS)}{nearest(text, SPLITS)}")
    return text


def _list_policies() -> None:
    from bccli.core.augmentation import built_in, find_policy

    policies = [find_policy(name) for name in built_in()]
    console.show_rows(
        [
            {
                "name": policy.name,
                "title": policy.title,
                "operations": ", ".join(one.augmenter for one in policy.operations),
                "paper": policy.paper,
            }
            for policy in policies
        ]
    )


@click.command(cls=RecipeCommand)
@click.argument("data", type=path_types.existing())
@click.argument("out", type=path_types.existing())
@options.recipe
@click.option(
    "--policy",
    type=path_types.policy(),
    metavar="NAME|FILE.toml",
    shell_complete=completion.policies,
    required=True,
    help="What may happen to an image; --list-policies names the built-in ones.",
)
@click.option(
    "--per-image",
    type=click.IntRange(min=1),
    metavar="N",
    default=None,
    help="N augmented copies of every image.  [default: 1]",
)
@click.option(
    "--total",
    type=click.IntRange(min=1),
    metavar="N",
    default=None,
    help="N images in all, originals included, classes as even as can be.",
)
@click.option("--balance/--no-balance", help="Bring each class to the size of the largest.")
@click.option(
    "--splits",
    type=value_types.ListType(split_name, "train,val", fewest=1),
    default=None,
    help="Which splits get augmented copies.  [default: train; with folds, every image]",
)
@options.protocol
@click.option(
    "--ratios",
    type=value_types.RatiosType(),
    default=None,
    help="Shares of train, val and test, with --protocol paper: everything is joined, augmented and then "
    "split image by image.  [default: 80/10/10]",
)
@options.seed
@options.workers
@options.shard
@waiting("makes DATA or OUT")
@click.option(
    "--preview",
    type=path_types.existing(dir_okay=False),
    metavar="FILE.png",
    default=None,
    help="Draw an image of each class with its copies, per operation and for the whole policy; with "
    "--dry-run, too.",
)
@options.dry_run
@options.overwrite
@options.info_flag("--list-policies", _list_policies, "Show the built-in policies, and end.")
@click.pass_obj
def augment(screen: console.Console, data: Path, out: Path, **settings: Any) -> int:
    """Make a larger prepared dataset: the images of one and augmented copies of them, as a policy says.

    DATA is what bccli prepare made, OUT a new folder. An augmented copy depends on the seed, its image and
    its number only. Prints the images per split and class, and how many of them are copies.
    """
    from bccli.core.cores import available_cores
    from bccli.core.data.leakage import leak_sentences
    from bccli.core.files import replacing
    from bccli.core.preparation import augment as augmenting
    from bccli.core.runs.shard import Shard

    shard = Shard(*settings["shard"] or (1, 1))
    options.refuse_overwriting_shards(settings)
    workers = settings["workers"] or available_cores()
    share(screen, settings, data)
    work = augmenting.plan_augmentation(
        _request(data, settings), out, workers=workers, shard=shard, watcher=screen
    )
    if settings["preview"]:
        with replacing(settings["preview"], through=True) as stream:
            stream.write(augmenting.preview(work))
    if settings["dry_run"]:
        console.show_rows(work.counts())
        estimate = work.foresee()
        screen.note(estimate.sentence())
        if warning := estimate.warning():
            screen.warn(warning)
        return 0
    policy = settings["policy"]
    screen.note(f"bccli {__version__} augment {policy}: {data} → {out}, {workers} workers")
    info = augmenting.augment(work, overwrite=settings["overwrite"])
    if info is not None:
        console.show_counts(info.counts)
        for sentence in leak_sentences(info.audit):
            screen.warn(sentence)
    return 0


def _request(data: Path, settings: dict[str, Any]) -> Any:
    from bccli.core.augmentation import find_policy
    from bccli.core.augmentation.copy_counts import Amount
    from bccli.core.preparation.augment_request import Request

    given = [name for name in ("per_image", "total", "balance") if settings[name]]
    if len(given) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in given[:2])
        raise UsageError(f"{first} and {second} contradict each other; leave one out")
    paper = settings["protocol"] == "paper"
    if paper and settings["splits"]:
        raise UsageError("--splits: --protocol paper joins all splits; leave one of them out")
    if str(settings["preview"]) == "-":
        raise UsageError("--preview -: stdout carries the table; name a PNG file")
    if settings["ratios"] and not paper:
        raise UsageError("--ratios splits anew, which only --protocol paper does; leave it out")
    return Request(
        data,
        find_policy(settings["policy"]),
        Amount(settings["per_image"] or 1, settings["total"] or 0, settings["balance"]),
        splits=settings["splits"] or (),
        protocol=settings["protocol"],
        ratios=settings["ratios"] or Request.ratios,
        seed=settings["seed"],
    )
