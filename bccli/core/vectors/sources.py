"""Vectors in a file, or in a folder of files of one kind."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bccli.core.errors import DataError
from bccli.core.vectors.contents import Contents, NamedVectors, SlideVectors
from bccli.core.vectors.hdf5_files import read_hdf5
from bccli.core.vectors.npz_files import read_npz
from bccli.core.vectors.table_files import read_csv, read_parquet

READERS: Mapping[str, Callable[[Path], Contents]] = {
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".npz": read_npz,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
"""What reads a file, by its ending."""

_OTHERS = {
    ".pt": "a pickle of PyTorch, which is never opened; write HDF5, as CLAM and TRIDENT do beside it",
    ".pth": "a pickle of PyTorch, which is never opened; write HDF5",
    ".pkl": "a pickle, which is never opened; write HDF5, NPZ, CSV or Parquet",
    ".npy": "an array without names; write HDF5 or NPZ with features and paths",
}


@dataclass(frozen=True)
class Vectors:
    """Vectors of one `width`: those of images by their names, or those of slides; never both."""

    path: Path
    width: int
    tables: tuple[NamedVectors, ...] = ()
    slides: tuple[SlideVectors, ...] = ()

    @property
    def of_slides(self) -> bool:
        """Whether each file has the vectors of one slide."""
        return bool(self.slides)

    @property
    def names(self) -> tuple[str, ...]:
        """What the vectors, or the files of slides, are called."""
        if self.slides:
            return tuple(slide.name for slide in self.slides)
        return tuple(name for table in self.tables for name in table.names)


def open_vectors(path: Path) -> Vectors:
    """The vectors in a file or a folder; what is in HDF5 stays on the disk.

    Raises DataError where there are none, a file cannot be read, widths differ, or a name is there twice.
    """
    return _joined(path, [read_file(one) for one in files_of(path)])


def files_of(path: Path) -> list[Path]:
    """The files of vectors that a path names: itself, or those in the folder, by their names."""
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.iterdir() if _is_vectors(one))
    if not found:
        below = sorted(one for one in path.glob("*/*") if _is_vectors(one))
        hint = f"; name {below[0].parent}" if below else f"; put {', '.join(READERS)} there"
        raise DataError(f"{path}: has no files of vectors in it{hint}")
    return found


def _is_vectors(path: Path) -> bool:
    return path.suffix.lower() in READERS and not path.name.startswith(".") and path.is_file()


def read_file(path: Path) -> Contents:
    """What one file holds. Raises DataError where it cannot be read, or is of no kind that is read."""
    ending = path.suffix.lower()
    if reader := READERS.get(ending):
        return reader(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; name vectors that are there")
    what = _OTHERS.get(ending, f"none of {', '.join(READERS)}; name a file of vectors")
    raise DataError(f"{path}: is {what}")


def _joined(path: Path, found: Iterable[Contents]) -> Vectors:
    tables: list[NamedVectors] = []
    slides: list[SlideVectors] = []
    first: Contents | None = None
    for one in found:
        if first is None:
            first = one
        if one.values.shape[1] != first.values.shape[1]:
            raise DataError(
                f"{one.path}: its vectors have {one.values.shape[1]:,} numbers, and those of {first.path} "
                f"{first.values.shape[1]:,}; give vectors of one network"
            )
        if type(one) is not type(first):
            raise DataError(
                f"{path}: {first.path.name} and {one.path.name} are of two kinds, vectors with paths and "
                "those of one slide; keep one kind in a folder"
            )
        if isinstance(one, NamedVectors):
            tables.append(one)
        else:
            slides.append(one)
    assert first is not None
    _check_names(tables, slides)
    return Vectors(path, first.values.shape[1], tuple(tables), tuple(slides))


def _check_names(tables: Iterable[NamedVectors], slides: Iterable[SlideVectors]) -> None:
    """Raises DataError for a name that two files have."""
    where: dict[str, Path] = {}
    named = [(name, table.path) for table in tables for name in table.names]
    for name, path in (*named, *((slide.name, slide.path) for slide in slides)):
        if where.setdefault(name, path) != path:
            raise DataError(f"{path}: {name!r} is in {where[name].name} as well; remove one of the two")
