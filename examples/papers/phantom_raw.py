"""Made-up raw datasets in the layouts of the five papers' downloads: names, folders and tables are real,
the images are bccli's phantoms and small.

    python phantom_raw.py databiox|breakhis|bach|cbis-ddsm|mini-ddsm FOLDER
"""

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bccli.core.imaging.phantoms import draw_phantom

SIDE = 64
"""Pixels of a film's or a slide's shorter side."""


@dataclass(frozen=True)
class Scene:
    """What a picture shows: `share` of its width is malignant, the rest benign; None is without a lesion."""

    kind: str
    share: float | None
    patient: int
    slide: int = 1
    number: int = 1
    size: tuple[int, int] = (SIDE, SIDE)

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """The RGB image (height, width, 3) and the mask (height, width) of 0 and 255."""
        benign, malignant = self._drawn("benign"), self._drawn("malignant")
        if self.share is None:
            image, mask = benign
            return cv2.inpaint(image, cv2.dilate(mask, np.ones((3, 3))), 2, cv2.INPAINT_TELEA), 0 * mask
        left = round(self.share * self.size[0])
        image, mask = (np.hstack([m[:, :left], b[:, left:]]) for m, b in zip(malignant, benign, strict=True))
        return image, mask

    def _drawn(self, label: str) -> tuple[np.ndarray, np.ndarray]:
        return draw_phantom(
            self.kind,
            label,
            seed=0,
            patient=self.patient,
            slide=self.slide,
            number=self.number,
            size=self.size,
        )


def save(path: Path, pixels: np.ndarray) -> None:
    """Write an image, with the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    """A CSV file of these rows, with line ends as Windows writes them."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def write_databiox(root: Path) -> None:
    """Three grades of eight patients, one image of each at every magnification."""
    for grade, share in ((1, 0.0), (2, 0.5), (3, 1.0)):
        for number in range(1, 9):
            case = 9000 + 100 * grade + number
            for magnification in (4, 10, 20, 40):
                folder = root / f"BC_IDC_Grade_{grade}" / f"{magnification}x"
                image, _ = Scene("histology", share, case, number=magnification).draw()
                save(folder / f"{number:02d}_BC_G{grade}_{case}_{magnification}x_1.png", image)


def write_breakhis(root: Path) -> None:
    """Two classes of four subtypes of three patients, one image of each at every magnification."""
    subtypes = {"B": ("A", "F", "PT", "TA"), "M": ("DC", "LC", "MC", "PC")}
    for label, names in subtypes.items():
        for place, subtype in enumerate(names):
            for number in range(3):
                slide = 10_000 + 1_000 * (label == "M") + 100 * place + number
                for magnification in (40, 100, 200, 400):
                    scene = Scene(
                        "histology", float(label == "M"), slide, number=magnification, size=(96, SIDE)
                    )
                    folder = root / f"SOB_{label}_{subtype}_14-{slide}" / f"{magnification}X"
                    name = f"SOB_{label}_{subtype}-14-{slide}-{magnification}-001.png"
                    save(folder / name, scene.draw()[0])


def write_bach(root: Path) -> None:
    """Four classes of ten images four patches wide and three high."""
    classes = {"Normal": (None, "n"), "Benign": (0.0, "b"), "InSitu": (0.5, "is"), "Invasive": (1.0, "iv")}
    for place, (folder, (share, prefix)) in enumerate(classes.items()):
        for number in range(1, 11):
            scene = Scene("histology", share, 100 * place + number, size=(4 * 32, 3 * 32))
            save(root / folder / f"{prefix}{number:03d}.tif", scene.draw()[0])


