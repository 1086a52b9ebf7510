"""The picture of the README: what a terminal, a diagram and a report show of a run on drawn mammograms.

python examples/picture/picture.py [FILE.png]    bccli's own commands, then Chromium lays them side by side
"""

import csv
import io
import os
import pty
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1500, 860
"""Pixels of the picture."""
COLUMNS = 78
"""Cells of the terminal."""
SHADES = 256
"""Colours that are kept, with which the file is half as large."""

MAKING = (
    "prepare phantom mammography data --count {images} --patients {patients} --size 96x96 --ratios 50/20/30",
    "train data run --backbone cnn-15 --epochs {epochs} --lr 0.0003",
    "prepare phantom mammography later --count 10 --patients 5 --seed 1 --ratios 1/0/1 --size 96x96",
    "evaluate run --output figures --report report.html",
)
SHOWN = "predict run new"

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>bccli</title><style>
body { margin: 0; width: %(width)dpx; height: %(height)dpx; background: #dfe4ea; overflow: hidden;
  display: grid; grid-template: 410px 1fr / 350px 374px 1fr; gap: 14px; padding: 14px;
  box-sizing: border-box; }
div { border-radius: 8px; overflow: clip; min-height: 0; box-shadow: 0 1px 4px #0006; background: white; }
.terminal { grid-area: 1 / 1 / 2 / 3; background: #16181d; color: #e6e6e6; padding: 14px 16px; }
.terminal pre { margin: 0; font: 14.95px/20px "DejaVu Sans Mono", monospace; }
.roc { display: flex; justify-content: center; align-items: center; }
.roc img { width: 104%%; }
.pictures { grid-area: 1 / 3 / 3 / 4; }
iframe { border: 0; width: 100%%; height: 100%%; margin-top: 10px; }
</style><body>
<div class="terminal">%(terminal)s</div>
<div class="roc"><img src="%(roc)s" alt=""></div>
<div class="words"><iframe src="%(report)s#r1-result"></iframe></div>
<div class="pictures"><iframe src="%(report)s#r1-galleries"></iframe></div>
"""


def bccli(words: str, folder: Path) -> None:
    """Run a command, which says on stderr what it does; its tables are not wanted."""
    command = [sys.executable, "-m", "bccli", *shlex.split(words)]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)


def bccli_on_a_terminal(words: str, folder: Path) -> str:
    """What a command writes to a terminal of many colours, with their codes."""
    ours, theirs = pty.openpty()
    seen = {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | seen
    command = [sys.executable, "-m", "bccli", *shlex.split(words)]
    with subprocess.Popen(command, cwd=folder, stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = bytearray()
        while part := _read(ours):
            shown += part
    os.close(ours)
    if process.returncode:
        raise SystemExit(f"bccli {words} ended with {process.returncode}")
    return shown.decode().replace("\r\n", "\n")


def _read(file: int) -> bytes:
    try:
        return os.read(file, 1 << 16)
    except OSError:  # how a terminal says that nobody writes to it any more
        return b""


def new_images(folder: Path) -> None:
    """Give images that no run has seen the names that a clinic might give them."""
    with (folder / "later" / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    (folder / "new").mkdir()
    for number, row in enumerate(rows):
        name = f"{row['patient']}_{row['side']}_{row['view']}_{number:02d}.png"
        shutil.copy(folder / "later" / row["path"], folder / "new" / name)


def page(words: str, shown: str, roc: Path, report: Path) -> str:
    """The three as one page of HTML: a command with what it showed, a diagram, a report from its words on."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ bccli {words}\n{shown}"))
    code = console.export_html(theme=MONOKAI, code_format="<pre>{code}</pre>", inline_styles=True)
    return PAGE % {
        "width": WIDTH, "height": HEIGHT, "terminal": code,
        "roc": escape(roc.as_uri()), "report": escape(report.as_uri()),
    }  # fmt: skip


def photograph(html: Path, file: Path, browser: str) -> None:
    """Let Chromium draw a page, and keep few enough colours for a small file."""
    from PIL import Image

    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--allow-file-access-from-files", f"--user-data-dir={html.parent / 'profile'}",
        f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={file}", html.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with Image.open(file) as image:
        small = image.convert("RGB").quantize(SHADES, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


def make(folder: Path, *, images: int = 480, patients: int = 60, epochs: int = 10) -> Path:
    """Run the commands in an empty folder and write the page there; returns its path."""
    for words in MAKING:
        bccli(words.format(images=images, patients=patients, epochs=epochs), folder)
    new_images(folder)
    shown = bccli_on_a_terminal(f"-q {SHOWN}", folder)
    html = folder / "picture.html"
    html.write_text(page(SHOWN, shown, folder / "figures" / "roc.svg", folder / "report.html"), "utf-8")
    return html


def main(arguments: Sequence[str]) -> None:
    """Make the picture in a folder of its own, which goes again."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if len(arguments) > 1 or (arguments and not arguments[0].endswith(".png")):
        raise SystemExit(__doc__)
    if browser is None:
        raise SystemExit("picture.py lays its parts side by side with Chromium; install it, such as by apt")
    file = Path(arguments[0] if arguments else HERE / "bccli.png").absolute()
    with tempfile.TemporaryDirectory() as folder:
        photograph(make(Path(folder)), file, browser)
    print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
