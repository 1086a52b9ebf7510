"""Keras's files before Keras reads them: which layers they describe, and what is in them.

Keras builds whatever a file names: layers that read or write other files, that run code, that are as large
as a number in the file says. Here every object in a file has to be on a list, and every array has to be in
the file itself. Whoever needs another layer adds it to the list.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile

from bccli.core.errors import WeightsError, first_line
from bccli.core.reading.archives import ArchiveError, Bounds, open_archive, read_member
from bccli.core.reading.hdf5 import Hdf5Error, arrays_in
from bccli.core.reading.limits import MODEL_BYTES, MODEL_CONFIG_BYTES, WEIGHTS_RATIO
from bccli.core.reading.regular_files import explained, open_file
from bccli.core.reading.texts import parse_json

WEIGHTS_MEMBER = "model.weights.h5"
"""Where a .keras file has its weights."""
_CONFIG_MEMBER = "config.json"
BOUNDS = Bounds(MODEL_BYTES, r"config\.json|metadata\.json|model\.weights\.h5")
_SMALL = 2**24
"""So many bytes of weights need no file of a size that goes with them."""


class UnsafeError(Exception):
    """What in a file speaks against reading it, in words that follow "it"."""


_LAYER_NAMES = """
    Activation Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D AveragePooling2D
    AveragePooling3D BatchNormalization Bidirectional Concatenate Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D
    DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GRU GRUCell GaussianDropout
    GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention
    Identity InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D
    MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute
    RMSNormalization RNN ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D SeparableConv2D
    SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization
    StackedRNNCells Subtract TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
_INITIALIZER_NAMES = """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones
    Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
"""
LAYERS = frozenset(_LAYER_NAMES.split())
"""Keras's standard layers that compute something of their inputs and do nothing else."""

_MODELS = frozenset({"Functional", "Sequential", "Model"})
_POLICIES = frozenset({"DTypePolicy", "FloatDTypePolicy"})
_OPERATIONS = frozenset(f"keras.src.ops.{part}" for part in ("numpy", "nn", "math", "linalg"))
"""Modules of operations on tensors, which a model may have in place of layers."""
ALLOWED: dict[str | None, frozenset[str]] = {
    None: frozenset(
        {"__keras_tensor__", "__numpy__", "__tensor__", "__slice__", "__ellipsis__", "__tuple__"}
    ),
    "keras": _MODELS | _POLICIES,
    "keras.models": _MODELS,
    "keras.src.models.functional": _MODELS,
    "keras.src.models.sequential": _MODELS,
    "keras.layers": LAYERS,
    "keras.dtype_policies": _POLICIES,
    "keras.initializers": frozenset(_INITIALIZER_NAMES.split()),
    "keras.regularizers": frozenset({"L1", "L2", "L1L2", "OrthogonalRegularizer"}),
    "keras.constraints": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
    "keras.src.ops.image": frozenset({"Resize"}),
    "keras.src.applications.convnext": frozenset({"LayerScale"}),
    "keras.src.applications.inception_resnet_v2": frozenset({"CustomScaleLayer"}),
}
"""The classes that a file may name, by the modules that it names them in."""


def load_model(file: Path) -> Any:
    """A Keras model for inference, from a .keras file that `check_model` has nothing against.

    Raises WeightsError for any other. Whoever knows what the file has to be compares its hash before.
    """
    check_model(file)
    import keras

    with _in_a_sentence(file):
        return keras.saving.load_model(file, compile=False, safe_mode=True)


@contextmanager
def _in_a_sentence(file: Path) -> Iterator[None]:
    """Keras says of what it cannot load how its own checks are switched off: that is not passed on."""
    try:
        yield
    except Exception as error:  # layers raise errors of all kinds
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            raise
        reason = first_line(error)
        if "safe" in reason.casefold():
            reason = type(error).__name__
        raise WeightsError(f"{file}: is no model that Keras can load ({reason}); copy it again") from None


