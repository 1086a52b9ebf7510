"""What computes the models of a run: LiteRT, at work within a tenth of a second, or TensorFlow.

A network is a function of prepared images uint8 (n, height, width, 3) that gives class probabilities
(n, classes); other models of a run give what they were made for, such as features (n, width).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bccli.core.cores import available_cores
from bccli.core.errors import DataError, WeightsError, first_line
from bccli.core.kinds import imported
from bccli.core.models.devices.sharing import SharedModel, devices_here
from bccli.core.models.graph import scoring_of
from bccli.core.models.stderr import quiet_stderr
from bccli.core.models.unusable_gpus import gpu_is_visible
from bccli.core.progress import Watcher
from bccli.core.reading.limits import TFLITE_BYTES
from bccli.core.runs.run_folder import EXTRACTOR, MODEL_FILE, Run
from bccli.core.weights.keras_files import load_model

if TYPE_CHECKING:
    from bccli.core.models.class_maps import ClassMaps

Network = Callable[[np.ndarray], np.ndarray]


def _softmax(scores: np.ndarray) -> np.ndarray:
    wide = _numbers(scores)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    wide = _numbers(scores)
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(np.concatenate([wide, -wide], axis=1)))


def _numbers(scores: np.ndarray) -> np.ndarray:
    """Scores in float64; of an infinite one no probability is made, though an exponential would have one."""
    wide = scores.astype(np.float64)
    return np.where(np.isfinite(wide), wide, np.nan)


# The outputs of models.heads.OUTPUTS once more, for scores in an array. In float64, since logarithms are
# taken of what they give: float32 ends at scores of 87, and 1 - p of a sigmoid at 17.
OUTPUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"softmax": _softmax, "sigmoid": _sigmoid}


PACKING_PAYS = 60
"""From so many multiply-adds per weight on, LiteRT's fast kernels are worth their start even for one image.

They first bring all weights into their own order, which takes 4 ns for a weight and as much memory again;
then they need 0.012 ns for a multiply-add on two cores, and the plain kernels 0.067 ns. So one patch of
144×96 pixels goes through ResNet-50 (48 per weight) faster and with half the memory in the plain ones.
"""


class LiteRT:
    """A network's scores before the output's activation, computed by LiteRT on `threads` cores.

    The network is a file or the bytes of one. `packed` chooses the fast kernels; it has `several` outputs or
    one. Raises RuntimeError or ValueError, as LiteRT does, for a network that it cannot run.
    """

    def __init__(
        self, network: Path | bytes, threads: int, *, packed: bool = True, several: bool = False
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = OpResolverType.AUTO if packed else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._interpreter = Interpreter(
            None if isinstance(network, bytes) else str(network),
            network if isinstance(network, bytes) else None,
            # On several cores the plain kernels keep a second copy of the weights, and are slower at first.
            num_threads=threads if packed else 1,
            experimental_op_resolver_type=kernels,
        )
        (self._input,) = (detail["index"] for detail in self._interpreter.get_input_details())
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
        if not several and len(self._outputs) != 1:
            raise ValueError(f"a network with {len(self._outputs)} outputs")
        self._shape: tuple[int, ...] = ()

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores float32 (n, units) of images uint8 or float32 (n, height, width, 3), or other inputs."""
        (scores,) = self.outputs(images)
        return scores

    def outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """The same of a network that has several outputs."""
        if images.shape != self._shape:
            with quiet_stderr():  # at the first time LiteRT says which kernels it uses
                self._interpreter.resize_tensor_input(self._input, images.shape, strict=True)
                self._interpreter.allocate_tensors()
            self._shape = images.shape
        self._interpreter.set_tensor(self._input, images.astype(np.float32, copy=False))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output) for output in self._outputs]


def has_openvino() -> bool:
    """Whether bccli was installed with `[fast]`."""
    return find_spec("openvino") is not None


class OpenVino:
    """The same by OpenVINO, `batch_size` images at a time, or as many as come.

    Raises RuntimeError, as OpenVINO does, for a file that it cannot run.
    """

    def __init__(self, file: Path, threads: int, *, batch_size: int | None = None) -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(str(file))
        model.reshape([batch_size or -1, *model.input().partial_shape.get_min_shape()[1:]])
        # In float32 also where the CPU has 16 bits, and one batch on all cores: results stay the same.
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Bound to cores they would wait for whoever else works there, such as what decodes images.
            "ENABLE_CPU_PINNING": False,
        }
        self._model = core.compile_model(model, "CPU", settings)

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores float32 (n, units) of images uint8 or float32 (n, height, width, 3), or other inputs."""
        (outputs,) = self._model([images.astype(np.float32, copy=False)]).values()
        return np.array(outputs)


@contextmanager
def _of_no_network(file: Path) -> Iterator[None]:
    """A model that Keras can load may lack what the run's kind has. Raises DataError."""
    try:
        yield
    except (WeightsError, MemoryError):
        raise
    except Exception as error:
        raise DataError(
            f"{file}: is no network of this run ({first_line(error)}); copy the whole folder again"
        ) from None


