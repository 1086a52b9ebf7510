"""The call of `prepare` that repeats a dataset, from the settings in its dataset.json."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bccli.core.data.dataset import Dataset


def prepare_command(dataset: Dataset) -> tuple[str, ...]:
    """The words of the call, with SOURCE for the raw data, which a dataset does not name."""
    settings = dataset.info.settings
    name = str(settings.get("dataset", dataset.info.dataset))
    return ("bccli", "prepare", name, "SOURCE", str(dataset.root), *_options(settings))


def _options(settings: Mapping[str, Any]) -> Iterator[str]:
    """The options of settings that are not as they are by default."""
    for name, value in settings.items():
        option, usual, written = _WRITTEN.get(name, (name.replace("_", "-"), None, str))
        if name == "dataset" or value in (usual, None, [], "", False) or name in _FOLLOW:
            continue
        yield f"--{option}" if value is True else f"--{option}={written(value)}"
    if settings.get("group_similar") is False:
        yield "--no-group-similar"
    for pair in settings.get("keep") or ():
        yield f"--keep={_listed('=')(pair)}"


def _listed(mark: str) -> Callable[[Any], str]:
    def written(value: Any) -> str:
        values = value if isinstance(value, list) else [value]
        return mark.join(f"{one:g}" if isinstance(one, float) else str(one) for one in values)

    return written


_WRITTEN: dict[str, tuple[str, Any, Callable[[Any], str]]] = {
    "by": ("split-by", "default", str),
    "ratios": ("ratios", [70, 20, 10], _listed("/")),
    "test_patients": ("test-patients", [], _listed(",")),
    "test_magnifications": ("test-magnification", [], _listed(",")),
    "magnifications": ("magnification", [], _listed(",")),
    "holdout": ("holdout", 0, str),
    "sample": ("sample", 0, str),
    "folds": ("folds", 0, str),
    "protocol": ("protocol", "honest", str),
    "group_similar": ("group-similar", True, str),
    "conflicts": ("conflicts", "keep", str),
    "size": ("size", None, _listed("x")),
    "fit": ("fit", "stretch", str),
    "tissue": ("min-tissue", 0, str),
    "nuclei": ("min-nuclei", 0, str),
    "breast": ("min-breast", 0, str),
    "aspect": ("aspect", None, _listed(",")),
    "center_crop": ("center-crop", None, _listed("x")),
    "clahe_clip": ("clahe-clip", 2.0, str),
    "clahe_tiles": ("clahe-tiles", 8, str),
    "denoise_strength": ("denoise-strength", 3.0, str),
    "denoise_template": ("denoise-template", 7, str),
    "denoise_search": ("denoise-search", 21, str),
    "seed": ("seed", 0, str),
    "count": ("count", 240, str),
    "patients": ("patients", 24, str),
}
"""Settings whose options have another name, another value by default than none, or are written otherwise."""
_FOLLOW = frozenset({"keep", "stain_target", "listing", "trim_edge", "data"})
"""Settings that no option repeats as they are stored."""
