"""Heads that see a lesion and its surroundings: how much of these the preparation of the data has left."""

from dataclasses import replace

from bccli.core.data.dataset import Dataset
from bccli.core.errors import DataError, UsageError
from bccli.core.models.extractors import sees_surroundings
from bccli.core.models.heads import Head

_ADVICE = "prepare the data with --roi crop --context 0.5"


def with_surroundings(head: Head, dataset: Dataset) -> Head:
    """The same head, which now knows how much of a dataset's images is around their lesions.

    A head of a run that is trained further has to find as much as there. Raises DataError where there are no
    surroundings, or others, or a lesion is not to be found in the middle of an image.
    """
    if not sees_surroundings(head.kind):
        return head
    context = _context_of(head.kind, dataset)
    if head.context not in (0, context):
        raise DataError(
            f"{dataset.root}: was prepared with --context {context:g}, and the run with {head.context:g}, "
            "whose lesions are larger or smaller in their images; prepare the data like the run's"
        )
    return replace(head, context=context)


def _context_of(kind: str, dataset: Dataset) -> float:
    preparation = dataset.preparation
    region, what = preparation.region, f"{dataset.root}: --head {kind} sees a lesion and what is around it"
    if region is None or region.roi != "crop":
        raise DataError(f"{what}, and the images are no crops of lesions; {_ADVICE}")
    if not region.context:
        raise DataError(
            f"{what}, and the crops have no surroundings, so both views would be the same; {_ADVICE}"
        )
    cut = {
        "--patch": preparation.patches is not None,
        "--center-crop": preparation.centre is not None,
        "--fit crop": preparation.fit == "crop",
    }
    for option, found in cut.items():
        if found:
            raise DataError(
                f"{what}, and with {option} a lesion does not lie in the middle of an image with a share of "
                f"{region.context:g} around it; prepare the data without {option}"
            )
    return region.context


def refuse_surroundings(head: Head, what: str) -> None:
    """Raises UsageError for a head that asks a backbone for two views, on `what` is none of the table."""
    if sees_surroundings(head.kind):
        raise UsageError(
            f"--head {head.kind} shows a backbone two views of an image, and {what} one; leave it out, or "
            "name one backbone of --list-backbones"
        )
