"""What the command blocks of README.md and the guide need: made-up raw data, and what makes them short."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.commands.digital_films import inbreast
from tests.commands.mammograms import cbis, lesions, mini_ddsm
from tests.commands.test_histology import breakhis, databiox, iciar, idc
from tests.conftest import REPOSITORY, Bccli, draw, save
from tests.core.imaging.slides import draw_slide

README = REPOSITORY / "README.md"
GUIDE = REPOSITORY / "examples" / "guide"
PAGES = [README, *sorted(GUIDE.glob("*/*.md"))]
"""README and the guide's folders; pages beside these have tests of their own in test_guide.py."""

Setting = Callable[[Path, Bccli], None]

# Without pretrained weights, and with one epoch where a recipe asks for a thousand.
SHORT = {
    f"BCCLI_{command}_{option}": value
    for command in ("TRAIN", "FINETUNE", "HIERARCHY")
    for option, value in (("WEIGHTS", "none"), ("EPOCHS", "1"), ("STEPS_PER_EPOCH", "2"))
    if (command, option) != ("FINETUNE", "WEIGHTS")
}


@dataclass(frozen=True)
class Block:
    """How a block is run: what lies in the folder, and what is shorter than on its page.

    `environment` sets options that the block leaves to recipes or defaults; `instead` replaces what it
    says itself. An empty value of the environment takes one of `SHORT` back.
    """

    setting: Setting
    environment: Mapping[str, str] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    slow: bool = True


def blocks_of(text: str) -> list[str]:
    """The blocks of commands, and the commands of blocks that show what a terminal shows."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = ("\n".join(re.findall(r"^\$ (.*)$", body, re.MULTILINE)) for kind, body in fences if not kind)
    return [body.strip() for kind, body in fences if kind == "sh"] + [text for text in shown if text]


def run_block(text: str, block: Block, bccli: Bccli) -> None:
    """Run the lines of a block in the current folder; each command has to end with 0."""
    for usual, shorter in block.instead.items():
        assert usual in text, f"the page does not say {usual!r} any more"
        text = text.replace(usual, shorter)
    for line in text.replace("\\\n", " ").splitlines():
        if "bccli" in line.split():
            _run_line(line, bccli)
        else:
            subprocess.run(line, shell=True, check=True, capture_output=True)


def _run_line(line: str, bccli: Bccli) -> None:
    """One line of `bccli …`, perhaps several by `&&`, behind a pipe, or into a file."""
    line, _, target = line.partition(" > ")
    for command in line.split(" && "):
        *before, last = command.split(" | ")
        piped = subprocess.run("|".join(before), shell=True, check=True, capture_output=True).stdout
        program, *words = shlex.split(last, comments=True)
        assert program == "bccli"
        result = bccli(*words, input=piped if before else None)
        assert result.stdout or "-q" in words, command
        if target:
            Path(target).write_text(result.stdout)


# The folders


def _nothing(place: Path, bccli: Bccli) -> None:
    """What the block needs, it makes."""


def _one_per_class(place: Path, name: str = "raw", side: int = 32) -> Path:
    """A raw folder of six patients of two classes."""
    for patient in range(6):
        for number in range(3):
            label = ("benign", "malignant")[patient % 2]
            pixels = draw(patient % 2, 10 * patient + number, (side, side))
            save(place / name / label / f"p{patient}_{number}.png", pixels)
    return place / name


def _prepare(bccli: Bccli, raw: Path, out: Path, *options: object) -> Path:
    bccli("prepare", "folder", raw, out, "--patient-regex", r"/(p\d+)_", "--ratios", "1/1/1", *options)
    return out


def _data(place: Path, bccli: Bccli) -> None:
    _prepare(bccli, _one_per_class(place), place / "data")


def _contradictions(place: Path, bccli: Bccli) -> None:
    """Images of one's own, one of which has two labels, and other data."""
    raw = _one_per_class(place, "MY_IMAGES")
    shutil.copy(raw / "benign" / "p0_0.png", raw / "malignant" / "again.png")
    _prepare(bccli, _one_per_class(place, "more"), place / "more-data")