def _answering(network: Network, file: Path, width: int | None = None) -> Network:
    """A network whose failures are sentences: DataError where it cannot compute, or gives another width."""

    def answer(images: np.ndarray) -> np.ndarray:
        try:
            found = network(images)
        except Exception as error:  # Keras, TensorFlow and LiteRT have many kinds
            if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
                raise
            raise DataError(
                f"{file}: cannot compute images of the run's size ({first_line(error)}); "
                "copy the whole folder again"
            ) from None
        if found.ndim != 2 or (width is not None and found.shape[1] != width):
            raise DataError(
                f"{file}: gives {'×'.join(map(str, found.shape[1:])) or 'no'} values for an image and "
                f"not {width or 'a row'}; copy the whole folder again"
            )
        return found

    return answer


_EXTRACTOR_OF_FILES = "models.cards.of_run:extractor_of"


def _without_images(run: Run, engine: "Engine") -> Network | None:
    """What makes features in a run that stores no network for it: that of its card, or of several that are
    joined; nothing where it knows vectors only. None for another run."""
    if run.info.vectors is not None:
        return _as_they_are(run.info.vectors["width"])
    if not run.info.of_files:
        return None
    network: Network = imported(_EXTRACTOR_OF_FILES)(run, engine)
    return network


def _as_they_are(width: int) -> Network:
    """What takes vectors for features. Raises DataError where they have another width."""

    def given(vectors: np.ndarray) -> np.ndarray:
        if vectors.ndim != 2 or vectors.shape[1] != width:
            raise DataError(f"the run knows vectors of {width} numbers; give it such, and no images")
        return vectors

    return given


class NoTfliteError(Exception):
    """A model that LiteRT cannot run, and why; it never leaves `load_predictor`."""


class Engine(Protocol):
    """What loads the models of runs; `device` says what computes them."""

    @property
    def choice(self) -> str:
        """The device that was asked for: auto, cpu or gpu."""

    @property
    def device(self) -> str:
        """For the start line."""

    @property
    def devices(self) -> int:
        """How many devices share what a network is asked."""

    def network(self, run: Run) -> Network:
        """The network of a run, from images to class probabilities."""

    def outputs(self, run: Run, stem: str) -> Network:
        """Another model of a run, `stem.keras` or `stem.tflite`, from its inputs to float32 (n, width)."""

    def class_maps(self, run: Run) -> "ClassMaps | None":
        """The network of a run with its last maps; None where it has none behind dense layers."""


