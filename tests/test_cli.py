"""The program as a whole: what it imports, how fast it answers, where it writes, how it fails."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bccli import __version__
from bccli.cli import cli
from bccli.options.value_types import ListType
from tests.conftest import PATIENT, Bccli, rows_of
from tests.sentences import refused

HEAVY = (
    "numpy",
    "pandas",
    "PIL",
    "tensorflow",
    "keras",
    "sklearn",
    "matplotlib",
    "rich",
    "scipy",
    "tifffile",
)
PREDICTIONS = "path,label,p_a,p_b\n1.png,a,0.9,0.1\n2.png,b,0.2,0.8\n"

MakeFolder = Callable[..., Path]


def modules_after(code: str, arguments: Sequence[object] = ()) -> set[str]:
    """The top-level modules that a fresh interpreter has imported after running `code`."""
    script = f"import sys\n{code}\nprint('MODULES', *{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", script, *(str(argument) for argument in arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(ended.stdout.splitlines()[-1].split()[1:])


RUN = """
from bccli.cli import cli
try:
    cli.main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
"""


def test_the_program_starts_without_anything_heavy() -> None:
    assert not modules_after("import bccli.cli").intersection(HEAVY)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["prepare", "--help"], ["train", "--help"], ["predict", "--help"]],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(RUN, arguments).intersection(HEAVY)


def test_prepare_and_evaluate_do_without_tensorflow(make_folder: MakeFolder, tmp_path: Path) -> None:
    table = tmp_path / "predictions.csv"
    table.write_text(PREDICTIONS)
    commands = ["prepare", "folder", make_folder(), tmp_path / "data", *PATIENT], ["evaluate", table]
    for command in commands:
        assert not modules_after(RUN, command).intersection({"tensorflow", "keras", "sklearn", "pandas"})


def test_a_usage_error_imports_nothing_heavy() -> None:
    code = RUN.replace("assert not ended.code, ended.code", "assert ended.code == 2")
    for arguments in (["train", "data", "run", "--epochs", "x"], ["prepare", "foldr", "raw", "data"]):
        assert not modules_after(code, arguments).intersection(HEAVY)


# Wrong commands and options


def test_a_misspelt_command_names_the_nearest(bccli: Bccli) -> None:
    refused(bccli("trian", exit=2), "'trian'", "did you mean 'train'?", "bccli --help")
    refused(bccli("xyzzy", exit=2), "'xyzzy'", "bccli --help")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("prepare", "foldr", "raw", "data"), ("DATASET", "did you mean 'folder'?")),
        (("prepare",), ("DATASET is missing", "bccli prepare --help")),
        (("prepare", "folder", "raw"), ("OUT is missing",)),
        (("train", "data", "run", "--epoch", "5"), ("--epoch", "did you mean '--epochs'?")),
        (("train", "data", "run", "--epochs", "many"), ("--epochs", "'many'")),
        (("train", "data", "run", "--epochs"), ("--epochs",)),
        (("train", "data", "run", "more"), ("more",)),
        (("evaluate", "run", "--splt", "val"), ("--splt", "did you mean '--split'?")),
        (("predict", "run", "x.png", "--device", "gqu"), ("--device", "did you mean 'gpu'?")),
        (("train", "data", "run", "-q"), ("it stands before the command, as in bccli -q train …",)),
        (("evaluate", "run", "--verbose"), ("as in bccli --verbose evaluate …",)),
        (("train", "data", "run", "--learning-rate", "1"), ("did you mean '--lr'?",)),
        (("evaluate", "run", "--learning-rate", "1"), ("no such option --learning-rate",)),
        (("train", "data", "--output-dir", "run"), ("; RUN is an argument, given without a name; see",)),
        (("augment", "data", "--output-dir", "run"), ("; OUT is an argument, given without a name; see",)),
        (("train", "run", "--data-dir", "data"), ("; DATA is an argument, given without a name; see",)),
        (
            ("predict", "run", "x.png", "--out-dir", "y"),
            ("no such option --out-dir (did you mean '--output'",),
        ),
        (("train", "data", "run", "--alpha", "1"), ("no such option --alpha; see",)),
        (("--verbos", "train"), ("--verbos", "did you mean '--verbose'?")),
    ],
)
def test_wrong_usage_is_one_sentence(
    bccli: Bccli, arguments: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    refused(bccli(*arguments, exit=2), *fragments, "--help")


def test_help_is_on_stdout_and_a_missing_command_on_stderr(bccli: Bccli) -> None:
    shown = bccli("--help").stdout
    assert all(name in shown for name in cli.commands)
    assert bccli("-h").stdout == shown
    assert bccli("--version").stdout == f"bccli, version {__version__}\n"
    nothing = bccli(exit=2)
    assert nothing.stdout == ""
    assert "Commands:" in nothing.stderr


def test_help_has_the_commands_in_the_order_of_work_in_whole_sentences(bccli: Bccli) -> None:
    shown = bccli("--help").stdout
    assert re.findall(r"^  (\w+)  +[A-Z]", shown, re.MULTILINE) == [
        "prepare", "augment", "train", "finetune", "evaluate", "predict", "hierarchy",
    ]  # fmt: skip
    assert "..." not in shown.partition("Commands:")[2]
    assert shown.partition("Examples:\n")[2].count("    bccli ") == 3


@pytest.mark.parametrize("line", re.findall(r"bccli (\w.*)", cli.epilog or ""))
def test_the_examples_of_help_are_commands(bccli: Bccli, line: str) -> None:
    name, *words = line.split()
    with cli.commands[name].make_context(name, words, resilient_parsing=True) as made:
        assert made.params


def test_a_run_in_the_place_of_data_and_the_other_way_round_are_said(bccli: Bccli, tmp_path: Path) -> None:
    for name in ("run.json", "dataset.json"):
        (tmp_path / name[:-5]).mkdir()
        (tmp_path / name[:-5] / name).write_text("{}")
    run, data = tmp_path / "run", tmp_path / "dataset"
    refused(bccli("train", run, tmp_path / "new", exit=3), "is a run, not a prepared dataset")
    refused(bccli("evaluate", data, exit=3), "is a prepared dataset, not a run")
    refused(bccli("finetune", data, tmp_path / "new", "--all", exit=3), "is a prepared dataset, not a run")


@pytest.mark.parametrize("command", list(cli.commands.values()), ids=list(cli.commands))
def test_every_option_explains_itself(command: click.Command) -> None:
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, param.name
            assert not param.is_flag or param.is_eager or param.secondary_opts, param.name


def test_shells_get_a_completion_script() -> None:
    for shell in ("bash", "zsh", "fish"):
        ended = subprocess.run(
            [sys.executable, "-c", "from bccli.cli import run; run()"],
            capture_output=True,
            text=True,
            env={**os.environ, "_BCCLI_COMPLETE": f"{shell}_source"},
            check=False,
        )
        if shell == "bash" and "Bash" in ended.stderr:
            continue  # a bash that is too old is said so
        assert "_BCCLI_COMPLETE" in ended.stdout
        assert "bccli" in ended.stdout


def completed(words: str, number: int) -> list[str]:
    """What a bash is offered for the word of this number, from 0 on."""
    environment = {"_BCCLI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    ended = subprocess.run(
        [sys.executable, "-c", "from bccli.cli import run; run()"],
        capture_output=True, text=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    return [line.partition(",")[2] for line in ended.stdout.splitlines()]


def test_completion_knows_commands_and_options() -> None:
    assert "train" in completed("bccli tr", 1)
    assert "--fold" in completed("bccli train --fo", 2)
    assert not any(completed("bccli xyzzy --fo", 2))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("train --backbone mobilenet-0.2", {"mobilenet-0.25"}),
        ("train --backbone cbis", {"cbis-20"}),
        ("hierarchy --backbone vgg1", {"vgg16", "vgg19"}),
        ("train --recipe bc", {"bcnet"}),
        ("augment --policy tab", {"table5"}),
        ("prepare breakhis raw data --task su", {"subtypes"}),
        ("prepare databiox raw data --task su", set()),
        ("hierarchy --tree gr", {"'grade_1, higher(grade_2, grade_3)'"}),
        ("train --recipe ./mine", {"./mine"}),
    ],
)
def test_completion_knows_names_and_starts_nothing_heavy(words: str, offered: set[str]) -> None:
    line = f"bccli {words}"
    found = set(completed(line, len(line.split()) - 1))
    assert offered <= found
    assert bool(offered) or not any(found)
    environment = {
        "_BCCLI_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    code = f"import os\nos.environ.update({environment})\n{RUN}".replace(
        "assert not ended.code, ended.code", "pass"
    )
    assert not modules_after(code).intersection(HEAVY)


# Streams


def test_results_go_to_stdout_and_nothing_else_does(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path
) -> None:
    result = bccli("prepare", "folder", make_folder(), tmp_path / "data", *PATIENT)
    assert list(rows_of(result.stdout)[0]) == ["part", "label", "images", "patients"]
    start, *progress = result.stderr.splitlines()
    assert start.startswith(f"bccli {__version__} prepare folder: ")
    assert str(tmp_path / "data") in start
    positive, few, *progress = progress
    assert positive == "positive class: malignant (known to be the graver one)"
    assert few.startswith("Warning: fewer than 10 patients of a class are measured")
    assert progress == ["images: 24 of 24"]


def test_quiet_says_only_what_went_wrong(bccli: Bccli, make_folder: MakeFolder, tmp_path: Path) -> None:
    raw = make_folder()
    (few,) = bccli("-q", "prepare", "folder", raw, tmp_path / "data", *PATIENT).stderr.splitlines()
    assert few.startswith("Warning: fewer than 10 patients of a class are measured")
    (raw / "benign" / "p0_0.png").write_bytes(b"")
    result = bccli("-q", "prepare", "folder", raw, tmp_path / "more", *PATIENT, exit=4)
    assert result.stderr.splitlines()[1].startswith("Warning: 1 of 24 images could not be read")
    refused(bccli("-q", "train", raw, tmp_path / "run", exit=3), "not a prepared dataset")


def on_a_terminal(command: list[object], **environment: str) -> bytes:
    """What a command prints where stdin and stdout are a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [str(word) for word in command], stdout=follower, stdin=follower, stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    ) as running:  # fmt: skip
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not part:
                break
            shown += part
        assert running.wait() == 0
    os.close(leader)
    return shown


