"""Files of weights that Keras wrote: which kind one is, and putting it into a network. Nothing is unpickled.

Three kinds are read: `.h5` of keras.applications and of Keras before version 3, `.weights.h5`, `.keras`.
What a file is decides its content, not its name.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bccli.core.errors import WeightsError, first_line
from bccli.core.reading.archives import ArchiveError, Bounds, open_archive
from bccli.core.reading.limits import MODEL_BYTES
from bccli.core.reading.regular_files import open_file
from bccli.core.weights.copying import finalise
from bccli.core.weights.keras_files import (
    BOUNDS,
    WEIGHTS_MEMBER,
    UnsafeError,
    check_archive,
    check_hdf5,
    open_weights,
)

_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"

# What a file is that is neither, by its first bytes that are not blank.
_OTHERS = (
    (b"<", "it is a web page or other markup, saved instead of the file"),
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself"),
    (b"\x80", "it is a pickle, which bccli never opens"),
    (b"", "it is neither HDF5 nor a .keras file"),
)


class _UnfitError(Exception):
    """Why a file's weights are not those of the network."""


_REFUSED = (_UnfitError, UnsafeError, ArchiveError, OSError, KeyError, ValueError, TypeError, RuntimeError)


def check_file(file: Path, name: str) -> None:
    """Raises WeightsError where a file cannot hold the weights of the backbone `name`, whatever they are."""
    try:
        _kind(file)
    except _REFUSED as error:
        raise _refusal(file, name, error) from None


def load_file(network: Any, file: Path, name: str) -> None:
    """Put a file's weights into the Keras model of the backbone `name`.

    Raises WeightsError naming the first layer that does not fit.
    """
    try:
        {"layers": _load_layers, "tree": _load_tree, "archive": _load_tree}[_kind(file)](network, file)
    except _REFUSED as error:
        raise _refusal(file, name, error) from None


def _refusal(file: Path, name: str, error: Exception) -> WeightsError:
    reason = first_line(error)
    if isinstance(error, UnsafeError | ArchiveError):
        reason = f"it {reason}"
    return WeightsError(f"{file}: does not fit {name}: {reason}; give a complete file without its top")


def _kind(file: Path) -> str:
    """layers (a list of layers with their arrays), tree (as Keras 3 writes it), or archive (of a tree)."""
    import h5py  # type: ignore[import-untyped]

    with open_file(file) as stream:
        start = stream.read(64)
        if start.startswith(_ZIP):
            if not zipfile.is_zipfile(file):
                raise _UnfitError(f"it is cut short at {file.stat().st_size:,} bytes")
            with open_archive(stream, Bounds(MODEL_BYTES)) as archive:
                if WEIGHTS_MEMBER not in archive.namelist():
                    raise _UnfitError("it is an archive, but not a .keras file")
            with open_archive(stream, BOUNDS) as archive:
                check_archive(archive)
            return "archive"
    if not start.startswith(_HDF5):
        raise _UnfitError(
            next(what for sign, what in _OTHERS if start.lstrip().startswith(sign))
            if start
            else "it is empty"
        )
    try:
        with h5py.File(file, "r", locking=False) as content:
            check_hdf5(content, file.stat().st_size)
            if _layer_group(content) is not None:
                return "layers"
            if "layers" in content:
                return "tree"
    except OSError as error:
        if "truncated" in str(error):
            raise _UnfitError(f"it is cut short at {file.stat().st_size:,} bytes") from None
        raise _UnfitError("it is a damaged HDF5 file") from None
    raise _UnfitError("it is an HDF5 file without a network's layers")


# Lists of layers


@dataclass(frozen=True)
class _Stored:
    """A layer in a file: its name and its HDF5 datasets."""

    name: str
    arrays: tuple[Any, ...]


def _layer_group(content: Any) -> Any:
    """Where in an HDF5 file the layers are: at the top, or where `model.save` put them; None for nowhere."""
    for group in (content, content.get("model_weights")):
        if group is not None and {"layer_names", "layer_names0"} & set(group.attrs):
            return group
    return None


def _load_layers(network: Any, file: Path) -> None:
    """Layers go by their names where the file has these, and the others in order.

    Old files have other names, and Keras numbers layers without a name anew in each process. Nothing is
    changed before all names and shapes have been compared.
    """
    import h5py

    with h5py.File(file, "r", locking=False) as content:
        stored = [layer for layer in _read_layers(_layer_group(content)) if layer.arrays]
        layers = [layer for layer in network.layers if layer.weights]
        pairs = _pair(layers, stored)
        for layer, found in pairs:
            _compare(layer, found)
        if len(stored) > len(layers):
            known = {found.name for _, found in pairs}
            more = [found.name for found in stored if found.name not in known]
            raise _UnfitError(f"{more[0]} in it is not the network's; it may have a top")
        if len(stored) < len(layers):
            raise _UnfitError(f"it has {len(stored)} layers with weights, the network {len(layers)}")
        for layer, found in pairs:
            for variable, array in zip(_variables(layer), found.arrays, strict=True):
                variable.assign(array[()])
    finalise(network)


