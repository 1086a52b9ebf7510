"""Where the files of a card lie, and whether they are the ones that it means."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from bccli.core.errors import WeightsError
from bccli.core.files import file_hash, replacing_file
from bccli.core.models.cards.card import ONNX, Card
from bccli.core.runs.run_folder import BACKBONE_FOLDER, Run

FOLDER_VARIABLE = "BCCLI_BACKBONES"


@dataclass(frozen=True)
class CardFiles:
    """The files of a network in a folder: `main`, and the SHA-256 of that and of those that it refers to."""

    folder: Path
    main: str
    hashes: Mapping[str, str]

    @property
    def path(self) -> Path:
        """The main file."""
        return self.folder / self.main

    def to_json(self) -> dict[str, Any]:
        """As run.json has it."""
        return {"file": self.main, "files": dict(self.hashes), "folder": str(self.folder)}


def backbones_folder() -> Path:
    """The folder where the files of cards are looked for, besides that of the card."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path.home() / ".bccli" / "backbones").expanduser()


def find_files(card: Card) -> CardFiles:
    """The files of a card. Raises WeightsError where there is none, or it is another one."""
    places = [folder / card.file for folder in _folders_of(card)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise WeightsError(_missing(card, places), card.export.strip())
    found = _hash_of(path)
    if card.sha256 and found != card.sha256:
        raise WeightsError(
            f"{path}: has the SHA-256 {found}, and the card {card.name} is for {card.sha256}; "
            "get the file that the card was written for, or write a card for this one"
        )
    if not card.sha256 and not card.is_template:
        raise WeightsError(
            f'the card {card.name} has no sha256; if {path} is the file, add sha256 = "{found}"'
        )
    others = _others_of(path) if card.suffix == ONNX else ()
    for name, digest in card.files.items():
        if name not in others or _hash_of(path.parent / name) != digest:
            raise WeightsError(
                f"{path}: the card {card.name} names {name} with the SHA-256 {digest}, and that is not what "
                "the network has its weights in; get the files that the card was written for"
            )
    return CardFiles(
        path.parent, path.name, {path.name: found, **{one: _hash_of(path.parent / one) for one in others}}
    )


def _folders_of(card: Card) -> list[Path]:
    """Where a card's file may lie: that of a template never beside it."""
    return [backbones_folder()] if card.is_template else [card.path.parent, backbones_folder()]


def _missing(card: Card, places: list[Path]) -> str:
    where = " nor ".join(map(str, dict.fromkeys(places)))
    if card.is_template:
        return (
            f"{card.name}: its weights do not come with bccli; get them at {card.source} (licence: "
            f"{card.licence}), write {places[0]} by the lines below where PyTorch is, and run the same "
            f"command again; {FOLDER_VARIABLE} names another folder"
        )
    return (
        f"the file of the card {card.name} is neither {where}; put it there, or its folder into "
        f"{FOLDER_VARIABLE} (SHA-256 {card.sha256 or 'unknown'}{_source(card)})"
    )


def _source(card: Card) -> str:
    return f", from {card.source}" if card.source else ""


def _others_of(path: Path) -> list[str]:
    """The names of files that an ONNX model has its weights in. Raises WeightsError for one elsewhere."""
    from bccli.core.models.cards.onnx_graph import other_files

    names = sorted(other_files(path))
    for name in names:
        inner = PurePosixPath(name)
        if inner.is_absolute() or len(inner.parts) != 1 or name in (".", "..") or "\\" in name:
            raise WeightsError(
                f"{path}: has weights in {name!r}, which is not in its folder; save the model again"
            )
        other = path.parent / name
        if other.is_symlink() or not other.is_file():
            raise WeightsError(f"{path}: has weights in {name}, which is not beside it; copy both")
    return names


def find_again(run: Run, facts: Mapping[str, Any]) -> CardFiles:
    """The files that a run was trained with, by their hashes. Raises WeightsError naming what is missing."""
    other = ""
    for folder in _folders_of_run(run, facts):
        lying = [name for name in facts["files"] if (folder / name).is_file()]
        wrong = [name for name in lying if _hash_of(folder / name) != facts["files"][name]]
        if len(lying) == len(facts["files"]) and not wrong:
            return CardFiles(folder, facts["file"], facts["files"])
        other = other or (f"; {folder / wrong[0]} is another file" if wrong else "")
    wanted = ", ".join(f"{name} (SHA-256 {digest})" for name, digest in facts["files"].items())
    raise WeightsError(
        f"{run.root}: needs the network that it was trained on, {wanted}, and it is neither in "
        f"{facts['folder']} nor in {backbones_folder()}{other}; put it there, or name its folder in "
        f"{FOLDER_VARIABLE}"
    )


def _folders_of_run(run: Run, facts: Mapping[str, Any]) -> Iterator[Path]:
    yield run.root / BACKBONE_FOLDER
    yield Path(facts["folder"])
    yield backbones_folder()


def save_files(files: CardFiles, root: Path) -> None:
    """Copy the files into the run in the folder `root`; runs beside it, such as those of other folds, share
    one copy where the disk can."""
    target = root / BACKBONE_FOLDER
    target.mkdir(exist_ok=True)
    for name, digest in files.hashes.items():
        beside = (path for path in root.parent.glob(f"*/{BACKBONE_FOLDER}/{name}") if path != target / name)
        twin = next((path for path in beside if _hash_of(path) == digest), None)
        with replacing_file(target / name) as temporary:
            _copy(files.folder / name, twin, temporary)


def _copy(source: Path, twin: Path | None, target: Path) -> None:
    """Copy a file; where it has a twin, that is linked."""
    if twin:
        with suppress(OSError):
            target.unlink(missing_ok=True)
            os.link(twin, target)
            return
    shutil.copyfile(source, target)


def _hash_of(path: Path) -> str:
    status = path.stat()
    return _hashed(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _hashed(path: Path, size: int, changed: int) -> str:
    """The hash of a file, once as long as it stays as it is."""
    return file_hash(path)