def test_a_terminal_that_knows_only_ascii_gets_words_for_other_letters(tmp_path: Path) -> None:
    table = tmp_path / "predictions.csv"
    table.write_text(PREDICTIONS)
    command = [sys.executable, "-m", "bccli", "evaluate", table]
    shown = on_a_terminal(command, PYTHONIOENCODING="ascii", PYTHONUTF8="0").decode("ascii")
    assert "kappa" in shown
    assert "?" not in shown


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    table = tmp_path / "predictions.csv"
    table.write_text(PREDICTIONS)
    command = [sys.executable, "-m", "bccli", "evaluate", table]
    shown = on_a_terminal(command)
    assert "┃" in shown.decode()
    assert "accuracy" in shown.decode()
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert piped.stdout.startswith("name,kind,")
    assert piped.stderr == ""


def test_every_format_can_be_asked_for(bccli: Bccli) -> None:
    def printed(format: str) -> str:
        return bccli("evaluate", "-", "--format", format, input=PREDICTIONS).stdout

    assert printed("auto") == printed("csv")
    assert (
        json.loads(printed("json"))["runs"][0]["accuracy"]
        == float(rows_of(printed("csv"))[0]["accuracy"])
        == 1
    )
    assert "majority accuracy" in printed("table")
    for flag in ("prepare --list-datasets", "train --list-backbones"):
        assert rows_of(bccli(*flag.split()).stdout)[0]["name"]


