"""The data of a tree, and the checks before training: the dataset, its splits, and runs that are reused."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bccli.core.data.audit import audit, hashes_of, hashes_path, refuse_leakage, store_hashes
from bccli.core.data.dataset import Dataset
from bccli.core.data.image_batches import Images, open_images
from bccli.core.data.label_tree import Tree
from bccli.core.data.leakage import Leak, leak_sentences
from bccli.core.data.manifest import Sample
from bccli.core.data.node_subset import LESION, lesions_of, subset_of
from bccli.core.data.split_codes import TRAIN, check_split_codes, split_codes_of
from bccli.core.errors import DataError
from bccli.core.evaluation.external import check_input_spec
from bccli.core.evaluation.reused_runs import check_test_is_new
from bccli.core.kinds import KINDS
from bccli.core.models.heads import units
from bccli.core.progress import SILENT, Watcher
from bccli.core.runs.run_folder import Run
from bccli.core.training.design import check_image_size, row_of
from bccli.core.trees.plan import DETECTOR, Plan, ReusedRun


@dataclass(frozen=True)
class TreeData:
    """The data that a tree is trained on; `split_codes` (images,) are 0 train, 1 val, 2 test, -1 unused."""

    dataset: Dataset
    split_codes: np.ndarray
    leaks: dict[str, Leak]
    cache: Path

    @property
    def used(self) -> np.ndarray:
        """The indices of images that are in a split."""
        return np.flatnonzero(self.split_codes >= 0)

    @property
    def samples(self) -> list[Sample]:
        """Those images."""
        return [self.dataset.samples[index] for index in self.used]

    @property
    def images(self) -> Images:
        """Their pixels."""
        return open_images(self.dataset.root, self.samples)

    @property
    def used_codes(self) -> np.ndarray:
        """Their splits."""
        return self.split_codes[self.used]


def prepare_tree_data(plan: Plan, dataset: Dataset, cache: Path, watcher: Watcher = SILENT) -> TreeData:
    """Check what can be checked before anything is trained. Raises DataError, UsageError, LeakageError."""
    split_codes = split_codes_of(dataset, plan.node_settings.design.fold)
    if not (split_codes >= 0).any():
        raise DataError(f"{dataset.root}: no image is in train, val or test; prepare it with other --ratios")
    tree_data = TreeData(dataset, split_codes, {}, cache)
    _check_nodes(plan, tree_data)
    leaks = audit(dataset, split_codes, cache)
    allowed = plan.node_settings.design.allow_leakage or dataset.allows_leakage
    refuse_leakage(leaks, dataset, allowed=allowed)
    for sentence in leak_sentences({split: leak.to_json() for split, leak in leaks.items()}):
        watcher.warn(sentence)
    for node in plan.tree.inner:
        if node.name in plan.reused_runs:
            _check_reused(node, plan.reused_runs[node.name], tree_data, allowed=allowed, watcher=watcher)
    if plan.reused_detector:
        _check_detector(plan.reused_detector.run, tree_data, allowed=allowed, watcher=watcher)
    return replace(tree_data, leaks=leaks)


def _check_nodes(plan: Plan, tree_data: TreeData) -> None:
    """Raises DataError where a node that is trained, or a detector, has no images to learn from, or too
    small ones."""
    size = tree_data.images.size
    for node in plan.trained:
        subset, indices = subset_of(tree_data.dataset, plan.tree, node)
        check_split_codes(subset, tree_data.split_codes[indices])
        design = plan.settings_of(node.name).design
        units(design.head.output, len(node.children))
        check_image_size(design, row_of(design), size, tree_data.dataset.root)
    if plan.trains_detector:
        found = lesions_of(tree_data.dataset)
        codes = split_codes_of(found, plan.node_settings.design.fold)
        check_split_codes(found, codes, [LESION])


def _check_reused(
    node: Tree, reused: ReusedRun, tree_data: TreeData, *, allowed: bool, watcher: Watcher
) -> None:
    run, dataset = reused.run, tree_data.dataset
    if set(run.classes) != set(node.names):
        raise DataError(
            f"{run.root}: has the classes {', '.join(run.classes)}, and the node {node.name} has "
            f"{', '.join(node.names)} below it; compose it of a run of these"
        )
    if run.info.kind not in KINDS:
        raise DataError(f"{run.root}: is a {run.info.kind}, which cannot be a node; name another run")
    if run.info.kind_within == "fusion":
        raise DataError(
            f"{run.root}: answers for an image as a whole, and a node for each of its patches; "
            "compose it of another run"
        )
    check_input_spec(run, reused.data or dataset, watcher)
    if reused.data:
        matching_images(node, reused.data, tree_data)
    check_test_is_new(run, dataset, tree_data.split_codes, allowed=allowed, watcher=watcher)


def _check_detector(run: Run, tree_data: TreeData, *, allowed: bool, watcher: Watcher) -> None:
    dataset = tree_data.dataset
    if run.info.kind_within != DETECTOR:
        raise DataError(
            f"{run.root}: is a {run.info.kind_within} and finds nothing; name a run of bccli train "
            f"--head {DETECTOR}"
        )
    if (run.preparation, run.info.size) != (dataset.preparation, tree_data.images.size):
        raise DataError(
            f"{run.root}: was trained on images that were prepared otherwise than those of {dataset.root}; "
            f"name a detector of these, or leave --compose {DETECTOR} out"
        )
    check_test_is_new(run, dataset, tree_data.split_codes, allowed=allowed, watcher=watcher)


def matching_images(node: Tree, data: Dataset, tree_data: TreeData) -> list[Sample | None]:
    """For each used image the one of the same source in a node's own data, None where that has none.

    Raises DataError where an image under the node has none, or one of another label.
    """
    by_source: dict[str, Sample] = {}
    for sample in data.samples:
        if sample.variant == 0 and by_source.setdefault(sample.source, sample) is not sample:
            raise DataError(
                f"{data.root}: has several images of {sample.source}, and a node takes one; "
                "compose it of data without patches"
            )
    found = []
    for sample in tree_data.samples:
        other = by_source.get(sample.source) if sample.variant == 0 else None
        child = node.child_of(sample.label)
        if child is not None and sample.variant == 0:
            if other is None:
                raise DataError(
                    f"{data.root}: has no image of {sample.source}, which is {sample.label} in "
                    f"{tree_data.dataset.root}; prepare both from the same source"
                )
            if other.label not in (sample.label, child):
                raise DataError(
                    f"{data.root}: {sample.source} is {other.label} there and {sample.label} in "
                    f"{tree_data.dataset.root}; prepare both from the same source"
                )
        found.append(other)
    return found


def shares_in_train(node: Tree, tree_data: TreeData) -> np.ndarray:
    """How the images under a node are spread over its children in train (children,)."""
    counts = np.zeros(len(node.children))
    for index in np.flatnonzero(tree_data.split_codes == TRAIN):
        child = node.child_of(tree_data.dataset.samples[index].label)
        if child is not None:
            counts[node.names.index(child)] += 1
    return counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / len(counts))


def share_hashes(plan: Plan, tree_data: TreeData) -> None:
    """Give the audit of each node and of a detector the perceptual hashes that the whole one has made."""
    hashes = hashes_of(tree_data.dataset, tree_data.cache)
    subsets = [subset_of(tree_data.dataset, plan.tree, node) for node in plan.trained]
    if plan.trains_detector:
        found = lesions_of(tree_data.dataset)
        position = {sample.path: index for index, sample in enumerate(tree_data.dataset.samples)}
        subsets.append((found, np.array([position[sample.path] for sample in found.samples])))
    for subset, indices in subsets:
        path = hashes_path(tree_data.cache, subset.hash)
        if not path.exists():
            with suppress(PermissionError):
                store_hashes(path, hashes["perceptual"][indices], hashes["blank"][indices])
