"""Blank images, which are used all the same: they are counted, and the first is an example."""

from dataclasses import dataclass


@dataclass
class Remarks:
    """Images that are blank or nearly so."""

    count: int = 0
    first: str = ""
    what: str = ""

    def add(self, path: str, what: str) -> None:
        """Count an image of which there is something to say, such as `nearly black`."""
        if not self.count:
            self.first, self.what = path, what
        self.count += 1

    def __str__(self) -> str:
        """Such as `2 images are blank or nearly so (the first: a.png is nearly black)`."""
        images = "1 image is" if self.count == 1 else f"{self.count:,} images are"
        first = "" if self.count == 1 else "the first: "
        return f"{images} blank or nearly so ({first}{self.first} is {self.what})"