@dataclass(frozen=True)
class TfliteRuntime:
    """LiteRT on all cores, or OpenVINO; `single` says that one image is all there will be.

    `costs` are the multiply-adds of one image in each network that was loaded. Raises NoTfliteError.
    """

    single: bool = False
    openvino: bool = False
    costs: list[float] = field(default_factory=list)
    choice: str = "auto"

    @property
    def seconds(self) -> float:
        """About how long one image takes in all networks; 0 where runs do not say what they cost."""
        return sum(self.costs) / (_SPEED * available_cores())

    @property
    def device(self) -> str:
        """For the start line."""
        return f"{'OpenVINO' if self.openvino else 'LiteRT'} on CPU ({available_cores()} cores)"

    @property
    def devices(self) -> int:
        """One: all cores."""
        return 1

    def network(self, run: Run) -> Network:
        """The network of a run, from images to class probabilities."""
        made, activate = run.info.litert, OUTPUTS[run.info.settings["output"]]
        model = self._load(run, made)
        # Of a tree's node, the file may have the scores of other nodes, too.
        columns = (made or {}).get("columns", slice(None))

        def answer(images: np.ndarray) -> np.ndarray:
            return activate(model.scores(images)[:, columns])

        return _answering(answer, run.root / (made or {})["file"], len(run.classes))

    def class_maps(self, run: Run) -> "ClassMaps | None":
        """The network of a run with its last maps; None where it has none behind dense layers."""
        from bccli.core.models.class_maps import ClassMaps
        from bccli.core.models.tflite_maps import NoMapsError, with_map_outputs

        made = run.info.litert or {}
        try:
            tflite, shapes, head = with_map_outputs(
                self._file(run, made).read_bytes(), made.get("columns", ())
            )
            model = LiteRT(tflite, available_cores(), several=True)
        except (NoMapsError, RuntimeError, ValueError):
            return None

        def network(images: np.ndarray) -> np.ndarray:
            _, *outputs = model.outputs(images)
            return np.concatenate([each.reshape(len(images), -1) for each in outputs], axis=1)

        context = run.info.settings.get("context", 0.0)
        return ClassMaps(_answering(network, run.root / made["file"]), shapes, head, context)

    def outputs(self, run: Run, stem: str) -> Network:
        """Another model of a run."""
        if stem == EXTRACTOR and (frozen := _without_images(run, self)):
            return frozen
        made = run.info.exports.get(stem)
        return _answering(self._load(run, made).scores, run.root / (made or {})["file"])

    def _file(self, run: Run, made: Mapping[str, Any]) -> Path:
        if "error" in made:
            raise NoTfliteError(f"{run.root}: has no .tflite ({made['error']})")
        if "file" not in made:
            raise NoTfliteError(f"{run.root}: names no .tflite file")
        file = run.file(made["file"])
        if (size := file.stat().st_size) > TFLITE_BYTES:
            raise DataError(f"{file}: has {size:,} bytes, more than a .tflite file can; copy the run again")
        return file

    def _load(self, run: Run, made: Mapping[str, Any] | None) -> LiteRT | OpenVino:
        made = made or {"error": "none was made"}
        file = self._file(run, made)
        packed = not self.single or made.get("multiply_adds", 0) > PACKING_PAYS
        self.costs.append(made.get("multiply_adds", 0) * (run.info.parameters or 0))
        if self.openvino:
            with suppress(Exception):  # of its own kinds; LiteRT then computes, or says what is wrong
                return OpenVino(file, available_cores())
        try:
            return LiteRT(file, available_cores(), packed=packed)
        except (ImportError, RuntimeError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise NoTfliteError(f"{file}: LiteRT cannot run it here ({reason})") from None


@dataclass(frozen=True)
class KerasEngine:
    """TensorFlow, which has been started; of several devices each takes a `share` of images at least."""

    device: str
    choice: str = "auto"
    share: int = 1

    @property
    def devices(self) -> int:
        """All GPUs, or the CPU."""
        return len(devices_here())

    def network(self, run: Run) -> Network:
        """The network of a run, from images to class probabilities."""
        activate, file = OUTPUTS[run.info.settings["output"]], run.file(MODEL_FILE)
        with _of_no_network(file):
            scores = SharedModel(scoring_of(load_model(file)), share=self.share)
        return _answering(lambda images: activate(scores(images)), file, len(run.classes))

    def outputs(self, run: Run, stem: str) -> Network:
        """Any model of a run."""
        if stem == EXTRACTOR and (frozen := _without_images(run, self)):
            return frozen
        file = run.file(f"{stem}.keras")
        with _of_no_network(file):
            outputs = SharedModel(load_model(file), share=self.share)
        return _answering(outputs, file)

    def class_maps(self, run: Run) -> "ClassMaps | None":
        """The network of a run with its last maps."""
        from bccli.core.models.class_maps import ClassMaps, dense_head, with_maps
        from bccli.core.models.graph import extractor_and_head

        file = run.file(MODEL_FILE)
        with _of_no_network(file):
            extractor, head = extractor_and_head(load_model(file))
            model, shapes = with_maps(extractor)
            network = _answering(SharedModel(model, share=self.share), file)
            return ClassMaps(network, shapes, dense_head(head), run.info.settings.get("context", 0.0))


_GPU_PAYS = 30
"""Seconds of work for LiteRT from which a GPU is worth the start of TensorFlow and CUDA, some ten seconds."""

_SPEED = 40e9
"""Multiply-adds that the fast kernels of LiteRT do in a second on a core: see PACKING_PAYS."""


_OPENVINO_PAYS = 10
"""The same for the start of OpenVINO, a second for a large network."""


def faster_engine(tflite: TfliteRuntime, at_least: Callable[[int], bool], watcher: Watcher) -> Engine | None:
    """A GPU or OpenVINO in place of LiteRT, where one is here and the images are worth its start; else None.

    `at_least` says whether there are so many images, of which each is counted as one patch.
    """
    if gpu := gpu_engine(tflite, at_least, watcher):
        return gpu
    worth = tflite.seconds and has_openvino() and at_least(math.ceil(_OPENVINO_PAYS / tflite.seconds))
    return TfliteRuntime(openvino=True) if worth else None


def gpu_engine(tflite: TfliteRuntime, at_least: Callable[[int], bool], watcher: Watcher) -> Engine | None:
    """TensorFlow on a GPU, where one is here and the images are worth its start; else None.

    `at_least` says whether there are so many images, of which each is counted as one patch. Where
    TensorFlow cannot use the GPU, `watcher` is told why.
    """
    worth = tflite.seconds and gpu_is_visible() and at_least(math.ceil(_GPU_PAYS / tflite.seconds))
    if not worth:
        return None
    from bccli.core.models import backend

    tf = backend.start()
    if backend.device_class() == "gpu":
        return KerasEngine(f"TensorFlow on {backend.describe_device(tf)}")
    watcher.warn(f"{backend.describe_device(tf)}; LiteRT computes instead")
    return None


def start_engine(device: str, *, tflite: bool, single: bool = False, verbose: bool = False) -> Engine:
    """LiteRT where a .tflite will do, else TensorFlow on `device`."""
    if tflite:
        return TfliteRuntime(single, choice=device)
    from bccli.core.models import backend

    tf = backend.start(device, verbose=verbose)
    return KerasEngine(f"TensorFlow on {backend.describe_device(tf)}", device)