# Failures that nobody foresaw


@pytest.fixture
def break_evaluate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let `bccli evaluate` fail with an exception of one's choice."""

    def install(error: Exception) -> None:
        def fail(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr("bccli.core.evaluation.subjects.subject_of_table", fail)

    return install


def test_a_bug_is_one_sentence_and_with_v_a_traceback(
    bccli: Bccli, break_evaluate: Callable[[Exception], None]
) -> None:
    break_evaluate(RuntimeError("wheel fell off\nand rolled away"))
    result = bccli("evaluate", "-", input=PREDICTIONS, exit=1)
    assert result.stdout == ""
    assert result.stderr == (
        "Error: unexpected RuntimeError: wheel fell off; run it with bccli -v … to see where\n"
    )
    verbose = bccli("-v", "evaluate", "-", input=PREDICTIONS, exit=1).stderr
    assert verbose.startswith("Traceback (most recent call last)")
    assert verbose.endswith("Error: unexpected RuntimeError: wheel fell off\n")


@pytest.mark.parametrize(
    ("error", "fragments"),
    [
        (
            OSError(28, "No space left on device", "out/x.png"),
            ("out/x.png: the disk is full", "run the same command"),
        ),
        (OSError(28, "No space left on device"), ("the disk is full", "run the same command")),
        (OSError(122, "Disk quota exceeded", "out/x.png"), ("out/x.png", "quota", "run the same command")),
        (PermissionError(13, "Permission denied", "out"), ("out: permission denied", "choose another place")),
        (OSError(5, "Input/output error", "out"), ("out: input/output error", "check")),
        (OSError(5, "Input/output error", b"\xff"), ("input/output error", "check")),
        (MemoryError(), ("out of memory", "--batch-size", "--workers")),
    ],
)
def test_failures_of_the_machine_have_a_sentence(
    bccli: Bccli, break_evaluate: Callable[[Exception], None], error: Exception, fragments: tuple[str, ...]
) -> None:
    break_evaluate(error)
    refused(bccli("evaluate", "-", input=PREDICTIONS, exit=3), *fragments)


def test_tensorflows_lack_of_memory_is_one_too(
    bccli: Bccli, break_evaluate: Callable[[Exception], None]
) -> None:
    class ResourceExhaustedError(Exception):
        """Named as TensorFlow names it."""

    break_evaluate(ResourceExhaustedError("OOM when allocating tensor"))
    refused(bccli("evaluate", "-", input=PREDICTIONS, exit=3), "out of memory", "--batch-size")


def test_ctrl_c_exits_with_130(bccli: Bccli, break_evaluate: Callable[[Exception], None]) -> None:
    break_evaluate(KeyboardInterrupt())  # type: ignore[arg-type]
    assert bccli("evaluate", "-", input=PREDICTIONS, exit=130).stdout == ""


def test_a_line_end_in_a_name_does_not_break_the_sentence(bccli: Bccli, tmp_path: Path) -> None:
    refused(bccli("evaluate", tmp_path / "two\nlines", exit=3), "two\\nlines")


def test_a_full_stdout_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "predictions.csv"
    table.write_text(PREDICTIONS)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "bccli", "evaluate", table],
            env=buffered,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 3
    assert ended.stderr.count("the disk is full") == 1
    assert len(ended.stderr.splitlines()) == 1


