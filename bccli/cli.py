"""The `bccli` command group, and the only place where errors and signals become exit codes."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, NoReturn

import click

from bccli.commands.augment import augment
from bccli.commands.evaluate import evaluate
from bccli.commands.finetune import finetune
from bccli.commands.hierarchy import hierarchy
from bccli.commands.predict import predict
from bccli.commands.prepare import prepare
from bccli.commands.train import train
from bccli.core import interruption
from bccli.core.catalog import nearest
from bccli.core.errors import BccliError, Stopped, WeightsError
from bccli.options.diagnostics import version
from bccli.options.help_pages import WIDTH, HelpContext
from bccli.options.missing import missing
from bccli.recipes import spelling
from bccli.terminal.console import Console
from bccli.terminal.visible import SPELLED, message

_WHOLE = 1000
"""Characters of a command's first sentence that its group's help shows: all."""

_OTHER_SPELLINGS = {
    "--learning-rate": "--lr", "--learning_rate": "--lr", "--bs": "--batch-size", "--model": "--backbone",
    "--network": "--backbone", "--arch": "--backbone", "--image-size": "--size", "--jobs": "--workers",
    "--gpus": "--devices", "--random-state": "--seed", "--early-stopping": "--patience",
    "--n-splits": "--folds", "--amp": "--mixed-precision",
}  # fmt: skip
"""What other tools of the field call an option, where that is not spelled nearly so."""

_ARGUMENTS = {
    **dict.fromkeys(("--output", "--output-dir", "--out", "--out-dir", "--save-dir"), ("out", "run")),
    **dict.fromkeys(("--data", "--data-dir", "--dataset", "--input", "--input-dir"), ("data", "source")),
    **dict.fromkeys(("--run", "--run-dir", "--checkpoint", "--log-dir"), ("run",)),
}
"""What other tools have an option for and bccli an argument, by its names in the commands."""

_MOMENT = 0.02
"""Seconds after which a signal is repeated whose exception was lost."""

_DISK_FULL = "the disk is full; free some space and run the same command again"
_PERMISSIONS = "check its permissions or choose another place"
_OPEN_FILES = "too many files are open; raise the limit (ulimit -n) and run the same command again"
# Failures of the machine that have a sentence of their own; all others are said in the system's words.
_MACHINE = {
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EIO: "input/output error; check the disk or the network and run the same command again",
    errno.ESTALE: "was removed from another machine; run the same command again",
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
    errno.EFBIG: "the file system takes no file of this size; choose another place",
    errno.EACCES: f"permission denied; {_PERMISSIONS}",
    errno.EPERM: f"operation not permitted; {_PERMISSIONS}",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOENT: "no such file or folder; check the path",
    errno.ENOTDIR: "a part of the path is no folder; choose another place",
    errno.EISDIR: "is a folder; name a file",
    errno.EEXIST: "exists and is no folder; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


class BccliGroup(click.Group):
    """A group that ends with the exit codes of the contract, also when a test calls it."""

    def main(self, args: Any = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        extra.pop("standalone_mode", None)
        console = Console()
        try:
            with _signals_as_requests(extra.pop("afterwards", None)):
                code = self._run(args, prog_name or "bccli", extra, console)
        except Stopped as error:
            if not interruption.insisted():  # it came before anything ran; else the end was being told
                _tell(console, error)
            code = error.exit_code
        sys.exit(code)

    def _run(self, args: Any, prog_name: str, extra: dict[str, Any], console: Console) -> int:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # File names that are not UTF-8 keep their bytes, and a pipe gets all others in any locale.
            encoding = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
            sys.stdout.reconfigure(encoding=encoding, errors=SPELLED)
        if isinstance(sys.stderr, io.TextIOWrapper):
            sys.stderr.reconfigure(errors=SPELLED)
        try:
            result = super().main(args, prog_name, standalone_mode=False, obj=console, **extra)
            sys.stdout.flush()
        except click.UsageError as error:
            return _misused(error, console)
        except click.ClickException as error:
            console.error(error.format_message())
            return error.exit_code
        except BrokenPipeError:
            return _closed_pipe()
        except Stopped as error:
            _tell(console, error)
            return error.exit_code
        except BccliError as error:
            console.error(str(error))
            if isinstance(error, WeightsError) and error.lines:
                print(error.lines, file=sys.stderr)
            return error.exit_code
        except (KeyboardInterrupt, click.Abort):
            return 130
        except Exception as error:
            try:
                interruption.stop_if_requested()  # a signal's exception, garbled by what it hit
            except Stopped as stopped:
                _tell(console, stopped)
                return stopped.exit_code
            return _unforeseen(error, console)
        return result if isinstance(result, int) else 0

    def invoke(self, ctx: click.Context) -> Any:
        """As click does it, but for a closed pipe, which click takes for a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _closed_pipe()
        except ModuleNotFoundError as error:
            if sentence := missing(error.name or "", ctx.invoked_subcommand or "bccli"):
                raise BccliError(sentence) from error
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of work."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, with whole sentences."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(_WHOLE)) for name in self.list_commands(ctx)]
            )

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does it, naming the nearest command in every version of click."""
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"no such command {name!r}{nearest(name, self.commands)}", ctx)
        return super().resolve_command(ctx, args)


def _tell(console: Console, stopped: Stopped) -> None:
    """Say that a wish was granted, or what is wrong where the next start would come to the same end."""
    asked = stopped.exit_code in (interruption.STOPPED, *interruption.EXIT_CODES.values())
    (console.note if asked else console.error)(str(stopped))


def _closed_pipe() -> int:
    """The reader has gone, which is its right: leave without a word."""
    _abandon_stdout()
    return 0


def _abandon_stdout() -> None:
    """Send what is left for stdout nowhere, so that the interpreter's own flush does not fail once more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _misused(error: click.UsageError, console: Console) -> int:
    """Wrong options in one sentence; for a command without any arguments, its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    else:
        command = error.ctx.command_path if error.ctx else "bccli"
        ours = not error.ctx and type(error) is click.UsageError  # a recipe's, which says what to do
        console.error(_sentence(error) + ("" if ours else f"; see {command} --help"))
    return error.exit_code


def _sentence(error: click.UsageError) -> str:
    """What click says in several sentences or lines, as one with the nearest known name."""
    if isinstance(error, click.NoSuchOption):
        return f"no such option {error.option_name}{_meant_by(error)}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        parameter = error.param
        option = isinstance(parameter, click.Option)
        name = max(parameter.opts, key=len) if option else parameter.human_readable_name
        if isinstance(error, click.MissingParameter):
            return f"{name} is missing"
        message = error.message.rstrip(".")
        if isinstance(parameter.type, click.Choice) and message.count("'") > 1:
            message += nearest(message.split("'")[1], parameter.type.choices)
        return f"{name}: {message}"
    message = " ".join(error.format_message().split()).rstrip(".")
    return message[:1].lower() + message[1:]


def _meant_by(error: click.NoSuchOption) -> str:
    """What may be meant by an option that a command does not have: one of bccli's own, which stands before
    the command, one that other tools call so, or one that is spelled nearly so."""
    ctx, name = error.ctx, error.option_name
    if ctx is None or ctx.parent is None:
        return nearest(name, error.possibilities or ())
    if any(name in param.opts for param in ctx.parent.command.params):
        return f": it stands before the command, as in {ctx.parent.command_path} {name} {ctx.command.name} …"
    options = {option for param in ctx.command.params for option in param.opts}
    if (ours := _OTHER_SPELLINGS.get(name)) in options:
        return f" (did you mean {ours!r}?)"
    arguments = {param.name: param for param in ctx.command.params if isinstance(param, click.Argument)}
    files = [param for param in ctx.command.params if isinstance(param.type, click.Path)]
    if any("--output" in param.opts for param in files) and "out" in _ARGUMENTS.get(name, ()):
        return " (did you mean '--output'?)"
    if meant := next((arguments[one] for one in _ARGUMENTS.get(name, ()) if one in arguments), None):
        return f"; {meant.human_readable_name} is an argument, given without a name"
    close = [one for one in error.possibilities or () if _alike(name, one)]
    return nearest(name, close)


def _alike(name: str, other: str) -> bool:
    """Whether two options are spelled nearly so without the dashes, which all have."""
    return bool(nearest(name.lstrip("-"), [other.lstrip("-")]))


def _unforeseen(error: Exception, console: Console) -> int:
    """Failures of the machine have a sentence and exit with 3, failures of bccli are bugs and exit with 1."""
    if isinstance(error, OSError) and (error.filename or error.errno in _MACHINE):
        reason = (error.strerror or str(error)).lower()
        text = _MACHINE.get(error.errno or 0, f"{reason}; check the path and its permissions")
        console.error(f"{os.fsdecode(error.filename or 'output')}: {text}")
        if not error.filename:
            _abandon_stdout()
        return 3
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        console.error("out of memory; try a smaller --batch-size or fewer --workers")
        return 3
    if console.verbose:
        import traceback

        for line in traceback.format_exc().splitlines():
            print(message(line), file=sys.stderr)
    hint = "" if console.verbose else "; run it with bccli -v … to see where"
    reason = message(next(iter(str(error).splitlines()), ""))[:300]
    console.error(f"unexpected {type(error).__name__}: {reason}{hint}")
    return 1


@contextmanager
def _signals_as_requests(afterwards: Any = None) -> Iterator[None]:
    """The signals that stop a batch job, and Ctrl-C, ask the work to stop; see `bccli.core.interruption`.

    Then they do what they did before, or what `afterwards` says.
    """
    interruption.forget()
    numbers = interruption.obeyed()
    try:
        before = interruption.listen()
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        yield
        return
    try:
        with _insisting():
            yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler if afterwards is None else afterwards)


def _by_signal(kind: type[BaseException]) -> bool:
    """Whether an exception is a signal's, or what C code makes of one that it did not expect."""
    return issubclass(kind, Stopped) or (issubclass(kind, SystemError) and interruption.stop_requested())