def _own_images(place: Path, bccli: Bccli) -> None:
    """Images whose names have what README's expression looks for, and others to label."""
    images = _one_per_class(place, "IMAGES")
    shutil.copytree(images / "benign", place / "NEW_IMAGES")


def _words(bccli: Bccli, data: Path, run: Path) -> None:
    """A run that is trained in a second."""
    bccli("train", data, run, "--classifier", "bovw")


def _patches(place: Path, bccli: Bccli) -> None:
    idc(place, patients=(14306, 9036, 10253))
    for number in range(3):
        save(place / "slides" / f"{number}.png", draw(number % 2, number, (50, 50)))


def _slides(place: Path, *, images: int, size: tuple[int, int]) -> None:
    root = iciar(place / "ICIAR2018_BACH_Challenge", images)
    for number, path in enumerate(sorted(root.glob("Photos/*/*.tif"))):
        save(path, draw_slide(number % 5, number, size))


def _histology(place: Path, bccli: Bccli) -> None:
    _slides(place, images=4, size=(512, 512))
    breakhis(place / "BreaKHis_v1", zooms=(40, 100), numbers=2)
    databiox(place / "Databiox")


def _mammography(place: Path, bccli: Bccli) -> None:
    cbis(place / "CBIS-DDSM", lesions(6))
    inbreast(place / "INBREAST")
    films = mini_ddsm(place / "MINI-DDSM").write()
    bccli(
        *("prepare", "mini-ddsm", films, place / "regions", "--task", "malignancy"),
        *("--roi", "crop", "--size", "64x64", "--ratios", "1/1/1"),
    )
    _words(bccli, place / "regions", place / "run")
    for number, mask in enumerate(sorted(films.glob("Cancer/*/*_Mask.jpg"))):
        (place / "new" / "films").mkdir(parents=True, exist_ok=True)
        (place / "new" / "masks").mkdir(exist_ok=True)
        shutil.copy(mask.with_name(mask.name.replace("_Mask", "")), place / f"new/films/{number}.jpg")
        shutil.copy(mask, place / f"new/masks/{number}_mask.jpg")


def _policy(place: Path, bccli: Bccli) -> None:
    """The policy that the page on copies shows."""
    _data(place, bccli)
    text = (GUIDE / "data" / "copies.md").read_text()
    (policy,) = re.findall(r"^```toml\n(\[\[operations.*?)^```$", text, re.M | re.S)
    (place / "mine.toml").write_text(policy, encoding="utf-8")


def _grades(place: Path, bccli: Bccli) -> None:
    databiox(place / "Databiox", cases=2)
    breakhis(place / "BreaKHis_v1", numbers=1)


def _masses(place: Path, bccli: Bccli) -> None:
    _data(place, bccli)
    cbis(place / "CBIS-DDSM", lesions(6))


def _figures(place: Path, bccli: Bccli) -> None:
    breakhis(place / "raw", zooms=(40, 100), numbers=1)
    bccli("prepare", "breakhis", place / "raw", place / "data", "--ratios", "1/1/1", "--size", "32x32")
    _words(bccli, place / "data", place / "run")
    shutil.copy(place / "run" / "predictions.csv", place / "other.csv")
    _prepare(bccli, _one_per_class(place, "more"), place / "more-data")


def _larger(place: Path, bccli: Bccli) -> None:
    _data(place, bccli)
    for number in range(2):
        save(place / "slides" / f"{number}.png", draw(number, number, (32, 32)))


def _whole_slides(place: Path, bccli: Bccli) -> None:
    _slides(place, images=6, size=(1024, 512))
    save(place / "slide.tif", draw_slide(1, 1, (1024, 512)))


def _films(place: Path, bccli: Bccli) -> None:
    """Mini-DDSM, a flat run on the same data, and a second stage that sees crops."""
    films = mini_ddsm(place / "MINI-DDSM").write()
    bccli("prepare", "mini-ddsm", films, place / "whole", "--recipe", "mini-ddsm-hierarchy")
    _words(bccli, place / "whole", place / "flat")
    crops = place / "crops"
    bccli(
        *("prepare", "mini-ddsm", films, crops, "--task", "malignancy", "--roi", "crop"),
        *("--size", "64x64"),
    )
    bccli("train", crops, place / "second", "--epochs", 1)
    (place / "mine.toml").write_text("[hierarchy]\nbatch-size = 4\n", encoding="utf-8")


