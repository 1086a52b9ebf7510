"""Fine-tunings of one run from several layers, side by side."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bccli.core.data.dataset import Dataset
from bccli.core.files import file_hash
from bccli.core.runs.run_folder import MODEL_FILE, Run
from bccli.core.sweeps.sweep import Member, Rules, Sweep, run_sweep
from bccli.core.training.design import Design
from bccli.core.training.network import RunContext, train


def finetune_all(
    base: Run,
    designs: Sequence[Design],
    dataset: Dataset,
    root: Path,
    context: RunContext,
    *,
    cache: Path | None = None,
    reject_overfit: bool = False,
    keep_all: bool = True,
) -> Sweep:
    """Fine-tune from several layers, each in a folder of its own with a name like vgg16-10-FT."""
    settings = {"command": "finetune", "base": file_hash(base.file(MODEL_FILE)), "data": dataset.hash}
    inside = replace(context, overwrite=False)

    def member(design: Design) -> Member:
        assert design.tuning is not None
        gamma = design.tuning.from_layer
        return Member(
            f"{design.backbone}-{gamma}-FT",
            {"backbone": design.backbone, "from_layer": gamma},
            lambda folder, _: train(design, dataset, folder, inside, cache=cache),
        )

    return run_sweep(
        root,
        [member(design) for design in designs],
        settings,
        Rules(reject_overfit, keep_all, context.recipe),
        overwrite=context.overwrite,
        watcher=context.watcher,
    )