@contextmanager
def _insisting() -> Iterator[None]:
    """Where a signal comes in code that lets no exception out, ask again a moment later.

    Python calls such code where it imports modules or collects garbage, and libraries in C have their own;
    they would print the exception, or what became of it.
    """
    hook, printed = sys.unraisablehook, sys.excepthook

    def lost(unraisable: Any) -> None:
        if _by_signal(unraisable.exc_type):
            signal.setitimer(signal.ITIMER_REAL, _MOMENT)
        else:
            hook(unraisable)

    def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if _by_signal(kind):
            signal.setitimer(signal.ITIMER_REAL, _MOMENT)
        else:
            printed(kind, error, trace)

    before = signal.signal(signal.SIGALRM, lambda signum, frame: interruption.insist())
    sys.unraisablehook, sys.excepthook = lost, told
    try:
        yield
    finally:
        sys.unraisablehook, sys.excepthook = hook, printed
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@click.group(
    "bccli",
    cls=BccliGroup,
    context_settings={
        "auto_envvar_prefix": "BCCLI",
        "help_option_names": ["-h", "--help"],
        "max_content_width": WIDTH,
    },
    epilog="""\b
Examples:
  bccli prepare folder IMAGES data --size 224x224
  bccli train data run --backbone mobilenet
  bccli predict run NEW_IMAGES
""",
)
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    is_eager=True,
    help="Say more, and show where an unexpected error came from.",
)
@version
@click.pass_obj
def cli(console: Console, quiet: bool, verbose: bool) -> None:
    """Classify breast-cancer images: prepare a dataset, augment it, train, evaluate, predict.

    For research. Not a medical device.
    """
    console.quiet, console.verbose = quiet, verbose


def _name_variables(command: click.Command) -> None:
    """Let each option come from the variable that is spelled like it; click asks for its Python name."""
    for param in command.params:
        spelled = spelling(param).replace("-", "_")
        if isinstance(param, click.Option) and param.envvar is None and spelled != param.name:
            param.envvar = f"BCCLI_{command.name}_{spelled}".upper()


for command in (prepare, augment, train, finetune, evaluate, predict, hierarchy):
    _name_variables(command)
    command.context_class = HelpContext
    cli.add_command(command)


def _open_closed_streams() -> None:
    """Send what nobody wants to hear nowhere, lest the next file that is opened get it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, and so the one that is closed
            os.set_inheritable(number, True)  # workers would have it closed, too
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def run() -> NoReturn:
    """The entry point of the `bccli` script; after the command, no signal changes its exit code."""
    _open_closed_streams()
    cli.main(afterwards=signal.SIG_IGN)
