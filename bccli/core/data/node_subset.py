"""What a node of a tree, or a detector, sees of a prepared dataset."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bccli.core.data.dataset import Dataset
from bccli.core.data.label_tree import Tree, find_node, parse_tree
from bccli.core.data.manifest import Sample, content_hash, join_masks
from bccli.core.data.positive_class import GIVEN, KNOWN, NORMAL, find_positive, severity
from bccli.core.errors import DataError
from bccli.core.progress import Watcher


def subset_of(dataset: Dataset, tree: Tree, node: Tree) -> tuple[Dataset, np.ndarray]:
    """The images that truly belong under a tree's node, labelled with its children, and their positions."""
    pairs = [(index, node.child_of(sample.label)) for index, sample in enumerate(dataset.samples)]
    indexes = np.array([index for index, child in pairs if child is not None], np.int64)
    samples = tuple(
        replace(dataset.samples[index], label=child) for index, child in pairs if child is not None
    )
    given = dataset.positive.name if dataset.positive.origin == GIVEN else None
    positive = find_positive(node.names, given if given in node.names else None)
    info = dataset.info.with_facts(
        classes=list(node.names),
        positive=positive.name,
        positive_origin=positive.origin,
        subset={"tree": str(tree), "node": node.name},
    )
    return Dataset(dataset.root, info, samples, content_hash(samples)), indexes


WITHOUT, LESION = "normal", "lesion"
"""The classes of a detector."""


def lesions_of(dataset: Dataset) -> Dataset:
    """The films as a detector sees them: with a lesion, which a mask marks, or without.

    A film without a mask has no lesion where its class says so, or none of its class has a mask, and a patch
    has none where the mask of its film has pixels in other patches; others,
    whose lesion nobody has marked, are left out, and so are films of whose mask nothing is in the prepared
    image. One that several rows show, each with a lesion of its own, as in CBIS-DDSM, comes once, with all of
    their masks. Raises DataError where there is no mask at all.
    """
    marked = {sample.label for sample in dataset.samples if sample.mask}
    cut = {sample.source for sample in dataset.samples if sample.mask and sample.row is not None}
    if not marked:
        raise DataError(
            f"{dataset.root}: has no masks, which show where lesions are; prepare it from a source with "
            "masks, and without --roi"
        )
    films: dict[_Film, list[Sample]] = {}
    for sample in dataset.samples:
        films.setdefault(_film_of(sample), []).append(sample)
    known = (rows for rows in films.values() if all(_is_known(sample, marked, cut) for sample in rows))
    samples = tuple(_as_film(rows) for rows in known)
    info = dataset.info.with_facts(
        classes=[WITHOUT, LESION], positive=LESION, positive_origin=KNOWN, subset={"lesions": "mask"}
    )
    return Dataset(dataset.root, info, samples, content_hash(samples))


_Film = tuple[object, ...]


def _film_of(sample: Sample) -> _Film:
    """What rows of one film have in common: whose it is, and its pixels, as lists of masses and of
    calcifications have a film in files of their own; of patches, of which many show nothing, the film and the
    place."""
    if sample.row is not None:
        return sample.source, sample.row, sample.col, sample.variant, sample.split, sample.fold
    owner = sample.patient or sample.source
    if not (owner and sample.sha256):
        return (sample.path,)
    return owner, sample.sha256, sample.split, sample.fold


def _is_known(sample: Sample, marked: Collection[str], cut: Collection[str]) -> bool:
    """Whether it is known where the image has a lesion, or that it has none; `marked` classes have masks, and
    patches of the `cut` films where there is something to mark."""
    if sample.mask:
        return bool(sample.box)
    if sample.row is not None and sample.source in cut:
        return True
    return sample.label not in marked or severity(sample.label) == NORMAL


def _as_film(rows: Sequence[Sample]) -> Sample:
    masks = join_masks(sample.mask for sample in rows if sample.mask)
    return replace(rows[0], label=LESION if masks else WITHOUT, mask=masks)


def tell_left_out(dataset: Dataset, found: Dataset, watcher: Watcher) -> None:
    """Say which images of a dataset are not among its films, as `lesions_of` has `found` them, and why."""
    films = {_film_of(sample) for sample in found.samples}
    left = [sample for sample in dataset.samples if _film_of(sample) not in films]
    emptied = sum(bool(sample.mask and not sample.box) for sample in left)
    if emptied:
        watcher.warn(
            f"{dataset.root}: {emptied:,} images of whose masks nothing is in the prepared image were left "
            "out; --fit pad or stretch keeps what --fit crop cuts away"
        )
    if unmarked := len(left) - emptied:
        watcher.warn(
            f"{dataset.root}: {unmarked:,} images without a mask were left out, as others of their class "
            "have one"
        )
    if again := len(dataset.samples) - len(left) - len(found.samples):
        watcher.note(
            f"{dataset.root}: {again:,} rows show a film that another row shows; it comes once, with the "
            "masks of all"
        )


def dataset_of_node(dataset: Dataset, subset: Mapping[str, Any] | None) -> Dataset:
    """The images under the node that `subset` names; all where there is none or labels are not the tree's.

    Those of a detector where it says so.
    """
    if subset is None:
        return dataset
    if "lesions" in subset:
        return lesions_of(dataset)
    tree = parse_tree(subset["tree"])
    if not set(dataset.classes) <= set(tree.leaves):
        return dataset
    return subset_of(dataset, tree, find_node(tree, subset["node"], "the node"))[0]
