"""imgaug's augmenters, for every operation that has no function of ours; nothing else imports imgaug.

Each is made once per thread and seeded anew for every image, so that neither threads nor processes nor
what came before can be seen in the pixels.
"""

import inspect
import json
import threading
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from bccli.core.errors import BccliError
from bccli.core.imaging.opencv import load_cv2

_OURS = frozenset({"self", "args", "kwargs", "seed", "name", "random_state", "deterministic"})
_TAKING_OTHERS = frozenset({"children", "then_list", "else_list", "foreground", "background", "augmenters"})
_LOCK = threading.Lock()
_built = threading.local()


class UnfitError(Exception):
    """imgaug has no such augmenter, or not with these parameters; the message says why."""


@cache
def _load() -> Any:
    """`imgaug.augmenters`, as NumPy 2 can use it. Raises BccliError where it cannot be imported."""
    load_cv2()
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what an old library tells of its own code
        supplied = not hasattr(np, "sctypes")
        if supplied:  # imgaug 0.4.0 asks for it when it is imported, and NumPy 2 has it no longer
            np.sctypes = {  # type: ignore[attr-defined]
                "float": [np.float16, np.float32, np.float64],
                "int": [np.int8, np.int16, np.int32, np.int64],
                "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
            }
        try:
            from imgaug import augmenters
        except ImportError as error:
            raise BccliError(f"imgaug cannot be loaded ({error}); run pip install imgaug==0.4.0") from None
        finally:
            if supplied:
                del np.sctypes  # type: ignore[attr-defined]
    warnings.filterwarnings("ignore", module="imgaug")
    return augmenters


@cache
def _elastic() -> type:
    """ElasticTransformation with maps of float32, as OpenCV wants them and NumPy 2 no longer makes them."""
    base: type = _load().ElasticTransformation

    class ElasticTransformation(base):
        @classmethod
        def _generate_shift_maps(cls, *args: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
            maps = super()._generate_shift_maps(*args, **kwargs)
            return tuple(np.float32(shifts) for shifts in maps)

    return ElasticTransformation


_MENDED = {"ElasticTransformation": _elastic}


@cache
def known_augmenters() -> tuple[str, ...]:
    """The names of imgaug's augmenters."""
    module = _load()
    classes = {name: value for name, value in vars(module).items() if inspect.isclass(value)}
    return tuple(
        sorted(
            name
            for name, value in classes.items()
            if issubclass(value, module.Augmenter) and not inspect.isabstract(value)
        )
    )


def known_parameters(augmenter: str) -> dict[str, bool]:
    """An augmenter's parameters by name, and whether each has to be given."""
    parameters = inspect.signature(getattr(_load(), augmenter).__init__).parameters.values()
    return {
        parameter.name: parameter.default is parameter.empty
        for parameter in parameters
        if parameter.name not in _OURS
    }


def takes_others(augmenter: str) -> bool:
    """Whether an augmenter is made of other augmenters, which a file cannot name."""
    return bool(_TAKING_OTHERS & known_parameters(augmenter).keys())


def try_out(augmenter: str, parameters: Mapping[str, Any]) -> None:
    """Make an augmenter and use it once. Raises UnfitError where imgaug refuses or the form changes."""
    pixels = np.linspace(0, 255, 48 * 64 * 3).astype(np.uint8).reshape(48, 64, 3)
    try:
        result, _ = apply(augmenter, parameters, 0, pixels, None)
    except BccliError:
        raise
    except Exception as error:  # imgaug asserts, and its faults with a new NumPy are of any kind
        raise UnfitError(reason_of(error)) from None
    if result.shape != pixels.shape or result.dtype != pixels.dtype:
        raise UnfitError("it changes the size of images, which all have to keep theirs")


def reason_of(error: Exception) -> str:
    """The first line of what imgaug says."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def apply(
    augmenter: str, parameters: Mapping[str, Any], seed: int, pixels: np.ndarray, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """An augmented image (height, width, 3) and its mask (height, width), which moves with it."""
    made = _made(augmenter, parameters)
    made.seed_(seed)
    if mask is None:
        return made(image=pixels), None
    from imgaug.augmentables import SegmentationMapsOnImage

    region = SegmentationMapsOnImage(mask > 127, shape=pixels.shape)
    image, region = made(image=pixels, segmentation_maps=region)
    return image, np.where(region.get_arr(), 255, 0).astype(np.uint8)


def _made(augmenter: str, parameters: Mapping[str, Any]) -> Any:
    """This thread's augmenter of these parameters."""
    key = f"{augmenter} {json.dumps(parameters, sort_keys=True)}"
    chosen: dict[str, Any] = _built.__dict__
    if key not in chosen:
        build = _MENDED[augmenter]() if augmenter in _MENDED else getattr(_load(), augmenter)
        chosen[key] = build(**{name: _to_imgaug(value) for name, value in parameters.items()}, seed=0)
    return chosen[key]


def _to_imgaug(value: Any) -> Any:
    """A value of a policy in imgaug's terms: a tuple is a range, a list a choice."""
    if isinstance(value, dict):
        if value.keys() == {"choice"}:
            return [_to_imgaug(one) for one in value["choice"]]
        return {name: _to_imgaug(one) for name, one in value.items()}
    if isinstance(value, list):
        return tuple(_to_imgaug(one) for one in value)
    return value
