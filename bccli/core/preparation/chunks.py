"""The unit of work of `prepare`: some images are read, prepared, written and entered in a journal.

A journal exists only once every image of its chunk is on the disk, so what a killed `prepare` had
finished is never done again, and what it had begun is done again.
"""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccli.core import interruption
from bccli.core.data.dataset import IMAGES_FOLDER, JOURNALS_FOLDER, MASKS_FOLDER
from bccli.core.data.manifest import MANIFEST, Sample, sample_from_cells
from bccli.core.datasets import Reading
from bccli.core.datasets.layout.film_tags import with_tags
from bccli.core.datasets.loading import load_raw, root_of
from bccli.core.errors import DataError, ExcludedError, ImageError
from bccli.core.files import settle, write_into, write_text
from bccli.core.imaging.blankness import blankness_of
from bccli.core.imaging.formats.encoding import encode_png
from bccli.core.imaging.hashes import hash_and_blankness, pixel_hash
from bccli.core.imaging.preparation import Piece, Preparation, prepare_image
from bccli.core.reading.limits import JSON_BYTES
from bccli.core.reading.regular_files import read_bytes
from bccli.core.reading.texts import parse_json

PER_FOLDER = 1000

# Images in a chunk: few where each gives many patches or is a whole mammogram, so that little is done twice
# after a kill, and all workers have something to do.
_IMAGES, _CUT_IMAGES, _LARGE_IMAGES = 128, 4, 16


@dataclass(frozen=True)
class Chunk:
    """Some samples of a raw dataset; `first` is the number of its first image in the whole.

    `tags` are the columns of metadata that the headers of DICOM files are asked for.
    """

    first: int
    samples: tuple[Sample, ...]
    source: Path
    out: Path
    preparation: Preparation
    reading: Reading
    tags: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Its number among all chunks."""
        return self.first // chunk_size(self.preparation)

    @property
    def journal(self) -> Path:
        """The file of the chunk's results."""
        return journal_path(self.out, self.number)


def chunk_size(preparation: Preparation) -> int:
    """The number of raw images in a chunk."""
    if preparation.patches:
        return _CUT_IMAGES
    return _LARGE_IMAGES if preparation.in_grey else _IMAGES


def journal_path(out: Path, number: int) -> Path:
    """The file of a chunk's results."""
    return out / JOURNALS_FOLDER / f"{number:07d}.json"


@dataclass(frozen=True, slots=True)
class Prepared:
    """One prepared image on the disk, with the hashes that the audit needs."""

    sample: Sample
    perceptual: int
    blank: bool


@dataclass(frozen=True)
class Entries:
    """The content of a journal.

    `bad` are unusable images with the reason, `excluded` the kinds of those that the method leaves out,
    `unstained` those whose stain could not be measured, `blank` those that show nothing, with a word for
    their look, and `remarked` those whose masks deserve a remark, with its kind. `tags` are columns and texts
    that headers of images added to their metadata, for each image once.
    """

    prepared: list[Prepared]
    bad: list[tuple[str, str]]
    excluded: list[str]
    unstained: list[str]
    blank: list[tuple[str, str]]
    remarked: list[tuple[str, str]]
    tags: list[tuple[str, str]]


def image_path(number: int, patch: int | None = None, folder: str = IMAGES_FOLDER) -> str:
    """The path of image `number`, or of one of its patches, in a prepared dataset: 1,000 to a folder."""
    image = f"{folder}/{number // PER_FOLDER:03d}/{number:06d}"
    if patch is None:
        return f"{image}.png"
    return f"{image}/{patch // PER_FOLDER:03d}/{patch % PER_FOLDER:03d}.png"


def prepare_chunk(chunk: Chunk) -> tuple[int, int]:
    """Prepare one chunk unless its journal says that it is done. Returns (images, images done before)."""
    inputs = _inputs_hash(chunk)
    if is_done(chunk.journal, chunk.out, inputs):
        return len(chunk.samples), len(chunk.samples)
    entries = new_entries(inputs)
    for number, sample in enumerate(chunk.samples, chunk.first):
        interruption.stop_if_requested()
        try:
            done = _prepare_one(chunk, sample, number)
        except ExcludedError as error:
            entries["excluded"].append(error.kind)
            continue
        except ImageError as error:
            entries["bad"].append([sample.source, str(error)])
            continue
        for name, more in done.items():
            entries[name] += more
    write_journal(chunk.journal, chunk.out, entries)
    return len(chunk.samples), 0


def write_journal(journal: Path, out: Path, entries: dict[str, Any]) -> None:
    """Vouch for the images of a chunk, which are on the disk before: no power failure takes them back."""
    settle(out)
    write_text(journal, json.dumps(entries))


def new_entries(inputs: str) -> dict[str, Any]:
    """A journal before its first entry; `inputs` is the hash of all that it depends on."""
    return {
        "inputs": inputs,
        "rows": [],
        "bad": [],
        "excluded": [],
        "unstained": [],
        "blank": [],
        "remarked": [],
        "tags": [],
    }


def read_entries(journal: Path) -> Entries:
    """Read the journal of a finished chunk. Raises DataError for a damaged one."""
    if (content := _content(journal)) is None:
        raise DataError(f"{journal}: is damaged; remove it and run the same command again")
    prepared = [
        Prepared(sample_from_cells(cells, str(journal)), perceptual, blank)
        for cells, _, perceptual, blank in content["rows"]
    ]
    bad = [(source, reason) for source, reason in content["bad"]]
    blank = [(source, what) for source, what in content["blank"]]
    remarked = [(source, kind) for source, kind in content["remarked"]]
    tags = [(column, text) for column, text in content["tags"]]
    return Entries(prepared, bad, content["excluded"], content["unstained"], blank, remarked, tags)