def write_cbis(root: Path) -> None:
    """Masses of two classes, eight patients of each to train and six to test with, and two views."""
    lists: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for number in range(28):
        split = "train" if number < 16 else "test"
        label = ("BENIGN", "MALIGNANT", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT")[number % 4]
        for place, (side, view) in enumerate((("LEFT", "CC"), ("LEFT", "MLO"))):
            scene = Scene("mammography", float(label == "MALIGNANT"), number, slide=place + 1)
            lists[split].append(_lesion(root, f"P_{number:05d}", split, label, side, view, scene))
    for split, rows in lists.items():
        write_table(root / f"mass_case_description_{split}_set.csv", rows)


def _lesion(
    root: Path, patient: str, split: str, label: str, side: str, view: str, scene: Scene
) -> dict[str, str]:
    """Write the film, the mask and the crop of a lesion; returns its row of the list."""
    image, mask = scene.draw()
    film = image[..., 0].astype(np.uint16) * 200 + 1000
    case = f"Mass-{'Training' if split == 'train' else 'Test'}_{patient}_{side}_{view}"
    uids = [f"1.3.6.1.4.1.9590.100.1.2.{scene.patient * 100 + scene.slide * 10 + what}" for what in range(4)]
    left, top, width, height = cv2.boundingRect(mask)
    paths = {
        "image file path": f"{case}/{uids[0]}/{uids[1]}/000000.dcm",
        "cropped image file path": f"{case}_1/{uids[2]}/{uids[3]}/000000.dcm",
        "ROI mask file path": f"{case}_1/{uids[2]}/{uids[3]}/000001.dcm",
    }
    pixels = film, film[top : top + height, left : left + width], mask
    for path, what in zip(paths.values(), pixels, strict=True):
        save((root / "CBIS-DDSM" / path).with_suffix(".png"), what)
    return {
        "patient_id": patient,
        "breast_density": "3",
        "left or right breast": side,
        "image view": view,
        "abnormality id": "1",
        "abnormality type": "mass",
        "mass shape": "OVAL",
        "assessment": "4",
        "pathology": label,
        "subtlety": "4",
        **{column: f"{path}\n" if "mask" in column else path for column, path in paths.items()},
    }


VIEWS = (("LEFT", "CC"), ("LEFT", "MLO"), ("RIGHT", "CC"), ("RIGHT", "MLO"))
"""A patient's films, as the phantoms number them."""
STATUSES = {"Benign": ("C", 236, 0.0), "Cancer": ("B", 3008, 1.0), "Normal": ("A", 218, None)}
"""By status: what file names begin with, the first number, as in the thesis's table 1, and what is drawn."""


def write_mini_ddsm(root: Path) -> None:
    """Ten patients of each status with four films; the tumours are in both films of the right breast."""
    rows = []
    for status, (letter, first, share) in STATUSES.items():
        for number in range(10):
            for slide, (side, view) in enumerate(VIEWS, 1):
                marked = side == "RIGHT" and share is not None
                scene = Scene("mammography", share if marked else None, first + number, slide=slide)
                rows.append(_film(root, status, f"{letter}_{first + number:04d}_1.{side}_{view}", scene))
    write_table(root / "Dataset.csv", rows)


def _film(root: Path, status: str, stem: str, scene: Scene) -> dict[str, str]:
    """Write a film and the contour of its tumour; returns its row of the index."""
    image, mask = scene.draw()
    folder = root / status / stem.split("_")[1]
    save(folder / f"{stem}.png", image[..., 0])
    line = mask - cv2.erode(mask, np.ones((3, 3)))
    if line.any():
        save(folder / f"{stem}_Mask.png", line)
    side, view = stem.split(".")[1].split("_")
    inside = f"{status}\\{folder.name}\\"
    return {
        "fullPath": f"\\{inside}{stem}.png",
        "fileName": f"\\{stem}.png",
        "View": view,
        "Side": side,
        "Status": status,
        "Age": str(STATUS_AGES[status] + scene.patient % 10),
        "Density": "2",
        "Tumour_Contour": f"{inside}{stem}_Mask.png" if line.any() else "-",
        "Tumour_Contour2": "-",
    }


STATUS_AGES = {"Benign": 55, "Cancer": 60, "Normal": 45}
"""About how old the patients are, in years."""

WRITERS: dict[str, Callable[[Path], None]] = {
    "databiox": write_databiox,
    "breakhis": write_breakhis,
    "bach": write_bach,
    "cbis-ddsm": write_cbis,
    "mini-ddsm": write_mini_ddsm,
}


MARK = ".made-up"
"""A file in the folder: empty while the dataset is written, and then with its name."""


def main(arguments: list[str] | None = None) -> None:
    """Write a dataset, unless it is there; never into a folder that holds anything else."""
    parser = argparse.ArgumentParser(description="Write a made-up raw dataset.")
    parser.add_argument("dataset", choices=WRITERS)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args(arguments)
    mark = asked.folder / MARK
    asked.folder.mkdir(parents=True, exist_ok=True)
    if not mark.exists() and any(asked.folder.iterdir()):
        parser.error(f"{asked.folder} is not empty; name a new folder for the made-up images")
    if not mark.exists() or mark.read_text() != asked.dataset:
        mark.write_text("")
        WRITERS[asked.dataset](asked.folder)
        mark.write_text(asked.dataset)


if __name__ == "__main__":
    main()