# Environment


def test_options_come_from_the_environment(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = make_folder()
    monkeypatch.setenv("BCCLI_PREPARE_SIZE", "16x12")
    monkeypatch.setenv("BCCLI_PREPARE_PATIENT_REGEX", PATIENT[1])
    monkeypatch.setenv("BCCLI_QUIET", "1")
    result = bccli("prepare", "folder", raw, tmp_path / "data")
    (few,) = result.stderr.splitlines()
    assert few.startswith("Warning: fewer than 10 patients of a class are measured")
    info = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert info["preparation"]["size"] == [16, 12]
    assert info["patients"] == 6
    bccli("prepare", "folder", raw, tmp_path / "other", "--size", "8x8")
    assert json.loads((tmp_path / "other" / "dataset.json").read_text())["preparation"]["size"] == [8, 8]


@pytest.mark.parametrize("name", cli.commands)
def test_every_option_has_a_variable_that_is_spelled_like_it(name: str) -> None:
    for param in cli.commands[name].params:
        if isinstance(param, click.Option) and param.name != "help":
            spelled = max(param.opts, key=len).lstrip("-").replace("-", "_").upper()
            named = [param.envvar] if isinstance(param.envvar, str) else [*(param.envvar or ())]
            assert f"BCCLI_{name}_{spelled}".upper() in [*named, f"BCCLI_{name}_{param.name}".upper()]


def test_an_option_that_may_be_repeated_comes_from_the_environment_too(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCCLI_TRAIN_BACKBONE", "cnn-15 vgg17")
    refused(bccli("train", prepared, tmp_path / "run", exit=2), "vgg17")
    monkeypatch.delenv("BCCLI_TRAIN_BACKBONE")
    monkeypatch.setenv("BCCLI_TRAIN_CLASSIFIER", "bovw")
    bccli("train", prepared, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["kind"] == "classifier"


def test_a_bad_value_from_the_environment_is_refused(
    bccli: Bccli, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCCLI_PREPARE_SIZE", "large")
    refused(bccli("prepare", "folder", make_folder(), tmp_path / "data", exit=2), "--size", "'large'")
    monkeypatch.setenv("BCCLI_PREPARE_SIZE", "8x8")
    monkeypatch.setenv("BCCLI_PREPARE_COUNT", "5")
    refused(bccli("prepare", "folder", make_folder(), tmp_path / "data", exit=2), "--count", "folder")


def test_the_cache_comes_from_the_environment(
    bccli: Bccli, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both spellings; the audit's hashes land there, as they are nowhere else yet."""
    for number, name in enumerate(("BCCLI_CACHE", "BCCLI_TRAIN_CACHE")):
        shutil.rmtree(prepared / ".cache", ignore_errors=True)
        cache = tmp_path / name
        monkeypatch.setenv(name, str(cache))
        bccli("train", prepared, tmp_path / f"run{number}", "--device", "gpu", exit=3)
        assert any(path.is_file() for path in cache.rglob("*"))
        assert not (prepared / ".cache").exists()


def test_the_group_ends_with_exit_codes_wherever_it_is_called() -> None:
    for arguments, code in ((["--version"], 0), (["trian"], 2), (["evaluate", "nowhere"], 3)):
        assert CliRunner().invoke(cli, arguments).exit_code == code


def test_a_signal_that_comes_before_anything_runs_is_told(
    bccli: Bccli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(cli), "_run", lambda *_: signal.raise_signal(signal.SIGTERM))
    result = bccli("predict", exit=75)
    assert result.stderr == "stopped by SIGTERM; run the same command again to continue\n"


@pytest.mark.parametrize("command", list(cli.commands.values()), ids=list(cli.commands))
@pytest.mark.parametrize("value", ["", " ", ","])
def test_a_list_that_names_nothing_is_refused(command: click.Command, value: str) -> None:
    """As "$IDS" of a shell script may be empty; no hidden layers are the list that may be."""
    for param in command.params:
        if isinstance(param.type, ListType) and param.name != "dense":
            with pytest.raises(click.BadParameter, match="names nothing"):
                param.type.convert(value, param, None)
