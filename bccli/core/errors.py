"""The few kinds of failure that a user can act on.

Each message is one sentence: what is wrong, where, and what to do about it. `bccli.cli` turns the
kind into an exit code; everything else that is raised is a bug and exits with 1.
"""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, cut where it is long; the error's name where it has none."""
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__


class BccliError(Exception):
    """bccli cannot or must not go on (exit code 3)."""

    exit_code = 3


class DataError(BccliError):
    """An input cannot be used as it is: a dataset, a table, a prepared folder."""


class SourceError(DataError):
    """There is too little in a raw dataset's folder to prepare; another folder may have been meant."""


class ImageError(DataError):
    """One image cannot be read; the message is the reason, without the path."""


class ExcludedError(ImageError):
    """One image can be read, but the method leaves it out; `kind` is how dataset.json counts it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type["ExcludedError"], tuple[str, str]]:
        return type(self), (self.kind, str(self))


class LeakageError(BccliError):
    """Patients or pixels of the test images are also in train or val."""


class SettingsError(BccliError):
    """A folder holds the results of other settings than those asked for."""


class LockedError(BccliError):
    """Another process is working on the folder."""


class WeightsError(BccliError):
    """Pretrained weights are missing, damaged, or belong to another network; `lines` of a program make
    them."""

    def __init__(self, message: str, lines: str = "") -> None:
        super().__init__(message)
        self.lines = lines


class TrainingError(BccliError):
    """Training cannot go on: a loss that is not a number, or too little memory."""


class PeerError(BccliError):
    """Another of several processes that train together has failed; this one ends as that one does."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NoProgressError(BccliError):
    """Several starts in a row were stopped before anything was stored."""


class DivergedError(TrainingError):
    """The loss or the weights are no longer numbers; the best epoch before was `kept_epoch`, 0 for none."""

    def __init__(self, message: str, kept_epoch: int = 0) -> None:
        super().__init__(message)
        self.kept_epoch = kept_epoch


class WorkerError(BccliError):
    """A worker process was killed."""


class UsageError(BccliError):
    """The options contradict each other or the command (exit code 2)."""

    exit_code = 2


class Stopped(BaseException):  # (a wish that was granted, not an error)
    """A signal asked for an end and everything worth keeping is saved (exit code 75, or 130 for Ctrl-C).

    Like KeyboardInterrupt no Exception: it can be raised anywhere, and neither Pillow's nor Keras's
    `except Exception` may take it for a damaged image or a faulty layer.
    """

    exit_code = 75

    def __init__(self, message: str, exit_code: int = 75) -> None:
        super().__init__(message)
        self.exit_code = exit_code
