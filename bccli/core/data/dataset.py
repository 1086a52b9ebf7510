"""A prepared dataset on the disk: its marker, its settings, its samples."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypedDict

from bccli.core.data.leakage import Leaks
from bccli.core.data.manifest import MOST_FOLDS, SPLITS, Sample, content_hash, is_sha256, read_rows
from bccli.core.data.positive_class import Origin, Positive
from bccli.core.data.stored_info import StoredInfo, written_by_bccli
from bccli.core.errors import DataError
from bccli.core.files import leaves_folder
from bccli.core.imaging.preparation import Preparation, learned_preparation, preparation_from_json
from bccli.core.reading.json_types import Count, Distinct, Text
from bccli.core.reading.texts import read_json

if TYPE_CHECKING:
    from pandas import DataFrame

DATASET_FILE, MANIFEST_FILE = "dataset.json", "manifest.csv"
AUDIT_FILE, QUARANTINE_FILE = "audit.csv", "quarantine.csv"
PREVIEW_FILE, STATS_FILE = "preview.png", "stats.png"
IMAGES_FOLDER, MASKS_FOLDER, PIXELS_FOLDER, CACHE_FOLDER = "images", "masks", "pixels", ".cache"
JOURNALS_FOLDER, JOURNALS_SETTINGS_FILE = ".unfinished", "settings.json"

_PATHS = ("path", "parent", "mask")
"""The columns of a manifest that name files of the dataset."""
_MAX_SIDE = 2**28


class SplitCount(TypedDict):
    """The images, and patients where they are known, of a class in a part of the dataset."""

    part: str
    label: str
    images: Count
    patients: Count | None


class Blank(TypedDict):
    """How many images are blank, and what of the first."""

    count: Count
    first: str
    what: str


class RemarkCount(TypedDict):
    """How many files a reader remarked upon, and the first of them."""

    count: Count
    first: tuple[str, ...]


class Conflicts(TypedDict, total=False):
    """Pairs of images with two labels: how many, how many of them are kept, what was left out by class."""

    pairs: Count
    kept: Count
    images: Count
    examples: tuple[tuple[str, str], ...]
    left_out: Mapping[str, Count]


class NodeSubset(TypedDict):
    """The tree, as a text, and the node whose images they are."""

    tree: str
    node: str


class LesionSubset(TypedDict):
    """By what images with a lesion are known, where a detector sees them."""

    lesions: Literal["mask"]


@dataclass(frozen=True, kw_only=True)
class DatasetInfo(StoredInfo):
    """The facts of a prepared dataset.

    `settings` are what two calls are the same by, `preparation` the steps that made its images;
    `audit` has the leak of each split, `counts` the images of each split and class, `blank` those of one
    colour, and `bytes` the size of all images and masks. `patients` is None where none is known. Only an
    augmented dataset has `prepared`, the settings of the dataset that it was made of, and `augmentation`;
    only a dataset in memory that is what a tree's node or a detector sees of another has a `subset`, which
    says of which. `images` is false where the images are elsewhere, and there are only rows about them.
    """

    REMEDY: ClassVar[str] = "prepare the dataset again"

    version: str
    dataset: str
    protocol: str
    settings: Mapping[str, Any]
    preparation: dict[str, Any]
    classes: Distinct[Text]
    positive: str
    positive_origin: Origin
    patients: Count | None
    notes: tuple[str, ...]
    counts: tuple[Annotated[dict[str, Any], SplitCount], ...]
    sources: Count
    quarantined: Count
    excluded: Mapping[str, Count]
    unstained: Count
    blank: Annotated[Mapping[str, Any], Blank] | None
    remarks: Mapping[str, Annotated[Mapping[str, Any], RemarkCount]]
    audit: Leaks
    conflicts: Annotated[Mapping[str, Any], Conflicts]
    content_hash: str
    bytes: int | None = None
    ages: tuple[dict[str, Any], ...] = ()
    metadata: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    verification: Mapping[str, Any] | None = None
    prepared: Mapping[str, Any] | None = None
    augmentation: Mapping[str, Any] | None = None
    subset: Annotated[dict[str, Any], NodeSubset | LesionSubset] | None = None
    images: bool = True

    def contradiction(self) -> str | None:
        """Where a value does not go with the others."""
        learned_preparation(self.preparation)
        if self.conflicts.get("pairs") and not {"kept", "examples"} <= self.conflicts.keys():
            return "conflicts"
        return None if self.positive in self.classes else "positive"


@dataclass(frozen=True)
class Dataset:
    """A complete prepared dataset: `info` is what dataset.json holds, `hash` covers the manifest."""

    root: Path
    info: DatasetInfo
    samples: tuple[Sample, ...]
    hash: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        return self.info.classes

    @property
    def preparation(self) -> Preparation:
        """What a raw image has to go through to look like these."""
        return preparation_from_json(self.info.preparation)

    @property
    def positive(self) -> Positive:
        """The positive class, and how it came about."""
        return Positive(self.info.positive, self.info.positive_origin)

    @property
    def positive_facts(self) -> dict[str, str | None]:
        """What run.json says of the positive class: with other than two classes, there is none."""
        if len(self.classes) != 2:
            return {"positive": None, "positive_origin": None}
        return {"positive": self.positive.name, "positive_origin": self.positive.origin}

    @property
    def allows_leakage(self) -> bool:
        """Whether it was made by the paper's protocol: who chooses that insists on what it leaks."""
        return self.info.protocol.startswith("paper")

    def frame(self) -> "DataFrame":
        """The manifest as a frame of pandas: text is empty and numbers are NA where they are unknown."""
        from bccli.core.data.frames import frame_of_samples

        return frame_of_samples(self.samples)

    def require_images(self) -> None:
        """Raises DataError where there are only rows about images that are elsewhere."""
        if not self.info.images:
            raise without_images(self.root)

    @property
    def folds(self) -> int:
        """How many folds there are, 0 where the dataset has splits."""
        return max((sample.fold + 1 for sample in self.samples if sample.fold is not None), default=0)


