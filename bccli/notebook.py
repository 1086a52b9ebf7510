"""The way in from Python: what `predict` and `evaluate` print, and the rows of a dataset, as pandas frames.

`bccli.load` and `bccli.read` are these; nothing else of the package is promised to stay as it is.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bccli.core.progress import Watcher

if TYPE_CHECKING:
    from pandas import DataFrame

    from bccli.core.runs.run_folder import Run

Named = str | os.PathLike[str]
"""A path as Python's own functions take it."""

P = ParamSpec("P")
T = TypeVar("T")


class _Warnings(Watcher):
    """Python's warnings are where a notebook shows what a command says on stderr; notes are left out."""

    def warn(self, text: str) -> None:
        warnings.warn(text, UserWarning, stacklevel=_to_the_caller())


def _to_the_caller() -> int:
    """The stacklevel of the first line outside the package, for who is asked by the one that warns.

    Python shows a text once for each line: were it a line of the package, a second call would say nothing.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "bccli":
        frame, level = frame.f_back, level + 1
    return level


def _told(call: Callable[P, T]) -> Callable[P, T]:
    """A call that says of a package that is not installed what the command says."""

    @wraps(call)
    def telling(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except ModuleNotFoundError as error:
            from bccli.core.errors import BccliError
            from bccli.options.missing import missing

            if sentence := missing(error.name or "", call.__name__):
                raise BccliError(sentence) from error
            raise

    return telling


@dataclass(frozen=True, repr=False)
class LoadedRun:
    """A complete run; its network is loaded by each call that needs it.

    `device` is auto, cpu or gpu, as `--device`; `workers` threads read images.
    """

    run: "Run"
    device: str
    workers: int

    def __repr__(self) -> str:
        return f"<bccli run {self.run.name!r}: {self.run.info.kind}, {'/'.join(self.classes)}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in order, as in the columns `p_<class>`."""
        return self.run.classes

    @_told
    def predict(
        self, paths: Named | Iterable[Named], *, level: str = "image", masks: Named | None = None
    ) -> "DataFrame":
        """Label images, given as one path or several; a folder stands for all images below it.

        The rows and columns are those of `bccli predict --format csv`: `path`, `predicted`, `probability`
        and `p_<class>` from 0 to 1, whatever else the run answers, and `error`, a row per image in the order
        of the paths. With the level `patch`, a row per patch, with its `row` and `col` in pixels of the
        image. `masks` is a folder of masks, as `--mask-dir`. An image that cannot be read is no exception but
        a row that says why in `error`. Raises `bccli.core.errors.DataError` where there are no images or the
        run cannot label them, UsageError for a level that it does not know or an empty list of paths, and
        TypeError for what is no path, such as an array. What the command warns of is a UserWarning.
        """
        from pandas import DataFrame

        from bccli.core.imaging.remarks import Remarks
        from bccli.core.prediction.decisions import Tally
        from bccli.core.prediction.file_predictions import remarked
        from bccli.core.prediction.image_paths import LeftOut

        _one_of("level", level, ("image", "patch"))
        remarks, tally, left_out, watcher = Remarks(), Tally(), LeftOut(), _Warnings()
        names = _names(paths)
        answers = self._answers(names, left_out, level == "patch", masks, watcher)
        rows = list(tally.through(row for entry in remarked(answers, remarks) for row in entry.rows))
        said = [f"{remarks}; look at their labels"] if remarks.count else []
        if errors := sum(bool(row["error"]) for row in rows):
            said.append(f"{errors} of {len(rows)} images have no label; their rows say why")
        for sentence in (*said, *filter(None, [tally.warning()]), *left_out.sentences()):
            watcher.warn(sentence)
        return DataFrame(rows)

    def _answers(
        self, names: list[str], left_out: Any, by_patch: bool, masks: Named | None, watcher: Watcher
    ) -> Iterable[Any]:
        """The rows of each image, or of each file of vectors where the run knows such only."""
        from bccli.core.prediction.file_predictions import rows_of_images
        from bccli.core.prediction.image_paths import Upcoming, images_named
        from bccli.core.prediction.of_vectors.entries import Wanted
        from bccli.core.prediction.of_vectors.file_answers import find_vector_files, rows_of_vectors
        from bccli.core.prediction.predictor import images_per_step, load_predictor, with_masks

        root = self.run.root
        if self.run.info.vectors:
            images = Upcoming(find_vector_files(iter(names), root))
            answer: Any = partial(rows_of_vectors, wanted=Wanted.by([self.run]))
        else:
            images = images_named(names, left_out, named=", ".join(names))
            answer = partial(rows_of_images, workers=self.workers)
        single = not images.at_least(2)
        predictor = load_predictor(
            [root], device=self.device, single=single, at_least=images.at_least, by_patch=by_patch,
            step=images_per_step([root]), watcher=watcher,
        )  # fmt: skip
        predictor = with_masks(predictor, root, Path(masks) if masks else None, watcher)
        return answer(predictor, images)

    @_told
    def evaluate(
        self,
        data: Named | None = None,
        *,
        split: str | None = None,
        level: str = "image",
        bootstrap: int | None = None,
    ) -> "DataFrame":
        """Measure the run on its own `split` (val, by default test), or on all images of a prepared dataset.

        One row, whose columns are those of `bccli evaluate --format csv`: shares from 0 to 1 and the limits
        of their 95 % intervals in `<measure>_low` and `<measure>_high`, None where a measure does not apply;
        where no interval can be had, there are no such columns. `data` is the folder of a prepared dataset,
        and leaks between it and what the run was trained on are a UserWarning. `level` is what counts as one
        case: image, patch, patient, breast or exam. `bootstrap` is the number of rounds for the intervals, 0
        for none. Raises `bccli.core.errors.DataError` where the run does not fit the data, UsageError for a
        level that nobody can count, a split of `data`, or rounds that `--bootstrap` refuses.
        """
        from pandas import DataFrame

        from bccli.core.errors import UsageError
        from bccli.core.evaluation.evaluate import evaluate
        from bccli.core.evaluation.leaderboard import figures_json, leaderboard, with_remarks_on_images
        from bccli.core.evaluation.subjects import with_trees
        from bccli.core.evaluation.terms import Terms
        from bccli.terminal.figure_rows import flat_rows

        if split and data is not None:
            raise UsageError("split is for a run's own images, and data is taken whole; leave one out")
        _one_of("split", split or "test", ("val", "test"))
        _one_of("level", level, ("image", "patch", "patient", "breast", "exam"))
        _rounds(bootstrap)
        watcher = _Warnings()
        (subject,) = with_trees([self._subject(data, split or "test", watcher)])
        terms = Terms(level=level, rounds=bootstrap)
        done = with_remarks_on_images(leaderboard([evaluate(subject, terms, watcher)]))
        found = figures_json([figures for entry in done for figures in entry.figures])
        return DataFrame(flat_rows(found["runs"]))

    def _subject(self, data: Named | None, split: str, watcher: Watcher) -> Any:
        """The run's own predictions of a split, or new ones of a dataset."""
        from bccli.core.evaluation.subjects import subject_of_run

        if data is None:
            return subject_of_run(self.run, split)
        from bccli.core.data.dataset import load_dataset
        from bccli.core.evaluation.external import subject_on
        from bccli.core.runs.locks import reading

        with reading(Path(data)):
            return subject_on(
                self.run, load_dataset(Path(data)), device=self.device, workers=self.workers, watcher=watcher
            )