def check_model(file: Path) -> None:
    """Raises WeightsError for a .keras file that holds anything but known layers and their weights."""
    try:
        with open_file(file) as stream, open_archive(stream, BOUNDS) as archive:
            check_archive(archive)
    except (ArchiveError, UnsafeError) as error:
        reason = str(error) if isinstance(error, ArchiveError) else f"is not loaded, as it {error}"
        raise WeightsError(f"{file}: {reason}; take a model from a source that you trust") from None
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read, as it {explained(error)}; copy it again") from None


def check_archive(archive: ZipFile) -> None:
    """Raises UnsafeError or ArchiveError for a .keras file that is not loaded."""
    _check_config(read_member(archive, _CONFIG_MEMBER, MODEL_CONFIG_BYTES))
    with open_weights(archive) as content:
        check_hdf5(content, archive.getinfo(WEIGHTS_MEMBER).compress_size)


def _check_config(data: bytes) -> None:
    try:
        value = parse_json(data)
    except (ValueError, UnicodeError) as error:
        raise UnsafeError(f"has a description that is no JSON ({first_line(error)})") from None
    if not isinstance(value, dict):
        raise UnsafeError("has no description of a model")
    _check_object({**value, "compile_config": None})  # which is not loaded


def _check_object(value: Any) -> None:
    """Raises UnsafeError for the first object of a class that is not ALLOWED."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "class_name" in one:
                _check_class(one)
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _check_class(one: dict[str, Any]) -> None:
    name, module, registered = one["class_name"], one.get("module"), one.get("registered_name")
    if not all(isinstance(text, str | None) for text in (name, module, registered)) or name is None:
        raise UnsafeError("names a class that is no name")
    known = name in ALLOWED.get(module, ()) or (module in _OPERATIONS and name.isidentifier())
    if not known or registered not in (None, name):
        where = f" of {module[:60]}" if module else ""
        raise UnsafeError(f"has a {name[:60]!r}{where}, which is not on the list of layers that are loaded")


@contextmanager
def open_weights(archive: ZipFile) -> Iterator[Any]:
    """The HDF5 file of weights in a .keras file. Raises UnsafeError for a damaged one."""
    import h5py  # type: ignore[import-untyped]

    if WEIGHTS_MEMBER not in archive.namelist():
        raise UnsafeError(f"has no {WEIGHTS_MEMBER}")
    stream: Any = _Part.of(archive) or io.BytesIO(read_member(archive, WEIGHTS_MEMBER, MODEL_BYTES))
    try:
        content = h5py.File(stream, "r")
    except (OSError, ValueError, RuntimeError):
        raise UnsafeError("has weights that are no whole HDF5 file") from None
    with content:
        yield content


@dataclass
class _Part(io.RawIOBase):
    """The bytes of a member that is stored as it is, without a copy of them."""

    stream: IO[bytes]
    start: int
    length: int
    place: int = 0

    @classmethod
    def of(cls, archive: ZipFile) -> "_Part | None":
        """The weights of an archive; None where they are compressed."""
        member = archive.getinfo(WEIGHTS_MEMBER)
        if member.compress_type != ZIP_STORED or archive.fp is None:
            return None
        with archive.open(member):  # which compares the member's own header with the index
            pass
        archive.fp.seek(member.header_offset + 26)
        name, extra = (int.from_bytes(archive.fp.read(2), "little") for _ in range(2))
        return cls(archive.fp, member.header_offset + 30 + name + extra, member.file_size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = max(0, offset + (0, self.place, self.length)[whence])
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        self.stream.seek(self.start + self.place)
        data = self.stream.read(max(0, min(len(buffer), self.length - self.place)))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


def check_hdf5(content: Any, size: int) -> None:
    """Raises UnsafeError for an HDF5 file with something in other files, or larger than its `size` allows."""
    try:
        total = arrays_in(content)
    except Hdf5Error as error:
        raise UnsafeError(str(error)) from None
    if total > max(_SMALL, WEIGHTS_RATIO * size) or total > MODEL_BYTES:
        raise UnsafeError(f"would unpack to {total:,} bytes of weights")