def _prepare_one(chunk: Chunk, sample: Sample, number: int) -> dict[str, list[Any]]:
    """Prepare one image; returns what its journal gets: a row for it or for each of its patches, and more."""
    raw = load_raw(sample, chunk.source, chunk.reading)
    prepared = prepare_image(raw.image, chunk.preparation, raw.mask)
    cut = chunk.preparation.patches is not None
    sample, tags = with_tags(sample, root_of(chunk.source), chunk.tags)
    rows = [
        _write_piece(chunk.out, sample, piece, number, patch if cut else None)
        for patch, piece in enumerate(prepared.patches)
    ]
    blankness = blankness_of(raw.image)
    return {
        "rows": rows,
        "excluded": [] if rows else ["no_tissue"],
        "unstained": [] if prepared.stained else [sample.source],
        "blank": [[sample.source, blankness]] if blankness else [],
        "remarked": [[sample.source, raw.remark]] if raw.remark else [],
        "tags": [[column, text] for column, text in tags] if rows else [],
    }


def _write_piece(out: Path, sample: Sample, piece: Piece, number: int, patch: int | None) -> list[Any]:
    """Write an image and its mask; returns its manifest row, size in bytes, perceptual hash and blankness."""
    image = np.ascontiguousarray(piece.image)
    sample = replace(
        sample,
        path=image_path(number, patch),
        row=sample.row if piece.row is None else piece.row,
        col=sample.col if piece.col is None else piece.col,
        width=image.shape[1],
        height=image.shape[0],
        sha256=pixel_hash(image),
        mask="",
        box="",
    )
    if piece.mask is not None:
        box = ",".join(map(str, piece.box)) if piece.box else box_of(piece.mask)
        sample = replace(sample, mask=image_path(number, patch, MASKS_FOLDER), box=box)
        write_png(out, sample.mask, piece.mask)
    size = write_png(out, sample.path, image)
    return [sample.to_cells(), size, *hash_and_blankness(image)]


def write_png(out: Path, name: str, pixels: np.ndarray) -> int:
    """Write the PNG `name` of the dataset `out`; returns its size in bytes.

    Its chunk's journal, written later, is what vouches for it. Raises DataError where it would lie outside.
    """
    data = encode_png(pixels)
    write_into(out, name, data)
    return len(data)


def box_of(mask: np.ndarray) -> str:
    """left,top,right,bottom of the mask's pixels, the last two exclusive; empty for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ""
    return f"{columns[0]},{rows[0]},{columns[-1] + 1},{rows[-1] + 1}"


def _inputs_hash(chunk: Chunk) -> str:
    """A hash of all that the chunk's results depend on, files by size and time."""
    digest = hashlib.sha256(json.dumps([chunk.first, chunk.preparation.to_json()]).encode())
    root = root_of(chunk.source)
    for sample in chunk.samples:
        digest.update("\x1f".join(sample.to_cells()).encode("utf-8", "surrogateescape"))
        for name in (sample.source, *sample.masks):
            try:
                status = os.stat(root / name)
            except OSError:
                status = None
            digest.update(f"{status.st_size},{status.st_mtime_ns}".encode() if status else b"-")
    return digest.hexdigest()


def is_done(journal: Path, out: Path, inputs: str) -> bool:
    """Whether the journal belongs to these inputs and its files in `out` are all there in full length."""
    try:
        content = _content(journal)
        path = MANIFEST.index("path")
        return (
            content is not None
            and content["inputs"] == inputs
            and all((out / cells[path]).stat().st_size == size for cells, size, _, _ in content["rows"])
        )
    except (OSError, ValueError):
        return False


def _content(journal: Path) -> dict[str, Any] | None:
    """What a journal holds, None where that is not what `write_journal` wrote. Raises OSError."""
    try:
        content = parse_json(read_bytes(journal, JSON_BYTES))
    except (ValueError, DataError):
        return None
    return content if _is_journal(content) else None


def _is_journal(content: Any) -> bool:
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in _LISTS):
        return False
    texts = content["excluded"] + content["unstained"]
    pairs = content["bad"] + content["blank"] + content["remarked"] + content["tags"]
    return (
        isinstance(content.get("inputs"), str)
        and all(map(_is_row, content["rows"]))
        and all(isinstance(text, str) for text in texts)
        and all(_are_texts(pair, 2) for pair in pairs)
    )


def _is_row(row: Any) -> bool:
    """Whether an entry has an image's manifest row, size in bytes, perceptual hash and blankness."""
    if not isinstance(row, list) or [type(value) for value in row[1:]] != [int, int, bool]:
        return False
    cells = row[0]
    if not isinstance(cells, list) or len(cells) < len(MANIFEST) or (len(cells) - len(MANIFEST)) % 2:
        return False
    return _are_texts(cells, len(cells)) and 0 <= row[2] < 2**64


def _are_texts(values: Any, count: int) -> bool:
    return (
        isinstance(values, list) and len(values) == count and all(isinstance(value, str) for value in values)
    )


_LISTS = "rows", "bad", "excluded", "unstained", "blank", "remarked", "tags"
