"""Letters on pictures that are drawn with Pillow alone.

Pillow's own font has ASCII and little else: names with umlauts would be boxes.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from PIL import ImageFont

from bccli.core.wording import drawable

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font_of(size: int) -> Font:
    """DejaVu Sans of so many pixels, which Matplotlib brings (it is not imported); else Pillow's own font."""
    spec = find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")
        if path.is_file():
            return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size=size)


def fitted(text: str, font: Font, width: int, *, end: bool = False) -> str:
    """The text as it can be drawn, cut at its end, or its beginning to show the `end`, to `width` pixels."""
    text = drawable(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[1:] if end else text[:-1]
    return f"…{text}" if end else f"{text}…"
