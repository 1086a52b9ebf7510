"""Fine-tunings of one run, or of the members of a sweep, from several layers and with several seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bccli.core.catalog import find_backbone
from bccli.core.data.dataset import Dataset
from bccli.core.errors import DataError, UsageError
from bccli.core.evaluation.subjects import runs_at
from bccli.core.runs.run_folder import Run, is_sweep, load_run, network_hash
from bccli.core.sweeps.cross_validation import check_folds, train_folds, units_of_folds
from bccli.core.sweeps.sharing import AtWork
from bccli.core.sweeps.sweep import Member, Rules, Sweep, run_sweep
from bccli.core.training.assembly import ModelCache
from bccli.core.training.design import Design, default_cache
from bccli.core.training.finetune import can_be_tuned, find_layers, load_base
from bccli.core.training.network import RunContext, train


@dataclass(frozen=True)
class Bases:
    """The runs that are fine-tuned, one or those of a sweep; `unfinished` are members that cannot be, yet,
    and `others` members that have no backbone to train."""

    root: Path
    runs: tuple[Run, ...]
    of_sweep: bool = False
    unfinished: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Start:
    """A fine-tuning: its run, what its name begins with, γ, and its seed; `seeded` if the name has it."""

    base: Run
    stem: str
    gamma: int
    seed: int
    seeded: bool

    @property
    def group(self) -> str:
        """The name without the seed, as Falconí et al. 2020 write it."""
        return f"{self.stem}-{self.gamma}-FT"

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.group + (f"-seed{self.seed}" if self.seeded else "")


def load_bases(root: Path) -> Bases:
    """The runs to start from. Raises DataError where there is none with a backbone to train."""
    if not is_sweep(root):
        return Bases(root, (load_base(root),))
    complete, unfinished = runs_at(root)
    runs = [load_run(path) for path in complete]
    tunable = tuple(run for run in runs if can_be_tuned(run))
    if not tunable:
        raise DataError(f"{root}: no member of this sweep has a backbone to train; name another sweep")
    others = tuple(run.root for run in runs if run not in tunable)
    return Bases(root, tunable, True, tuple(unfinished), others)


def starts_of(
    bases: Bases, layers: Mapping[Path, Sequence[int]], *, seed: int, seeds: int | None
) -> list[Start]:
    """The fine-tunings of all bases from their `layers`, by the bases' folders.

    With `seeds`, so many of each from `seed` on, where each seed starts from the base of the same seed if
    there is one, and else from the first. Without, each of several bases that differ in their seeds keeps
    its own.
    """
    alike: dict[str, dict[int, Run]] = {}
    for run in bases.runs:
        if layers[run.root]:
            alike.setdefault(_stem(bases, run), {})[int(run.info.settings["seed"])] = run
    seeded = seeds is not None or any(len(by_seed) > 1 for by_seed in alike.values())
    return [
        Start(base, stem, gamma, number, seeded)
        for stem, by_seed in alike.items()
        for number, base in _seeds(by_seed, seed, seeds, own=seeded)
        for gamma in dict.fromkeys(layers[base.root])
    ]


def _seeds(by_seed: Mapping[int, Run], first: int, seeds: int | None, *, own: bool) -> list[tuple[int, Run]]:
    """The seeds of fine-tunings, and the run that each starts from."""
    if seeds is None and own:
        return sorted(by_seed.items(), key=lambda pair: pair[0])
    default = by_seed[min(by_seed)]
    return [(number, by_seed.get(number, default)) for number in range(first, first + (seeds or 1))]


def _stem(bases: Bases, run: Run) -> str:
    """What the names of a run's fine-tunings begin with: in a sweep its own name without the seed."""
    if not bases.of_sweep:
        return run.info.backbone
    return run.name.removesuffix(f"-seed{run.info.settings['seed']}")


@dataclass(frozen=True)
class Layers:
    """What is to learn: from the layers that are `named` on, as GAMMA or BACKBONE:GAMMA, or from the first
    layer of the last `blocks`, or the `whole` backbone.

    Names of backbones that no base has are passed over if they are `lenient`.
    """

    named: tuple[str, ...] = ()
    blocks: int | None = None
    whole: bool = False
    lenient: bool = False

    def of_all(
        self, bases: Bases, *, device: str, deterministic: bool, verbose: bool
    ) -> dict[Path, list[int]]:
        """The γ for each base, by its folder; none for those whose backbone no γ is for.

        Raises UsageError for what no backbone has, and where no base is left.
        """
        self._check_names(bases)
        known: dict[tuple[Any, ...], list[int]] = {}
        found: dict[Path, list[int]] = {}
        for base in bases.runs:
            own = tuple(self._of(base.info.backbone))
            key = base.info.backbone, base.info.size
            if self.named and not own:
                found[base.root] = []
                continue
            if key not in known:
                known[key] = find_layers(
                    base,
                    layers=own,
                    blocks=self.blocks,
                    whole=self.whole,
                    device=device,
                    deterministic=deterministic,
                    verbose=verbose,
                )
            found[base.root] = known[key]
        if not any(found.values()):
            raise UsageError(
                f"--from-layer {' and '.join(self.named)}: none is for {_backbones(bases)} of {bases.root}; "
                "add --from-layer GAMMA"
            )
        return found

    def _of(self, backbone: str) -> Iterator[str]:
        """The layers that are named for a backbone."""
        for text in self.named:
            name, _, layer = text.rpartition(":")
            if name in ("", backbone):
                yield layer

    def _check_names(self, bases: Bases) -> None:
        there = {run.info.backbone for run in bases.runs}
        for text in self.named:
            name, colon, layer = text.rpartition(":")
            if colon and not (name and layer):
                raise UsageError(f"--from-layer {text!r} lacks a part; write GAMMA or BACKBONE:GAMMA")
            if name and find_backbone(name).name not in there and not self.lenient:
                raise UsageError(
                    f"--from-layer {text}: {bases.root} has no {name}; it has {_backbones(bases)}"
                )


def _backbones(bases: Bases) -> str:
    return ", ".join(dict.fromkeys(run.info.backbone for run in bases.runs))


def finetune_all(
    bases: Bases,
    designs: Mapping[Start, Design],
    dataset: Dataset,
    root: Path,
    context: RunContext,
    *,
    folds: bool = False,
    cache: Path | None = None,
    rules: Rules | None = None,
) -> Sweep | AtWork:
    """Fine-tune by each design in a folder of its own with a name like vgg16-10-FT, with `folds` all of its
    folds, and compare them."""
    base = "sweep" if bases.of_sweep else network_hash(bases.runs[0])
    fold = "all" if folds else next(iter(designs.values())).fold
    settings = {"command": "finetune", "base": base, "data": dataset.hash, "fold": fold}
    for design in designs.values() if folds else ():
        check_folds(design, dataset)
    make = train_folds if folds else train
    inside, shared, models = context.inner, cache or default_cache(dataset, root), ModelCache()

    def member(start: Start, design: Design) -> Member:
        facts = {"backbone": design.backbone, "from_layer": start.gamma, "seed": start.seed}
        name = start.name
        units = partial(units_of_folds, name, design, dataset, inside, cache=shared, models=models)
        return Member(
            name,
            facts,
            lambda folder, _: make(design, dataset, folder, inside, cache=cache),
            start.group,
            units if folds else tuple,
        )

    return run_sweep(
        root,
        [member(*pair) for pair in designs.items()],
        settings,
        replace(rules or Rules(), recipe=context.recipe),
        context,
    )
