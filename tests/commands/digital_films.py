"""INbreast as it is handed out: names, lists and contours are real, films tiny."""

import plistlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tests.commands.mammograms import SIZE, mammogram
from tests.core.imaging.formats.test_dicom import dicom

HEADER = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
SECRET = "Maria Silva"

Region = tuple[str, Sequence[tuple[float, float]]]
"""A name and its points."""


def square(x: float, y: float, side: float) -> list[tuple[float, float]]:
    """The corners of a square by its top left one."""
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


@dataclass(frozen=True)
class DigitalFilm:
    """A film of INbreast: its number, the patient's, side and view as the list has them, and its lesions."""

    number: int
    patient: str
    side: str = "R"
    view: str = "CC"
    category: str = "2"
    regions: tuple[Region, ...] = ()
    density: str = "2"
    age: str = "removed"

    @property
    def stem(self) -> str:
        """The name of its file, which calls the oblique view ML."""
        return f"{self.number}_{self.patient}_MG_{self.side}_{self.view.replace('MLO', 'ML')}_ANON"

    @property
    def row(self) -> str:
        """Its line of the list."""
        return (
            f"removed;{self.age};{self.side};{self.view};201001;{self.number};{self.density};{self.category}"
        )


def property_list(regions: Sequence[Region]) -> bytes:
    """Regions as OsiriX exports them."""
    found = [
        {
            "Area": 1.5,
            "Center": "(0.0, 0.0, 0.0)",
            "Dev": 10.0,
            "IndexInImage": index,
            "Name": name,
            "NumberOfPoints": len(points),
            "Point_mm": [f"({x / 14:.6f}, {y / 14:.6f}, 0.000000)" for x, y in points],
            "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in points],
            "Type": 11,
        }
        for index, (name, points) in enumerate(regions)
    ]
    images = [{"ImageIndex": 0, "NumberOfROIs": len(found), "ROIs": found}]
    return plistlib.dumps({"Images": images})


PATIENTS = tuple(f"{number:02d}746d25eb40b3dc" for number in range(8))
MASS, DOT = ("Mass", square(20, 30, 30)), ("Calcification", [(70.5, 90.25)])
FILMS = (
    DigitalFilm(22678622, PATIENTS[0], "R", "CC", "1"),
    DigitalFilm(22678646, PATIENTS[0], "L", "CC", "3", (MASS,), "4", "045Y"),
    DigitalFilm(22678670, PATIENTS[0], "R", "MLO", "1", density=" " * 193),
    DigitalFilm(22678694, PATIENTS[0], "L", "MLO", "3", (MASS, ("Espiculated Region", square(10, 20, 50)))),
    DigitalFilm(50997461, PATIENTS[1], "R", "MLO", "4a", (("Assymetry", square(5, 5, 20)),)),
    DigitalFilm(50997515, PATIENTS[1], "R", "CC", "4a", (MASS, DOT)),
    DigitalFilm(24055445, PATIENTS[2], "L", "MLO", "4c", (("Cluster", square(40, 60, 12)), DOT)),
    DigitalFilm(24055483, PATIENTS[2], "L", "CC", "4b", (("Calcifications", [(3, 4), (5, 6)]),)),
    DigitalFilm(53581406, PATIENTS[3], "R", "MLO", "6", (MASS,)),
    DigitalFilm(53581379, PATIENTS[3], "L", "MLO", "1"),
    DigitalFilm(20588536, PATIENTS[4], "L", "MLO", "5", (("Distortion", square(30, 40, 25)),)),
    DigitalFilm(20588562, PATIENTS[4], "L", "CC", "5", (("Point 1", square(30, 40, 25)),)),
    DigitalFilm(22670620, PATIENTS[5], "R", "CC", "2", (("Unnamed", [(8, 9)]),)),
    DigitalFilm(22670643, PATIENTS[5], "L", "CC", "2", (MASS,)),
    DigitalFilm(50994535, PATIENTS[6], "R", "MLO", "2", (MASS,)),
    DigitalFilm(50994589, PATIENTS[6], "R", "MLO", "2", (DOT,)),
    DigitalFilm(51048738, PATIENTS[7], "R", "MLO", "2", (("Pectoral Muscle", square(0, 0, 40)), MASS)),
)


def write_list(root: Path, films: Sequence[DigitalFilm]) -> Path:
    """INbreast.csv."""
    path = root / "INbreast.csv"
    path.write_bytes("\r\n".join([HEADER, *(film.row for film in films), ""]).encode())
    return path


def film_pixels(film: DigitalFilm, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A film of 14 bits (height, width)."""
    return mammogram(film.number, size) >> 2


def inbreast(root: Path, films: Sequence[DigitalFilm] = FILMS, *, size: tuple[int, int] = SIZE) -> Path:
    """`INbreast Release 1.0` with all of its folders."""
    for name in ("AllDICOMs", "AllXML", "AllROI", "MedicalReports", "PectoralMuscle/Pectoral Muscle XML"):
        (root / name).mkdir(parents=True)
    (root / "README.txt").write_text("INbreast Release 1.0")
    (root / "INbreast.pdf").write_bytes(b"%PDF")
    (root / "AllDICOMs" / "readImages.m").write_text("% reads images")
    for film in films:
        pixels = film_pixels(film, size)
        (root / "AllDICOMs" / f"{film.stem}.dcm").write_bytes(dicom(pixels, bits=14, PatientName=SECRET))
        (root / "MedicalReports" / f"{film.patient}.txt").write_text(f"Doente: {SECRET}")
        if film.regions:
            write_contours(root, film)
            (root / "AllROI" / f"{film.number}.roi").write_bytes(b"\4\13streamtyped")
        if film.view == "MLO":
            muscle = root / "PectoralMuscle" / "Pectoral Muscle XML" / f"{film.number}_muscle.xml"
            muscle.write_bytes(plistlib.dumps({"ROIPoints": ["{1.0, 2.0}"]}))
    write_list(root, films)
    return root


def write_contours(root: Path, film: DigitalFilm, regions: Sequence[Region] | None = None) -> Path:
    """The contours of a film, or others in their place."""
    path = root / "AllXML" / f"{film.number}.xml"
    path.write_bytes(property_list(film.regions if regions is None else regions))
    return path


def changed(films: Sequence[DigitalFilm], number: int, **changes: str) -> list[DigitalFilm]:
    """The films with one of them changed."""
    return [replace(film, **changes) if film.number == number else film for film in films]
