"""Lists of two columns beside the images of a dataset: image and class, or image and patient."""

import csv
from collections.abc import Iterator
from pathlib import Path

from bccli.core.data.foreign_tables import encoding_of
from bccli.core.data.patients import plain_number
from bccli.core.datasets.layout.image_files import is_image_name
from bccli.core.errors import DataError
from bccli.core.reading.limits import LIST_BYTES
from bccli.core.reading.regular_files import explained, read_bytes

_MARKS = "\t;,"


def read_pairs(path: Path, second: str = "") -> Iterator[tuple[int, str, str]]:
    """Yield line number, first and second cell of each line; tab, semicolon or comma separate them.

    Where the first line names a column `second`, that is taken for the second cell, and for the first cell
    the first column that is not. Raises DataError where the file cannot be read or a line has no two cells.
    """
    image, other = 0, 1
    for number, line in enumerate(_read_lines(path), 1):
        mark = next((mark for mark in _MARKS if mark in line), ",")
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=mark), [])]
        except csv.Error as error:
            raise DataError(f"{path} line {number}: not valid CSV ({error}); correct it") from None
        if not any(cells):
            continue
        names = [cell.lower() for cell in cells]
        if number == 1 and second in names:
            other = names.index(second)
            image = int(other == 0)
        if len(cells) <= max(image, other) or not cells[image]:
            raise DataError(f"{path} line {number}: {line!r} is not two columns; correct it")
        yield number, cells[image], cells[other]


def _read_lines(path: Path) -> list[str]:
    try:
        data = read_bytes(path, LIST_BYTES)
        return data.decode(encoding_of(data[: 1 << 12])).removeprefix("\ufeff").splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({explained(error)}); check its name and permissions"
        ) from None
    except ValueError:
        raise DataError(f"{path}: is not text in UTF-8; save it as CSV UTF-8 with two columns") from None


def key_of(name: str) -> str:
    """A path in small letters with `/` and without the endings of images, by which lists and images meet."""
    path = name.replace("\\", "/").strip("/").lower()
    while is_image_name(path):
        path = path.rpartition(".")[0]
    return path


def stem_of(name: str) -> str:
    """`key_of` without folders."""
    return key_of(name).rpartition("/")[2]


class ImagePatients:
    """The organisers' list of patients, or one's own: images with or without their folders and endings.

    `lacking` is the remark upon an image that is not in it.
    """

    lacking = "unlisted"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.patients = _read_patients(path)
        self.met: dict[str, str] = {}

    def find(self, name: str) -> str | None:
        """The patient of an image, None where it is not in the list. Raises DataError for a line that means
        two images."""
        segments = key_of(name).split("/")
        for start in range(len(segments)):
            key = "/".join(segments[start:])
            if key in self.patients:
                if self.met.setdefault(key, name) != name:
                    raise DataError(
                        f"{self.path}: {key} is both {self.met[key]} and {name}; write it with its folder"
                    )
                return self.patients[key]
        return None

    def check(self) -> None:
        """Raises DataError where the list has nothing to do with the images."""
        if not self.met:
            raise DataError(
                f"{self.path}: names none of the images here; write image,patient such as n001.tif,12"
            )


def _read_patients(path: Path) -> dict[str, str]:
    patients: dict[str, str] = {}
    for number, image, patient in read_pairs(path, "patient"):
        key = key_of(image)
        if number == 1 and not any(character.isdecimal() for character in key):
            continue
        if plain_number(patients.setdefault(key, patient)) != plain_number(patient):
            raise DataError(
                f"{path} line {number}: {image} is of patient {patient!r} here and of {patients[key]!r} "
                "above; correct one of the two"
            )
    return patients