def without_images(root: Path) -> DataError:
    """The error for whoever wants to see the images of a dataset that has none."""
    return DataError(
        f"{root}: was prepared with --no-images, and has no pixels; give vectors of its images with "
        "--features FILE, or prepare the images themselves"
    )


def refuse_without_images(folder: Path) -> None:
    """Raises DataError for the folder of a dataset whose images are elsewhere."""
    found: Any = None
    with suppress(DataError, OSError):
        found = read_json(folder / DATASET_FILE)
    if written_by_bccli(found) and not found.get("images", True):
        raise without_images(folder)


def load_dataset(root: Path) -> Dataset:
    """Read a prepared dataset. Raises DataError where it is none, unfinished, or of another format."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; make it with bccli prepare")
    if not (root / DATASET_FILE).exists():
        if (root / "run.json").exists():
            raise DataError(f"{root}: is a run, not a prepared dataset; name what it was trained on")
        unfinished = (root / JOURNALS_FOLDER).exists()
        advice = f"run the same {_maker(root)} again" if unfinished else "make one with bccli prepare"
        state = "its preparation is unfinished" if unfinished else "is not a prepared dataset"
        raise DataError(f"{root}: {state} (it has no dataset.json); {advice}")
    info = DatasetInfo.read(root / DATASET_FILE)
    samples = tuple(read_rows(root / MANIFEST_FILE))
    paths: set[str] = set()
    for sample in samples:
        if fault := _fault(sample, info.classes, paths) or _fault_of_pixels(sample, info.images):
            where = f"{root / MANIFEST_FILE}: {sample.path or 'a row'}"
            raise DataError(f"{where} {fault}; correct it or prepare the dataset again")
        paths.add(sample.path)
    if twice := next((sample for sample in samples if sample.mask in paths), None):
        raise DataError(
            f"{root / MANIFEST_FILE}: {twice.path} has a mask ({twice.mask}) that is another row's image; "
            "correct it or prepare the dataset again"
        )
    return Dataset(root, info, samples, content_hash(samples))


def _maker(root: Path) -> str:
    """The command that was at work on an unfinished dataset."""
    with suppress(DataError, TypeError):
        if "per_image" in read_json(root / JOURNALS_FOLDER / JOURNALS_SETTINGS_FILE):
            return "bccli augment"
    return "bccli prepare"


def _fault(sample: Sample, classes: Sequence[str], paths: set[str]) -> str:
    """What is wrong with a row of the manifest, in words that follow its path; empty where nothing is."""
    if not sample.path:
        return "has an empty path"
    for column in _PATHS:
        name = getattr(sample, column)
        if name and (leaves_folder(name) or name.startswith(".") or "\0" in name):
            return f"has a {column} ({name!r}) that leaves the dataset"
    if sample.path in paths:
        return "is there twice"
    if sample.label not in classes:
        return f"has the unknown label {sample.label!r}"
    if sample.split and sample.split not in SPLITS:
        return f"has the split {sample.split!r}, which is none of {', '.join(SPLITS)}"
    if sample.fold is not None and not 0 <= sample.fold < MOST_FOLDS:
        return f"has the fold {sample.fold}, which is not between 0 and {MOST_FOLDS - 1}"
    return ""


def _fault_of_pixels(sample: Sample, has_images: bool) -> str:
    """What is wrong with what a row says about pixels, of which a dataset without images has none."""
    if not has_images:
        said = sample.width, sample.height, sample.sha256 or None, sample.mask or None
        return "" if said == (None,) * 4 else "says something of pixels, and its dataset has no images"
    if not all(1 <= (side or 0) <= _MAX_SIDE for side in (sample.width, sample.height)):
        return f"has the impossible size {sample.width}×{sample.height}"
    if not is_sha256(sample.sha256):
        return "has a sha256 that is not 64 hexadecimal digits"
    return ""


def first_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The first setting that differs, as `key VALUE, now VALUE`; empty where none does."""
    keys = [*here, *(key for key in there if key not in here)]
    for key in sorted(keys, key=_FOLLOWING.__contains__):
        if there.get(key) != here.get(key):
            if key in _FOLLOWING:
                return "other images than there are now"
            name = _SPELLINGS.get(key, key.replace("_", "-"))
            mark = "x" if key == "size" else "," if key != "ratios" else "/"
            return f"{name} {_plain(there.get(key), mark)}, now {_plain(here.get(key), mark)}"
    return ""


_FOLLOWING = ("listing", "data")
"""What differs where other settings do, and so is told last."""
# Settings whose options are called otherwise.
_SPELLINGS = {
    "by": "split-by",
    "magnifications": "magnification",
    "test_magnifications": "test-magnification",
    "metadata_hash": "metadata of the content",
    "weights_hash": "weights of the content",
    "augment_hash": "augment of the content",
    "features_from": "features-from of the content",
}


def _plain(value: Any, mark: str) -> str:
    if isinstance(value, list):
        texts = (f"{number:g}" if isinstance(number, float) else str(number) for number in value)
        return mark.join(texts) or "none"
    return "none" if value is None or value == "" else str(value)
