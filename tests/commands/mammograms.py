"""Mammography as it is downloaded: names, folders, tables and formats are real, images tiny."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import save
from tests.core.imaging.formats.test_dicom import dicom

ROOT = "1.3.6.1.4.1.9590.100.1.2."
SIZE = 96, 160
"""Width and height of a mammogram."""


def mammogram(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth noisy film uint16 (height, width) that does not use the whole range."""
    rng = np.random.default_rng(seed)
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    breast = np.clip(1.2 - np.hypot(columns / width, (rows - height / 2) / height), 0, 1)
    return (4000 + 30_000 * breast + rng.integers(0, 3000, (height, width))).astype(np.uint16)


def lesion_mask(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask uint8 of 0 and 255 (height, width) of one ellipse."""
    rng = np.random.default_rng(seed)
    width, height = size
    x, y = rng.integers(width // 4, width // 2), rng.integers(height // 4, height // 2)
    across, down = rng.integers(9, 14, 2)
    rows, columns = np.mgrid[:height, :width]
    return np.where(((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1, 255, 0).astype(np.uint8)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """left, top, right, bottom."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True)
class Lesion:
    """A row of a case list of CBIS-DDSM; with `swapped`, it names the mask as the crop and the other way."""

    patient: str
    pathology: str = "BENIGN"
    number: int = 1
    side: str = "LEFT"
    view: str = "CC"
    split: str = "train"
    kind: str = "mass"
    swapped: bool = False

    @property
    def seed(self) -> int:
        """What its pixels are drawn from."""
        return (
            int(self.patient[2:]) * 100 + self.number * 10 + (self.view == "CC") + 2 * (self.side == "LEFT")
        )

    @property
    def case(self) -> str:
        """The folder of the mammogram."""
        kind, split = {"mass": "Mass", "calc": "Calc"}[self.kind], {"train": "Training", "test": "Test"}
        return f"{kind}-{split[self.split]}_{self.patient}_{self.side}_{self.view}"

    def uid(self, what: int) -> str:
        """A UID of its own for the study or series of its image (0, 1) or its mask and crop (2, 3)."""
        seed = self.seed // 100 * 100 + self.seed % 10 if what < 2 else self.seed
        return f"{ROOT}{10**30 + (seed * 10 + what) * 7_654_321 + len(self.kind + self.split)}"

    @property
    def paths(self) -> dict[str, str]:
        """The three paths as the list has them."""
        crop, mask = (1, 0) if self.swapped else (0, 1)
        region = f"{self.case}_{self.number}/{self.uid(2)}/{self.uid(3)}"
        return {
            "image file path": f"{self.case}/{self.uid(0)}/{self.uid(1)}/000000.dcm",
            "cropped image file path": f"{region}/00000{crop}.dcm",
            "ROI mask file path": f"{region}/00000{mask}.dcm\n",
        }

    def row(self) -> dict[str, str]:
        """All cells of its row."""
        density = "breast_density" if self.kind == "mass" else "breast density"
        return {
            "patient_id": self.patient,
            density: "3",
            "left or right breast": self.side,
            "image view": self.view,
            "abnormality id": str(self.number),
            "abnormality type": {"mass": "mass", "calc": "calcification"}[self.kind],
            "mass shape": "IRREGULAR-ARCHITECTURAL_DISTORTION",
            "assessment": "4",
            "pathology": self.pathology,
            "subtlety": "4",
            **self.paths,
        }


def lesions(patients: int = 6) -> list[Lesion]:
    """Masses of so many training patients and half as many test patients, some on one film, some swapped."""
    found = []
    for patient in range(patients + patients // 2):
        split = "train" if patient < patients else "test"
        pathology = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK")[patient % 3]
        for number, (side, view) in enumerate((("LEFT", "CC"), ("RIGHT", "MLO"))):
            found.append(
                Lesion(
                    f"P_{patient:05d}", pathology, 1, side, view, split, swapped=(patient + number) % 2 == 1
                )
            )
        if patient % 3 == 0:
            found.append(Lesion(f"P_{patient:05d}", pathology, 2, "LEFT", "CC", split))
    return found


def write_lists(root: Path, rows: Iterable[Lesion], **options: str) -> None:
    """The case lists of these lesions, with CRLF and with line breaks inside of cells, as the real ones."""
    rows = list(rows)
    for kind, split in {(row.kind, row.split) for row in rows}:
        theirs = [row.row() for row in rows if (row.kind, row.split) == (kind, split)]
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, list(theirs[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(theirs)
        data = stream.getvalue().encode(options.get("encoding", "utf-8"))
        folder = root / options.get("folder", ".")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{kind}_case_description_{split}_set.csv").write_bytes(data)


def place(path: str, style: str) -> str:
    """Where a download in this style has what the lists call `path`."""
    case, study, series, name = path.strip().split("/")
    if style == "digits":
        number = int(name[:6]) + 1
        what = "full mammogram images" if case.count("_") == 4 else "ROI mask images"
        return (
            f"CBIS-DDSM/{case}/07-20-2016-DDSM-NA-{study[-5:]}/1.000000-{what}-{series[-5:]}/1-{number}.dcm"
        )
    if style == "series":
        return f"cbis_ddsm/{case}/{study}/MG_{series}/{name}"
    if style == "jpeg":
        return f"jpeg/{series}/{int(name[:6]) + 1}-{sum(series.encode()) % 300:03d}.jpg"
    return f"CBIS-DDSM/{case}/{study}/{series}/{name}"


def cbis(
    root: Path,
    rows: Sequence[Lesion],
    style: str = "uids",
    *,
    size: tuple[int, int] = SIZE,
    sizes: Mapping[Lesion, tuple[int, int]] | None = None,
    **files: bytes,
) -> Path:
    """CBIS-DDSM with these lesions on films of this size (width, height).

    Masks have the films' size, or that which `sizes` have for a lesion, as 78 of the real ones are smaller.
    `files` replace what is at a role: image, mask or crop.
    """
    write_lists(root, rows, folder="csv" if style == "jpeg" else ".")
    info = []
    for row in rows:
        image, mask = mammogram(row.seed // 100 * 100 + row.seed % 10, size), lesion_mask(row.seed, size)
        left, top, right, bottom = box_of(mask)
        pixels = {"image": image, "mask": mask, "crop": image[top:bottom, left:right]}
        if sizes and row in sizes:
            pixels["mask"] = np.asarray(Image.fromarray(mask).resize(sizes[row], Image.Resampling.NEAREST))
        crop, listed = row.paths["cropped image file path"], row.paths["ROI mask file path"]
        roles = {
            "image": row.paths["image file path"],
            "mask": crop if row.swapped else listed,
            "crop": listed if row.swapped else crop,
        }
        for role, name in roles.items():
            path = root / place(name, style)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.get(role) or encoded(pixels[role], style))
            info.append(
                {
                    "file_path": f"CBIS-DDSM/dicom/{name.strip()}",
                    "image_path": f"CBIS-DDSM/{place(name, style)}",
                    "PatientName": "Doe^Jane",
                    "SeriesInstanceUID": name.split("/")[2],
                }
            )
    if style == "jpeg":
        write_table(root / "csv" / "dicom_info.csv", info)
    return root


def encoded(pixels: np.ndarray, style: str) -> bytes:
    """Pixels as a DICOM or, of 8 bits, as a JPEG file."""
    if style != "jpeg":
        return dicom(pixels)
    stream = io.BytesIO()
    levels = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    Image.fromarray(levels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def write_table(path: Path, rows: Sequence[Mapping[str, object]], encoding: str = "utf-8") -> Path:
    """A CSV file with these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def circle(size: tuple[int, int], x: int, y: int, radius: int, *, line: bool = True) -> np.ndarray:
    """A mask uint8 (height, width) of a circle, as a thin line or filled."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    far = np.hypot(columns - x, rows - y)
    return np.where((np.abs(far - radius) < 1) if line else (far <= radius), 255, 0).astype(np.uint8)


FILM = 60, 100


@dataclass
class MiniDdsm:
    """Mini-DDSM in a folder, film by film; `films` are the rows of its index."""

    root: Path
    ending: str = "jpg"
    films: list[dict[str, object]] = field(default_factory=list)

    def add(
        self, status: str, number: str, marked: Mapping[str, int], age: object = 50, density: int = 2
    ) -> None:
        """Four films of a patient; `marked` says how many contours `LEFT_CC` and so on have."""
        for side in ("LEFT", "RIGHT"):
            for view in ("CC", "MLO"):
                self._add_film(status, number, side, view, marked.get(f"{side}_{view}", 0), age, density)

    def _add_film(
        self, status: str, number: str, side: str, view: str, contours: int, age: object, density: int
    ) -> None:
        stem = f"{'ABC'[len(status) % 3]}_{number}_1.{side}_{view}"
        folder = f"{status}\\{number}"
        rng = np.random.default_rng(len(self.films))
        width = FILM[0] + 4 * (len(self.films) % 5)
        film = rng.integers(20, 200, (FILM[1], width)).astype(np.uint8)
        save(self.root / status / number / f"{stem}.{self.ending}", film)
        row: dict[str, object] = {
            "fullPath": f"\\{folder}\\{stem}.{self.ending}",
            "fileName": f"\\{stem}.{self.ending}",
            "View": view,
            "Side": side,
            "Status": status,
            "Age": age,
            "Density": density,
        }
        for place in range(6):
            name = f"{stem}_Mask{place + 1 if place else ''}.{self.ending}"
            here = place < contours
            if here:
                mask = circle((width, FILM[1]), 14 + 12 * (place % 3), 20 + 30 * (place // 3), 7)
                save(self.root / status / number / name, mask)
            column = f"Tumour_Contour{place + 1 if place else ''}"
            row[column] = f"{folder}\\{name}" if here else "-" if place < 2 else ""
        self.films.append(row)

    def write(self, name: str = "Dataset.csv") -> Path:
        """Write the index; returns the folder."""
        write_table(self.root / name, self.films)
        return self.root


def mini_ddsm(root: Path) -> MiniDdsm:
    """Twelve patients; number 0001 is three of them, and one tumour is marked in one view only."""
    dataset = MiniDdsm(root)
    for number in range(4):
        dataset.add("Normal", f"{number + 1:04d}", {}, age=40 + number)
        dataset.add("Benign", f"{number + 1:04d}", {"LEFT_CC": 1, "LEFT_MLO": 1 + number}, age=50 + number)
        dataset.add(
            "Cancer", f"{number + 1:04d}", {"RIGHT_CC": 1, "RIGHT_MLO": number and 1}, age=60 + number
        )
    return dataset


MIAS = """\
INFORMATION: the films of the database

mdb001 G CIRC B 535 425 197
mdb002 G NORM
mdb003 D NORM
mdb004 D CALC M 100 900 40
mdb004 D CALC M 300 900 30
mdb005 F CIRC B 477 133 30
mdb005 F MISC M 500 168 26
mdb006 F NORM
mdb007 G CALC B
mdb008 G CALC M *NOTE 3*
mdb009 F NORM
mdb010 F CIRC B 525 425 33
"""


def mias(root: Path, text: str = MIAS, size: int = 1024) -> Path:
    """MIAS's films and Info.txt; each film has its own brightness."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "Info.txt").write_text(text)
    for film in range(1, 11):
        Image.fromarray(np.full((size, size), 20 * film, np.uint8)).save(root / f"mdb{film:03d}.pgm")
    return root