def _read_layers(group: Any) -> Iterator[_Stored]:
    for name in _names(group, "layer_names"):
        layer = _inside(group, name)
        yield _Stored(name, tuple(_inside(layer, array) for array in _names(layer, "weight_names")))


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names; one too long for an attribute goes on in attributes with numbers."""
    if attribute in group.attrs:
        lists = [group.attrs[attribute]]
    else:
        numbers = range(len(group.attrs))
        lists = [group.attrs[f"{attribute}{n}"] for n in numbers if f"{attribute}{n}" in group.attrs]
    return [name.decode() if isinstance(name, bytes) else str(name) for names in lists for name in names]


def _inside(group: Any, path: str) -> Any:
    """What lies at a path; raises _UnfitError where that is in another file."""
    import h5py

    for name in path.split("/"):
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise _UnfitError(f"it names {path}, which is not in it")
        group = group[name]
    if getattr(group, "external", None):
        raise _UnfitError(f"{path} is in another file")
    return group


def _pair(layers: Sequence[Any], stored: Sequence[_Stored]) -> list[tuple[Any, _Stored]]:
    """Layers with what the file has for them, in the network's order."""
    by_name = {found.name: found for found in stored}
    own = {layer.name for layer in layers if layer.name in by_name and not _numbered(layer)}
    others = (found for found in stored if found.name not in own)
    pairs = []
    for layer in layers:
        found = by_name[layer.name] if layer.name in own else next(others, None)
        if found is None:
            break
        pairs.append((layer, found))
    return pairs


def _numbered(layer: Any) -> bool:
    """Whether Keras gave the layer its name: the kind of layer, and a number."""
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(layer).__name__).lower()
    return re.sub(r"_\d+$", "", layer.name).replace("_", "") == kind.replace("_", "")


def _variables(layer: Any) -> list[Any]:
    """A layer's variables in the order of these files."""
    return layer.trainable_weights + layer.non_trainable_weights


def _compare(layer: Any, found: _Stored) -> None:
    """Raises _UnfitError where the file's arrays are not those of the layer."""
    variables = _variables(layer)
    if len(variables) != len(found.arrays):
        raise _UnfitError(
            f"{layer.name} has {len(variables)} arrays, {found.name} in the file {len(found.arrays)}"
        )
    for variable, array in zip(variables, found.arrays, strict=True):
        if tuple(array.shape) != tuple(variable.shape):
            raise _UnfitError(
                f"{variable.name} of {layer.name} is {_shape(variable.shape)}, "
                f"that of {found.name} in the file {_shape(array.shape)}"
            )


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "one number"


# Trees


def _load_tree(network: Any, file: Path) -> None:
    """Let Keras read what Keras 3 wrote; it goes by the name's end, and passes over layers too many."""
    with TemporaryDirectory() as folder:
        ending = ".keras" if zipfile.is_zipfile(file) else ".weights.h5"
        link = Path(folder) / f"network{ending}"
        link.symlink_to(file.resolve())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one for each layer without weights, after an error
                network.load_weights(link)
        except ValueError as error:
            raise _UnfitError(_first_failure(str(error))) from None
    arrays = _count_arrays(file)
    if arrays > len(network.weights):
        raise _UnfitError(
            f"it has {arrays} arrays of weights, the network {len(network.weights)}; it may have a top"
        )


def _first_failure(text: str) -> str:
    """The layer that Keras names as an example, and what is wrong with it."""
    match = re.search(r"for object <\w+ name=(?P<layer>[^,>]+).*?>:\n\n(?P<reason>[^\n]+)", text, re.DOTALL)
    return f"{match['layer']}: {match['reason'].rstrip('.')}" if match else text


def _count_arrays(file: Path) -> int:
    """How many arrays a tree has, without an optimizer's."""
    import h5py

    counted: list[str] = []

    def count(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not path.startswith("optimizer"):
            counted.append(path)

    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive, open_weights(archive) as content:
            content.visititems(count)
    else:
        with h5py.File(file, "r", locking=False) as content:
            content.visititems(count)
    return len(counted)
