"""The commands that faults are let loose on, and what they start from."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import draw_folder

SIDES = 32, 32
RAW = "--patient-regex '/(p\\d+)_'"
SPLITS = f"{RAW} --ratios 1/1/1 --workers 1"
MOBILENET = "--backbone mobilenet-0.25 --weights none --workers 1"
FROZEN = f"{MOBILENET} --trainable none --epochs 1 --batch-size 8"
SMALL = "--backbone cnn-15 --weights none --epochs 2 --batch-size 8 --workers 1"
FROZEN_SMALL = "--backbone cnn-15 --weights none --trainable none --epochs 1 --workers 1"
BOVW = "--classifier bovw"
THREE = "normal", "benign", "cancer"
TREE = "--tree 'normal, tumor(benign, cancer)'"


@dataclass(frozen=True)
class Case:
    """A command of the shell, without `bccli`.

    It starts in a folder that has copies of what it `needs`, in which the commands `before` it have been run;
    those `after` it belong to the comparison. What is `gone` was removed before.
    """

    name: str
    words: str
    needs: tuple[str, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """Its words."""
        return shlex.split(self.words)

    @property
    def removable(self) -> str | None:
        """The folder that it makes, and makes again where it has gone."""
        made = [name for name in ("out", "figures") if name in self.command and not self.before]
        return next(iter(made), None)


def _bad(root: Path) -> None:
    draw_folder(root, images=2, size=SIDES)
    (root / "benign" / "p0_9.png").write_bytes(b"no image")


INPUTS: dict[str, Callable[[Path], object]] = {
    "raw": lambda root: draw_folder(root, images=2, size=SIDES),
    "bad": _bad,
    "raw3": lambda root: draw_folder(root, classes=THREE, patients=9, images=2, size=SIDES),
}
"""What is drawn."""

MADE: dict[str, tuple[str, tuple[str, ...]]] = {
    "data": (f"prepare folder raw data {SPLITS}", ("raw",)),
    "other": ("prepare folder raw other --ratios 1/1/1 --workers 1", ("raw",)),
    "three": (f"prepare folder raw3 three {SPLITS}", ("raw3",)),
    "folded": (f"prepare folder raw3 folded {RAW} --folds 3 --workers 1", ("raw3",)),
    "patched": (f"prepare folder raw patched {SPLITS} --patch 16 --stride 16", ("raw",)),
    "run": (f"train data run {FROZEN}", ("data",)),
    "patches": (f"train patched patches {FROZEN_SMALL}", ("patched",)),
    "words": (f"train data words {BOVW}", ("data",)),
    "tree": (f"hierarchy three tree {FROZEN} {TREE}", ("three",)),
}
"""What commands make: which, and of what."""

CASES = (
    Case("prepare", f"prepare folder raw out {SPLITS}", ("raw",)),
    Case("prepare, bad images", f"prepare folder bad out {SPLITS}", ("bad",)),
    Case("prepare, patients unknown", "prepare folder raw out --ratios 1/1/1 --workers 1", ("raw",)),
    Case("prepare, patches", f"prepare folder raw out {SPLITS} --patch 16 --stride 16", ("raw",)),
    Case(
        "prepare, masks",
        "prepare phantom mammography out --count 12 --patients 6 --size 24x24 --workers 1",
        (),
    ),
    Case(
        "prepare, workers",
        f"prepare folder raw out {RAW} --ratios 1/1/1 --workers 2 --patch 16 --stride 16",
        ("raw",),
    ),
    Case(
        "prepare, first shard",
        f"prepare folder raw out {SPLITS} --patch 16 --stride 16 --shard 1/2",
        ("raw",),
        after=(f"prepare folder raw out {SPLITS} --patch 16 --stride 16 --shard 2/2",),
    ),
    Case(
        "prepare, last shard",
        f"prepare folder raw out {SPLITS} --patch 16 --stride 16 --shard 2/2",
        ("raw",),
        before=(f"prepare folder raw out {SPLITS} --patch 16 --stride 16 --shard 1/2",),
    ),
    Case(
        "prepare, overwrite",
        f"prepare folder raw out {SPLITS} --size 16x16 --overwrite",
        ("raw",),
        before=(f"prepare folder raw out {SPLITS}",),
    ),
    Case("prepare, packed", f"prepare folder raw out {SPLITS} --pack", ("raw",)),
    Case(
        "prepare, packed afterwards",
        f"prepare folder raw out {SPLITS} --pack",
        ("raw",),
        before=(f"prepare folder raw out {SPLITS}",),
    ),
    Case(
        "prepare, overwrite what is packed",
        f"prepare folder raw out {SPLITS} --size 16x16 --overwrite --pack",
        ("raw",),
        before=(f"prepare folder raw out {SPLITS} --pack",),
    ),
    Case("augment", "augment data out --policy table5 --per-image 2 --workers 1", ("data",)),
    Case("augment, workers", "augment data out --policy table5 --total 90 --workers 2", ("data",)),
    Case(
        "augment, overwrite",
        "augment data out --policy table5 --per-image 1 --workers 1 --overwrite",
        ("data",),
        before=("augment data out --policy flips --per-image 1 --workers 1",),
    ),
    Case("train, network", f"train data out {SMALL}", ("data",)),
    Case("train, frozen", f"train data out {FROZEN} --dropout 0.2", ("data",)),
    Case(
        "train, overwrite",
        f"train data out {FROZEN} --overwrite",
        ("data",),
        before=(f"train data out {FROZEN} --lr 0.1",),
    ),
    Case("train, folds", f"train folded out {FROZEN} --fold all", ("folded",)),
    Case("train, sweep", f"train data out {FROZEN} --classifier dense --classifier logistic", ("data",)),
    Case(
        "train, best of a sweep",
        f"train data out {FROZEN} --backbone cnn-15 --save best",
        ("data",),
    ),
    Case("train, classifier", f"train data out {MOBILENET} --classifier svm", ("data",)),
    Case("train, visual words", f"train data out {BOVW}", ("data",)),
    Case("train, folds of visual words", f"train folded out {BOVW} --fold all", ("folded",)),
    Case("train, sweep of visual words", f"train data out {BOVW} --seeds 2", ("data",)),
    Case(
        "train, fusion",
        "train patched out --features-from patches --head attention --dense 4 --epochs 1",
        ("patched", "patches"),
    ),
    Case(
        "train, first of two tasks on folds",
        f"train folded out {BOVW} --fold all --shard 1/2",
        ("folded",),
        after=(f"train folded out {BOVW} --fold all --shard 2/2",),
    ),
    Case(
        "train, task on a sweep",
        f"train data out {FROZEN} --classifier dense --classifier logistic --shard 2/2",
        ("data",),
        after=(f"train data out {FROZEN} --classifier dense --classifier logistic",),
    ),
    Case("finetune", "finetune run out --blocks 1 --epochs 1 --batch-size 8", ("data", "run")),
    Case("hierarchy", f"hierarchy three out {FROZEN} {TREE}", ("three",)),
    Case("hierarchy, task", f"hierarchy three out {FROZEN} {TREE} --shard 1/2", ("three",)),
    Case(
        "hierarchy, compose",
        f"hierarchy three out {TREE} {FROZEN} --compose root=tree/root",
        ("three", "tree"),
    ),
    Case("evaluate, output", "evaluate words --output figures", ("data", "words")),
    Case(
        "evaluate, output again",
        "evaluate words --output figures --split val",
        ("data", "words"),
        before=("evaluate words --output figures",),
    ),
    Case("evaluate, calibrate", "evaluate words --calibrate", ("data", "words")),
    Case("evaluate, data", "evaluate words --data other --output figures", ("data", "words", "other")),
    Case(
        "evaluate, audit",
        "evaluate data patched --audit --output figures",
        ("data", "patched"),
        gone=("data/.cache", "patched/.cache"),
    ),
    Case("predict, output", "predict run raw --output labels.csv --workers 1", ("raw", "data", "run")),
    Case(
        "predict, output again",
        "predict run raw --output labels.csv --overwrite --workers 1 --top 1",
        ("raw", "data", "run"),
        before=("predict run raw --output labels.csv --workers 1",),
    ),
    Case(
        "predict, first of two tasks",
        "predict run raw --output labels.csv --workers 1 --shard 1/2",
        ("raw", "data", "run"),
        after=("predict run raw --output labels.csv --workers 1 --shard 2/2",),
    ),
    Case(
        "predict, last of two tasks",
        "predict run raw --output labels.csv --workers 1 --shard 2/2",
        ("raw", "data", "run"),
        before=("predict run raw --output labels.csv --workers 1 --shard 1/2",),
    ),
)
