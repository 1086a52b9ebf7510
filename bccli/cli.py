"""The `bccli` command group, and the only place where errors and signals become exit codes."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from bccli import __version__
from bccli.commands.evaluate import evaluate
from bccli.commands.predict import predict
from bccli.commands.prepare import prepare
from bccli.commands.train import train
from bccli.console import Console
from bccli.core import interruption
from bccli.core.errors import BccliError, Stopped

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class BccliGroup(click.Group):
    """A group that ends with the exit codes of the contract, also when a test calls it."""

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        extra.pop("standalone_mode", None)
        with _signals_as_requests():
            sys.exit(self._run(args, prog_name or "bccli", extra))

    def _run(self, args: Any, prog_name: str, extra: dict[str, Any]) -> int:
        console = Console()
        try:
            result = super().main(args, prog_name, standalone_mode=False, obj=console, **extra)
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except BrokenPipeError:
            return _closed_pipe()
        except Stopped as error:
            console.note(str(error))
            return error.exit_code
        except BccliError as error:
            console.error(str(error))
            return error.exit_code
        except (KeyboardInterrupt, click.Abort):
            return 130
        except Exception as error:
            return _unforeseen(error, console)
        return result if isinstance(result, int) else 0


def _closed_pipe() -> int:
    """The reader has gone, which is its right: leave without a word, also at the interpreter's own flush."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _unforeseen(error: Exception, console: Console) -> int:
    """Failures of the machine have a sentence and exit with 3, failures of bccli are bugs and exit with 1."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        console.error(
            f"{error.filename or 'output'}: the disk is full; free some space and run the same command again"
        )
        return 3
    if isinstance(error, OSError) and error.filename:
        console.error(f"{os.fsdecode(error.filename)}: {(error.strerror or str(error)).lower()}")
        return 3
    if isinstance(error, MemoryError):
        console.error("out of memory; try a smaller --batch-size or fewer --workers")
        return 3
    if console.verbose:
        import traceback

        traceback.print_exc()
    hint = "" if console.verbose else "; run it with bccli -v … to see where"
    console.error(f"unexpected {type(error).__name__}: {error}{hint}")
    return 1


@contextmanager
def _signals_as_requests() -> Iterator[None]:
    """SIGTERM, SIGUSR1 and Ctrl-C ask the work to stop; see `bccli.core.interruption`."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    try:
        before = [
            signal.signal(number, lambda signum, frame: interruption.request(signum)) for number in numbers
        ]
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@click.group(
    cls=BccliGroup, context_settings={"auto_envvar_prefix": "BCCLI", "help_option_names": ["-h", "--help"]}
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.option("-v", "--verbose", is_flag=True, help="Say more, and show where an unexpected error came from.")
@click.version_option(__version__, prog_name="bccli")
@click.pass_obj
def cli(console: Console, quiet: bool, verbose: bool) -> None:
    """Classify breast-cancer images: prepare a dataset, train, evaluate, predict.

    For research. Not a medical device.
    """
    console.quiet, console.verbose = quiet, verbose


for command in (prepare, train, evaluate, predict):
    cli.add_command(command)


def run() -> NoReturn:
    """The entry point of the `bccli` script."""
    cli.main()
