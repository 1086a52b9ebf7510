"""The pages of `predict --explain`: all overlays with what was answered, so many to a page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bccli.core.errors import DataError
from bccli.core.files import replacing_file
from bccli.core.prediction.explanations import INDEX, PointingGame
from bccli.core.prediction.file_predictions import HIDDEN
from bccli.terminal.pages import is_page, page

KIND = "predict --explain"
ON_A_PAGE = 200

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Tile:
    """A picture and what stands below it; no picture where an image has no answer."""

    path: str
    name: str
    lines: tuple[str, ...]
    overlay: str = ""
    alt: str = ""


@dataclass
class ExplanationPages:
    """Pages in a folder for the answers of `runs`, written as rows come; the first one at the end, when all
    is counted. `images` have an overlay."""

    folder: Path
    runs: Sequence[str]
    images: int = 0
    pointing: PointingGame = field(default_factory=PointingGame)
    _first: list[_Tile] = field(default_factory=list)
    _tiles: list[_Tile] = field(default_factory=list)
    _pages: int = 1
    _empty: int = 0
    _gone: int = 0

    def begin(self) -> None:
        """Make the folder, and its index, which says that work goes on.

        Raises DataError where the folder has other things in it.
        """
        if other := self._foreign():
            raise DataError(
                f"{self.folder}: is not empty ({other}), and predict --explain did not make it; "
                "name another folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(1, (), ("Work goes on, or was interrupted; the same command again continues.",))

    def _foreign(self) -> str:
        """A file in a folder that is not ours."""
        if not self.folder.is_dir() or holds_overlays(self.folder):
            return ""
        return min((one.name for one in self.folder.iterdir() if not one.name.startswith(".")), default="")

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield rows without what is for the pages, and write each page that is full."""
        for row in rows:
            if len(self._tiles) == ON_A_PAGE:
                self._turn()
            self._tiles.append(self._tile(row, row.get(HIDDEN)))
            yield {name: value for name, value in row.items() if name != HIDDEN}

    def _turn(self) -> None:
        if self._pages == 1:
            self._first = self._tiles
        else:
            self._write(self._pages, self._tiles, ())
        self._pages += 1
        self._tiles = []

    def _tile(self, row: Row, facts: Mapping[str, Any] | None) -> _Tile:
        name = "/".join(row["path"].split("/")[-2:])
        if facts is None:
            return _Tile(row["path"], name, (str(row["error"] or "has no overlay"),))
        if not (self.folder / facts["overlay"]).is_file():
            self._gone += 1
            return _Tile(row["path"], name, ("its overlay is gone",))
        self.images += 1
        self.pointing.add(facts)
        self._empty += facts["peak"] is None
        label, probability = row["predicted"], row["probability"]
        found = "peak at {}, {}".format(*facts["peak"]) if facts["peak"] else f"nothing speaks for {label}"
        inside = {None: (), True: ("inside the mask",), False: ("outside the mask",)}[facts["inside"]]
        return _Tile(
            row["path"], name, (f"{label}, {probability:.3f}", found, *inside), facts["overlay"],
            f"{name}: {label}, {found}",
        )  # fmt: skip

    def finish(self) -> None:
        """Write the last page, and the first one."""
        if self._pages == 1:
            self._first = self._tiles
        else:
            self._write(self._pages, self._tiles, ())
        self._write(1, self._first, tuple(self._sentences()), pages=self._pages)
        self._remove_pages_behind()

    def _remove_pages_behind(self) -> None:
        """Remove the pages of an earlier start that had more images."""
        number = self._pages + 1
        while is_page(page := self.folder / _page_name(number), KIND):
            page.unlink()
            number += 1

    def counted(self) -> str:
        """How many images have an overlay, in words."""
        return "1 image has an overlay" if self.images == 1 else f"{self.images:,} images have an overlay"

    def _sentences(self) -> Iterator[str]:
        yield f"{self.counted()}."
        if self._empty:
            yield f"In {self._empty:,} of them nothing speaks for the label: these are shown as they are."
        if self._gone:
            yield f"{self._gone:,} overlays of an earlier start are gone; --overwrite makes all again."
        if self.pointing.images:
            sentence = self.pointing.sentence()
            yield f"{sentence[0].upper()}{sentence[1:]}."

    def _write(
        self, number: int, tiles: Sequence[_Tile], sentences: Sequence[str], *, pages: int | None = None
    ) -> None:
        content = page(
            "explanation.html.jinja",
            kind=KIND,
            runs=" and ".join(self.runs),
            number=number,
            pages=pages or number,
            page_name=_page_name,
            tiles=tiles,
            sentences=sentences,
            masks=self.pointing.images > 0,
        )
        with replacing_file(self.folder / _page_name(number)) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _page_name(number: int) -> str:
    return INDEX if number == 1 else f"page-{number}.html"


def holds_overlays(folder: Path) -> bool:
    """Whether a folder has the pages of overlays."""
    return is_page(folder / INDEX, KIND)