_SMALL_PHANTOMS = {"BCCLI_PREPARE_COUNT": "48", "BCCLI_PREPARE_PATIENTS": "12"}

BLOCKS = {
    "python3 -m venv": Block(
        _nothing,
        _SMALL_PHANTOMS,
        instead={
            "python3 -m venv .venv && .venv/bin/pip install -e . && ": "",
            '"$PWD/.venv/bin:$PATH" examples': f'"{Path(sys.executable).parent}:$PATH" {REPOSITORY}/examples',
        },
    ),
    ".venv/bin/pip install": Block(
        _nothing,
        instead={
            ".venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest": f"cd {REPOSITORY} && "
            f"{sys.executable} -m pytest -n 0 --collect-only -q"
        },
    ),
    "bccli train --fetch-weights": Block(
        _own_images,
        instead={
            "bccli train --fetch-weights --backbone mobilenet        # once, where there is a network\n": "",
            "--backbone mobilenet\n": "--backbone mobilenet-0.25\n",
            "224x224": "32x32",
        },
    ),
    "bccli prepare phantom histology data": Block(_nothing, _SMALL_PHANTOMS),
    "bccli prepare idc": Block(
        _patches,
        instead={"--weights imagenet": "--weights none", "/new/slides": "slides", "224x224": "32x32"},
    ),
    "bccli prepare bach ICIAR2018_BACH_Challenge data --stain": Block(_histology, slow=False),
    "bccli prepare cbis-ddsm": Block(_mammography, slow=False),
    "bccli prepare folder MY_IMAGES": Block(_contradictions, slow=False),
    "bccli augment": Block(_policy, instead={"60000": "60"}, slow=False),
    "bccli prepare databiox": Block(_grades, {"BCCLI_TRAIN_BACKBONE": "mobilenet-0.25"}),
    "bccli prepare breakhis BreaKHis_v1 data40 --magnification 40 --folds": Block(
        _histology, {"BCCLI_PREPARE_SIZE": "32x32"}, instead={"--folds 5": "--folds 3"}
    ),
    "bccli train data sweep": Block(
        _masses,
        {
            "BCCLI_AUGMENT_TOTAL": "40",
            "BCCLI_TRAIN_BACKBONE": "cnn-15 cnn-16",
            "BCCLI_TRAIN_TRAINABLE": "none",
        },
        instead={"mobilenet --backbone vgg16 --seeds 3": "mobilenet-0.25 --backbone cnn-15 --seeds 2"},
    ),
    "bccli train data run --backbone mobilenet-0.75": Block(
        _data,
        {"BCCLI_TRAIN_EPOCHS": "", "BCCLI_TRAIN_STEPS_PER_EPOCH": ""},  # which classifiers have no use for
        instead={"cbis-20": "mobilenet-0.25"},
    ),
    "bccli evaluate": Block(_figures, slow=False),
    "bccli train data run --backbone vgg16": Block(_larger),
    "bccli prepare bach ICIAR2018_BACH_Challenge data --recipe": Block(
        _whole_slides,
        # the stages have other options each
        {"BCCLI_PREPARE_SAMPLE": "24", **dict.fromkeys(SHORT, "")},
        instead={
            "bilstm:patches": "bilstm:patches --backbone mobilenet-0.25 --weights none --epochs 1",
            "bilstm:images": "bilstm:images --views 2 --epochs 1",
        },
    ),
    "bccli prepare mini-ddsm": Block(
        _films,
        {
            "BCCLI_PREPARE_SIZE": "64x64",
            "BCCLI_HIERARCHY_BACKBONE": "mobilenet-0.25",
            "BCCLI_HIERARCHY_FROM_LAYER": "conv_pw_13",
            "BCCLI_HIERARCHY_TRAINABLE": "none",
        },
    ),
}
"""Every block by the words that it starts with."""


def entry_of(text: str) -> Block | None:
    """The entry of a block, None where the table has none."""
    return next((block for start, block in BLOCKS.items() if text.startswith(start)), None)


def is_slow(text: str) -> bool:
    """Whether a block takes more than some seconds."""
    block = entry_of(text)
    return block is not None and block.slow