def load(run: Named, *, device: str = "auto", workers: int | None = None) -> LoadedRun:
    """Open a complete run, a folder that `bccli train`, `finetune` or `hierarchy` has written.

    `device` is auto, cpu or gpu; `workers` threads read images, by default as many as there are cores.
    Raises `bccli.core.errors.DataError` where the folder is no complete run, UsageError for another device
    or for fewer than 1 worker.
    """
    from bccli.core.cores import available_cores
    from bccli.core.runs.run_folder import load_run

    _one_of("device", device, ("auto", "cpu", "gpu"))
    if workers is not None:
        _whole("workers", workers, 1)
    return LoadedRun(load_run(Path(run)), device, workers or available_cores())


@_told
def read(data: Named) -> "DataFrame":
    """The rows of a prepared dataset, one an image: the columns of its manifest.csv.

    `path` is relative to the folder `data`; text is empty where it is unknown. Whole numbers (`fold`,
    `variant`, and `row`, `col`, `width` and `height` in pixels) are of pandas' type Int64, NA where unknown.
    Raises `bccli.core.errors.DataError` where the folder is no complete prepared dataset.
    """
    from bccli.core.data.dataset import load_dataset

    return load_dataset(Path(data)).frame()


def _names(paths: Named | Iterable[Named]) -> list[str]:
    """One path or several as text. Raises UsageError where there is none, TypeError for what is no path."""
    from bccli.core.errors import UsageError

    if isinstance(paths, bytes) or not isinstance(paths, str | os.PathLike | Iterable):
        raise _no_path(paths)
    names = [_name(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not names:
        raise UsageError("the list of paths is empty; name images or folders that hold some")
    return names


def _name(path: Named) -> str:
    if not isinstance(path, str | os.PathLike):
        raise _no_path(path)
    return os.fsdecode(path)


def _no_path(value: object) -> TypeError:
    return TypeError(
        f"predict takes paths of images or folders, and {type(value).__name__} is none; write the image to a "
        "file and name that"
    )


def _rounds(bootstrap: int | None) -> None:
    """Raises UsageError for rounds that `--bootstrap` does not take either."""
    from bccli.core.errors import UsageError
    from bccli.options.value_types import FEWEST_ROUNDS

    if bootstrap is None:
        return
    _whole("bootstrap", bootstrap, 0, 1_000_000)
    if 0 < bootstrap < FEWEST_ROUNDS:
        raise UsageError(
            f"bootstrap is {bootstrap}, and so few rounds are not enough for 95 % intervals; give "
            f"{FEWEST_ROUNDS} or more, or 0 for no intervals"
        )


def _whole(name: str, value: int, least: int, most: int | None = None) -> None:
    """Raises UsageError for what is no whole number within the limits."""
    from numbers import Integral

    from bccli.core.errors import UsageError

    if not isinstance(value, Integral) or value < least or (most is not None and value > most):
        limits = f"{least} or more" if most is None else f"from {least} to {most:,}"
        raise UsageError(f"{name} is {value!r}; it has to be a whole number, {limits}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises UsageError for what is none of the known values."""
    from bccli.core.catalog import nearest
    from bccli.core.errors import UsageError

    if value not in known:
        hint = nearest(value, known)
        raise UsageError(f"{name} {value!r} is none of {', '.join(known)}{hint}")
