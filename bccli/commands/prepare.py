"""`bccli prepare`: raw dataset → prepared dataset."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bccli import __version__
from bccli.core.catalog import DATASETS, Dataset
from bccli.core.errors import UsageError
from bccli.options import common as options
from bccli.options import path_types, sharing
from bccli.options.preparation import preparation_options
from bccli.recipes import RecipeCommand, is_given
from bccli.terminal import console

if TYPE_CHECKING:
    from bccli.core.data.dataset import DatasetInfo


def _list_datasets() -> None:
    from bccli.core.datasets.traits import TRAITS

    rows = [
        {
            "name": row.name,
            "title": row.title,
            "classes": ",".join(row.classes),
            "tasks": "; ".join(f"{task.name}: {','.join(task.classes)}" for task in row.tasks),
            "licence": row.licence,
            "images": "; ".join(f"{edition.name}: {edition.images:,}" for edition in row.editions),
            "columns": ",".join(trait.name for trait in TRAITS.get(row.name, ())),
            "source": row.source,
            "home": row.home,
            "citation": row.citation,
        }
        for row in DATASETS.values()
    ]
    console.show_records(rows)


@click.command(cls=RecipeCommand)
@click.argument("dataset", type=click.Choice(list(DATASETS)))
@click.argument("source", type=path_types.existing())
@click.argument("out", type=path_types.existing())
@options.recipe
@options.protocol
@preparation_options
@options.seed
@options.workers
@options.shard
@sharing.waiting("makes OUT")
@options.skip_bad
@options.dry_run
@options.overwrite
@options.info_flag("--list-datasets", _list_datasets, "Show the datasets that can be read, and end.")
@click.pass_obj
def prepare(screen: console.Console, dataset: str, source: Path, out: Path, **settings: Any) -> int:
    """Make a prepared dataset: images of one form, splits without a shared patient, a manifest.

    DATASET is one of the names that --list-datasets explains, SOURCE the downloaded folder (for csv a
    table, for phantom histology or mammography), OUT a new folder. Prints the images and patients per
    split and class.
    """
    from bccli.core.cores import available_cores
    from bccli.core.preparation import prepare as preparing
    from bccli.core.preparation import request as requests
    from bccli.core.preparation.division import count_plan
    from bccli.core.runs.shard import Shard

    request = _request(dataset, source, settings)
    if not settings["images"]:
        return _prepare_rows(screen, request, out, settings)
    workers = settings["workers"] or available_cores()
    if settings["dry_run"]:
        found, plan = requests.look(request, screen)
        console.show_counts([asdict(count) for count in count_plan(found, plan)])
        estimate = requests.foresee(request, found, plan, out, workers, pack=settings["pack"])
        screen.note(estimate.sentence())
        if warning := estimate.warning():
            screen.warn(warning)
        return 0
    screen.note(f"bccli {__version__} prepare {dataset}: {source} → {out}, {workers} workers")
    shard = Shard(*settings["shard"] or (1, 1))
    options.refuse_overwriting_shards(settings)
    sharing.share(screen, settings)
    info = preparing.prepare(
        request,
        out,
        workers=workers,
        shard=shard,
        overwrite=settings["overwrite"],
        pack=settings["pack"],
        watcher=screen,
    )
    if info is None:
        return 0
    console.show_counts(info.counts)
    return _closing(screen, info, out, settings["skip_bad"])


def _prepare_rows(screen: console.Console, request: Any, out: Path, settings: dict[str, Any]) -> int:
    """Make a dataset of rows about images that are elsewhere."""
    from bccli.core.preparation.division import count_plan
    from bccli.core.preparation.imageless import making

    if settings["dry_run"]:
        found, plan = making.look(request, screen)
        console.show_counts([asdict(count) for count in count_plan(found, plan)])
        return 0
    screen.note(f"bccli {__version__} prepare {request.dataset}: {request.source} → {out}, rows only")
    sharing.share(screen, settings)
    info = making.prepare_rows(request, out, overwrite=settings["overwrite"], watcher=screen)
    screen.note(making.NOT_COMPARED)
    console.show_counts(info.counts)
    return _closing(screen, info, out, settings["skip_bad"])


_ABOUT_PIXELS = (
    "size", "fit", "interpolation", "center_crop", "aspect", "clahe", "clahe_clip", "clahe_tiles", "denoise",
    "denoise_strength", "denoise_template", "denoise_search", "roi", "margin", "context", "stain",
    "stain_target", "patch", "stride", "min_tissue", "min_nuclei", "min_breast", "to_edges", "group_similar",
    "conflicts", "pack",
)  # fmt: skip


def _check_rows_only(settings: dict[str, Any]) -> None:
    """Raises UsageError for options that rows about images have no use for; a recipe may have any."""
    for name in _ABOUT_PIXELS:
        if is_given(name, besides_recipe=True):
            raise UsageError(
                f"--{name.replace('_', '-')} is about pixels, and --no-images reads none; leave one out"
            )
    if settings["shard"]:
        raise UsageError("--shard: with --no-images there is no work to share; leave it out")


def _request(dataset: str, source: Path, settings: dict[str, Any]) -> Any:
    from bccli.core.datasets import Reading
    from bccli.core.imaging.preparation import Preparation
    from bccli.core.preparation.division import Division
    from bccli.core.preparation.request import Request

    _check_options(dataset, settings)
    if not settings["images"]:
        _check_rows_only(settings)
    if settings["metadata_key"] and not settings["metadata"]:
        raise UsageError("--metadata-key is the column that --metadata FILE is joined by; add --metadata")
    patients = settings["patients"]
    task = DATASETS[dataset].find_task(settings["task"])
    return Request(
        dataset=dataset,
        source=source,
        division=Division(
            by=settings["split_by"] or "default",
            ratios=settings["ratios"],
            test_patients=settings["test_patients"],
            test_magnifications=settings["test_magnification"],
            holdout=settings["holdout"] or 0,
            sample=settings["sample"] or 0,
            folds=settings["folds"] or 0,
            keep=tuple(settings["keep"]),
            seed=settings["seed"],
            protocol=settings["protocol"],
            group_similar=settings["group_similar"],
            conflicts=settings["conflicts"],
        ),
        preparation=_preparation(DATASETS[dataset], settings) if settings["images"] else Preparation(),
        reading=Reading(
            magnifications=settings["magnification"],
            patient_regex=settings["patient_regex"],
            count=settings["count"],
            patient_list=patients if isinstance(patients, Path) else None,
            task=task.name if task else "",
            patients=patients if isinstance(patients, int) else Reading.patients,
            seed=settings["seed"],
            protocol=settings["protocol"],
            metadata=settings["metadata"],
            metadata_key=settings["metadata_key"] or "",
            needs_masks=settings["roi"] != "none" or not settings["images"],
        ),
        positive=settings["positive"],
        images=settings["images"],
    )


def _preparation(row: Dataset, settings: dict[str, Any]) -> Any:
    from bccli.core.imaging.equalising import Clahe
    from bccli.core.imaging.preparation import Patches, Preparation, Stain

    _check_steps(settings)
    patch, stain = settings["patch"], None
    if settings["stain"] != "none":
        stain = Stain(settings["stain"], _stain_target(settings["stain"], settings["stain_target"]))
    least = {name: settings[f"min_{name}"] for name in ("tissue", "nuclei", "breast")}
    patches = (
        Patches(patch, settings["stride"] or patch, **least, to_edges=settings["to_edges"]) if patch else None
    )
    return Preparation(
        stain,
        patches,
        settings["size"],
        settings["fit"],
        interpolation=settings["interpolation"],
        clahe=Clahe(settings["clahe_clip"], settings["clahe_tiles"]) if settings["clahe"] else None,
        region=_region(settings),
        aspect=settings["aspect"],
        centre=settings["center_crop"],
        denoise=_denoising(settings) if settings["denoise"] else None,
        # the paper stretches by the film's own minimum and maximum, its white edge included
        trim_edge=settings["protocol"] == "honest" and _may_have_an_edge(row, settings),
    )


def _region(settings: dict[str, Any]) -> Any:
    from bccli.core.imaging.regions import Region

    if settings["roi"] == "none":
        return None
    return Region(settings["roi"], settings["margin"], settings["context"])


def _denoising(settings: dict[str, Any]) -> Any:
    from bccli.core.imaging.denoising import Denoising

    return Denoising(*(settings[f"denoise_{name}"] for name in ("strength", "template", "search")))


def _stain_target(method: str, target: str | None) -> Any:
    from bccli.core.imaging.stains.normalisation import STAINS, target_from_file

    if target is None:
        return None
    if target != "reference":
        return target_from_file(target, method)
    if STAINS[method].reference is None:
        raise UsageError(f"--stain-target reference: there is none for {method}; name an image file")
    return STAINS[method].reference


def _check_steps(settings: dict[str, Any]) -> None:
    if settings["stain"] == "none" and settings["stain_target"]:
        raise UsageError("--stain-target needs --stain macenko, reinhard or vahadane")
    if settings["folds"] and settings["stain"] != "none" and not settings["stain_target"]:
        raise UsageError(
            "--folds: there is no train to learn the stain target from; name one with --stain-target"
        )
    _check_mammography(settings)
    if settings["interpolation"] != "auto" and not settings["size"]:
        raise UsageError("--interpolation is about resizing; add --size WxH")
    for name in ("stride", "min_tissue", "min_nuclei", "min_breast", "to_edges"):
        if settings[name] and not settings["patch"]:
            raise UsageError(f"--{name.replace('_', '-')} is about patches; add --patch N")


def _check_mammography(settings: dict[str, Any]) -> None:
    for step in ("clahe", "denoise"):
        for name in settings:
            if name.startswith(f"{step}_") and is_given(name, besides_recipe=True) and not settings[step]:
                raise UsageError(f"--{name.replace('_', '-')} is a number of --{step}; add --{step}")
    grey = [name for name in ("clahe", "denoise") if settings[name]]
    grey += [f"roi {settings['roi']}"] if settings["roi"] != "none" else []
    if grey and settings["stain"] != "none":
        raise UsageError(f"--{grey[0]} makes images grey, and --stain needs their colours; leave one out")
    for name in ("margin", "context"):
        if settings[name] and settings["roi"] != "crop":
            raise UsageError(f"--{name} is about the box that is cut out; add --roi crop")
    if settings["folds"] and settings["size"] == "mean":
        raise UsageError("--folds: there is no train to learn the mean size from; say --size WxH")
    if settings["patch"] and settings["size"] == "mean":
        raise UsageError("--size mean is that of whole images; with --patch say --size WxH, or leave it out")
    if settings["folds"] and settings["keep"]:
        raise UsageError("--keep is about train, and with --folds each image is in train once; leave one out")
    size, centre = settings["size"], settings["center_crop"]
    if centre and isinstance(size, tuple) and (centre[0] > size[0] or centre[1] > size[1]):
        raise UsageError("--center-crop is larger than --size; make it smaller")


def _may_have_an_edge(row: Dataset, settings: dict[str, Any]) -> bool:
    """Whether images are films with a white edge: in pictures of another origin, white at the border may be
    anything, unless steps are asked for that are for mammograms."""
    return row.films or settings["clahe"] or settings["roi"] != "none"


def _check_options(dataset: str, settings: dict[str, Any]) -> None:
    for name in sorted(set().union(*(row.options for row in DATASETS.values()))):
        if name not in DATASETS[dataset].options and is_given(name):
            spelled = "no-images" if name == "images" else name.replace("_", "-")
            raise UsageError(f"--{spelled} has no meaning for {dataset}; leave it out")
    _check_magnifications(dataset, settings)
    _check_patients(dataset, settings["patients"])
    if settings["patient_regex"] is not None and isinstance(settings["patients"], Path):
        raise UsageError("--patient-regex and --patients both say who the patients are; leave one out")
    by = settings["split_by"]
    if by in ("image", "magnification") and settings["protocol"] == "honest":
        raise UsageError(f"--split-by {by} puts patients on both sides; add --protocol paper to insist")
    given = [name for name in ("folds", "test_patients", "holdout") if settings[name]]
    if len(given) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in given[:2])
        raise UsageError(f"{first} and {second} contradict each other; leave one out")
    if by == "magnification" and given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} contradicts --split-by magnification; leave one of them out"
        )
    for name in ("folds", "test_patients"):
        if settings[name] and by == "image":
            raise UsageError(
                f"--{name.replace('_', '-')} keeps patients whole, --split-by image does not; leave one out"
            )


def _check_magnifications(dataset: str, settings: dict[str, Any]) -> None:
    known = DATASETS[dataset].magnifications
    for option in ("magnification", "test_magnification"):
        for value in settings[option]:
            if value not in known:
                name = option.replace("_", "-")
                raise UsageError(f"--{name} {value}: {dataset} has {', '.join(known)}; choose among them")
    if (settings["split_by"] == "magnification") != bool(settings["test_magnification"]):
        raise UsageError(
            "--split-by magnification and --test-magnification 40 belong together; give both or none"
        )


def _check_patients(dataset: str, patients: int | Path) -> None:
    row = DATASETS[dataset]
    if is_given("patients") and isinstance(patients, Path) != row.lists_patients:
        wanted = "a CSV file of image,patient" if row.lists_patients else "a number of patients"
        raise UsageError(f"--patients {patients}: {dataset} takes {wanted}")


def _closing(screen: console.Console, info: "DatasetInfo", out: Path, skip_bad: bool) -> int:
    from bccli.core.data.leakage import leak_sentences
    from bccli.core.datasets.verification import MADE, Remark
    from bccli.core.imaging.remarks import Remarks
    from bccli.core.preparation.merge import EXCLUSIONS

    _tell_conflicts(screen, info, out)
    for sentence in leak_sentences(info.audit):
        screen.warn(sentence)
    if unstained := info.unstained:
        screen.warn(f"{unstained} images have too little stained tissue and keep their colours")
    if blank := info.blank:
        screen.warn(f"{Remarks(**blank)}; see whether such belong in the dataset")
    for kind in MADE:
        if found := info.remarks.get(kind):
            screen.warn(Remark(kind, **found).sentence())
    for kind, number in info.excluded.items():
        if kind in EXCLUSIONS:
            screen.warn(f"{number} images {EXCLUSIONS[kind]}, and are left out")
    if not info.quarantined:
        return 0
    bad, total = info.quarantined, info.quarantined + info.sources
    screen.warn(f"{bad} of {total} images could not be read; {out / 'quarantine.csv'} says which and why")
    return 0 if skip_bad else 4


def _tell_conflicts(screen: console.Console, info: "DatasetInfo", out: Path) -> None:
    from bccli.core.data.audit_pairs import conflict_sentence

    conflicts = info.conflicts
    if not conflicts.get("pairs"):
        return
    listed = f"{out / 'audit.csv'} lists them"
    if "left_out" not in conflicts:
        screen.warn(conflict_sentence(conflicts, f"{listed}, --conflicts drop leaves them out"))
        return
    what = "these images are left out"
    if remaining := conflicts["kept"]:
        what = f"they are left out, but for {remaining} that are of known patients and merely alike"
    screen.warn(conflict_sentence(conflicts, f"{what}, and {listed}"))
    for label, number in conflicts["left_out"].items():
        remaining = sum(row["images"] for row in info.counts if row["label"] == label)
        screen.warn(f"{label}: {remaining + number:,} images with contradictions, {remaining:,} without")
