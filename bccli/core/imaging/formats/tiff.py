"""TIFF files: which of their pages is the image, who decodes it, and what its samples mean.

Pillow reads what is plain. The rest is left to tifffile: several pages, signed and deep samples, planes,
and newer compressions.
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from bccli.core.errors import ImageError
from bccli.core.imaging.formats.jpeg import check_streams
from bccli.core.imaging.formats.orientation import TAG, UPRIGHT, upright
from bccli.core.imaging.formats.strips import by_strips

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# TIFF 6.0
_SUBFILE, _OLD_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION = 254, 255, 258, 259, 262, 270
_PLANAR, _COLOUR_MAP, _SUB_FILES, _EXTRA, _FORMAT, _SUBSAMPLING = 284, 320, 330, 338, 339, 530
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_UNSIGNED = 1
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_ASSOCIATED, _UNASSOCIATED = 1, 2  # kinds of transparency

# None, the three of faxes, LZW, both of JPEG, both of deflate, PackBits: what every libtiff has.
_OLD_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946})
_JPEG, _JPEG_TABLES = 7, 347
_OFFSET_TAGS = (273, 279), (324, 325)  # where strips begin and how long they are, and tiles
_JPEGS = (6, 7, 34892, 33007)  # whose decoders give RGB
_LUMINANCE_JPEG2000 = 33003  # of Aperio's slides: its decoder gives luminance and chrominance
_ELECTRONS = (65000, 65001, 65002)  # events of electron microscopes, for which tifffile wants to know more
_MOST_PAGES = 4096


def is_plain(image: TiffImageFile) -> bool:
    """Whether Pillow reads this file right without a page number: a single page of a common kind."""
    return _is_alone(image.tag_v2) and _is_common(image.tag_v2)


def turn_to_image(image: TiffImageFile, data: bytes) -> bool:
    """Turn to the page that is the image, if there is one that Pillow reads right; returns whether there is.

    Raises ImageError as `read_tiff` for several pages that are no image.
    """
    if not _is_alone(image.tag_v2):
        number = _number_of_image(data)
        try:
            image.seek(-1 if number is None else number)
        except (EOFError, SyntaxError):  # a page of which Pillow knows nothing
            return False
    return _is_common(image.tag_v2)


def _is_alone(tags: Any) -> bool:
    return not (tags.next or _SUB_FILES in tags or _names_planes(tags.get(_DESCRIPTION, "")))


def _is_common(tags: Any) -> bool:
    if any(kind != _UNSIGNED for kind in tags.get(_FORMAT, (_UNSIGNED,))):
        return False
    if tags.get(_COMPRESSION, 1) not in _OLD_COMPRESSIONS:
        return False
    bits = tuple(tags.get(_BITS, (1,)))
    check = _PLAIN.get(tags.get(_PHOTOMETRIC, -1))
    planes = tags.get(_PLANAR) == 2 and max(bits) > 8
    return check is not None and not planes and check(tags, bits)


def _names_planes(description: object) -> bool:
    """Whether a description may say that this page is only a part of the image."""
    text = str(description)
    return text.startswith("ImageJ=") or "<OME" in text


def _is_plain_grey(tags: Any, bits: tuple[int, ...]) -> bool:
    if len(bits) == 2:  # transparency, or else another channel
        return bits == (8, 8) and tags.get(_EXTRA) in ((_ASSOCIATED,), (_UNASSOCIATED,))
    deep = bits == (16,) and tags.get(_PHOTOMETRIC) == _BLACK_IS_ZERO
    return deep or bits in ((1,), (2,), (4,), (8,))


def _is_plain_colour(tags: Any, bits: tuple[int, ...]) -> bool:
    return len(bits) >= 3 and len(set(bits)) == 1 and bits[0] in (8, 16)


def _is_plain_palette(tags: Any, bits: tuple[int, ...]) -> bool:
    """Some writers give colours 8 bits of the 16; Pillow would take their empty upper bytes."""
    return max(bits) <= 8 and max(tags.get(_COLOUR_MAP, (0,))) > 255


def _is_plain_ycbcr(tags: Any, bits: tuple[int, ...]) -> bool:
    """libtiff makes colours of compressed ones; without compression Pillow takes them as they come."""
    whole = tuple(tags.get(_SUBSAMPLING, (2, 2))) == (1, 1)
    return bits == (8, 8, 8) and (tags.get(_COMPRESSION, 1) != 1 or whole)


_PLAIN: dict[int, Callable[[Any, tuple[int, ...]], bool]] = {
    _WHITE_IS_ZERO: _is_plain_grey,
    _BLACK_IS_ZERO: _is_plain_grey,
    _RGB: _is_plain_colour,
    _PALETTE: _is_plain_palette,
    _CMYK: _is_plain_colour,
    _YCBCR: _is_plain_ycbcr,
}


def check_strips(image: TiffImageFile, data: bytes) -> None:
    """Raise ImageError where a TIFF has too few strips or tiles, which Pillow leaves black, or one that is a
    damaged JPEG, which libtiff keeps to itself."""
    boxes = np.array([tile[1] for tile in image.tile], np.int64).reshape(-1, 4)
    covered = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum()
    if covered < math.prod(image.size):
        raise ImageError("is damaged (some of its strips or tiles are missing)")
    tags = image.tag_v2
    if tags.get(_COMPRESSION) == _JPEG:
        offsets, lengths = next(pair for pair in _OFFSET_TAGS if pair[0] in tags)
        check_streams(data, tags[offsets], tags[lengths], tables=tags.get(_JPEG_TABLES, b""))


def read_tiff(data: bytes, check_size: Callable[..., None], *, max_pixels: int) -> np.ndarray:
    """The image of a TIFF, turned upright: grey (height, width) of its own depth with more as brighter, or
    colours (height, width, 3) of 8 or 16 bits.

    Of pages of several sizes the largest counts, and never a reduced copy. Three pages that are said to be
    the channels red, green and blue are one image; of colour pages of one size the first counts. Raises
    ImageError for other channels, slices and frames, for kinds that are not supported and for damage.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data), _multifile=False) as tiff:
        pages = _largest(tiff)
        check_size(pages[0].imagewidth, pages[0].imagelength)
        planes = _planes(tiff, pages)
        for page in planes:
            _check_page(page, check_size, max_pixels)
            # decoded pixels lie in a strip of their own, and in the image that it goes to
            room = 2 * page.nbytes // (page.imagewidth * page.imagelength) * len(planes)
            check_size(page.imagewidth, page.imagelength, room)
            if page.compression == _JPEG:
                check_streams(data, page.dataoffsets, page.databytecounts, tables=page.jpegtables or b"")
        samples = [_samples(page) for page in planes]
        pixels = samples[0] if len(samples) == 1 else np.stack(samples, axis=2)
        return upright(pixels, int(_value(planes[0], TAG, UPRIGHT)))


def _number_of_image(data: bytes) -> int | None:
    """The index of the one page that is the image; None where it takes several, or hangs below another."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data), _multifile=False) as tiff:
        planes = _planes(tiff, _largest(tiff))
        offsets = [page.offset for page in _pages(tiff)]
        return offsets.index(planes[0].offset) if len(planes) == 1 and planes[0].offset in offsets else None


def _largest(tiff: "TiffFile") -> list["TiffPage"]:
    """The pages of the size of the largest that is no reduced copy of another and no mask.

    What hangs below a page counts only where all pages are such: the thumbnails of cameras and scanners.
    """
    pages = _pages(tiff)
    if all(map(_is_side_show, pages)):
        pages += [_whole(sub) for page in pages if page.subifds for sub in page.pages or ()]
    known = [page for page in pages if page.imagewidth and page.imagelength]
    images = [page for page in known if not _is_side_show(page)] or known
    if not images:
        raise ImageError("is damaged (none of its pages has pixels)")
    sides = max(((page.imagelength, page.imagewidth) for page in images), key=math.prod)
    return [page for page in images if (page.imagelength, page.imagewidth) == sides]


def _pages(tiff: "TiffFile") -> list["TiffPage"]:
    """Yield all pages, up to one that leads back: damaged files go round in circles."""
    found: dict[int, TiffPage] = {}
    for page in tiff.pages:
        if page.offset in found:
            break
        if len(found) == _MOST_PAGES:
            raise ImageError(f"holds more than {_MOST_PAGES:,} pages; one image is needed")
        found[page.offset] = _whole(page)
    return list(found.values())


def _whole(page: Any) -> "TiffPage":
    """A page with all of its tags, also where tifffile has read only what it needed for a series."""
    return page.aspage()


def _is_side_show(page: "TiffPage") -> bool:
    kind = int(_value(page, _SUBFILE, 0))
    return bool(kind & (_REDUCED | _MASK)) or _value(page, _OLD_SUBFILE, 0) == 2


def _value(page: "TiffPage", tag: int, default: Any) -> Any:
    found = page.tags.get(tag)
    return default if found is None else found.value


def _planes(tiff: "TiffFile", pages: Sequence["TiffPage"]) -> Sequence["TiffPage"]:
    """The pages that make the image: one, or one for each of red, green and blue."""
    from bccli.core.imaging.formats.tiff_channels import Channels, channels_of

    channels = channels_of(tiff)
    grey = pages[0].samplesperpixel == 1 and pages[0].photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    if channels is None and grey:
        channels = Channels({"grey pages of one size": len(pages)})
    if channels is None or channels.planes == 1 or (len(pages) == 1 and pages[0].photometric == _RGB):
        return pages[:1]
    order = channels.order()
    if not grey and len(pages) == 1 and order == (0, 1, 2):
        return pages
    if not grey or len(pages) != len(order):
        raise ImageError(f"holds {channels} in {len(pages)} of its pages; save it as RGB or grey")
    return [pages[index] for index in order]


def _check_page(page: "TiffPage", check_size: Callable[..., None], max_pixels: int) -> None:
    """Raise ImageError for what tifffile would take too much memory for, make up, or not know."""
    import tifffile

    check_size(page.imagewidth, page.imagelength)
    check_size(page.tilewidth or 1, page.tilelength or 1)
    if page.size > 4 * max_pixels or page.imagedepth > 1:
        raise ImageError(f"has an unusual layout {page.shape}")
    if page.photometric not in _MEANINGS or (
        page.photometric == _YCBCR and _is_raw(page) and page.is_subsampled
    ):
        raise ImageError(f"has colours of an unusual kind ({_name(page.photometric)})")
    if page.compression not in tifffile.TIFF.DECOMPRESSORS or page.compression in _ELECTRONS:
        kind = _name(page.compression)
        raise ImageError(f"is compressed in a way that bccli cannot read ({kind}); save it uncompressed")
    if sum(map(bool, page.databytecounts)) < math.prod(page.chunked):  # tifffile makes them up, as black
        raise ImageError("is damaged (some of its strips or tiles are missing)")


def _name(kind: object) -> object:
    """The standard's name of a kind, or its number."""
    return getattr(kind, "name", kind)


def _is_raw(page: "TiffPage") -> bool:
    return page.compression not in _JPEGS


def _samples(page: "TiffPage") -> np.ndarray:
    """The samples of a page as grey (height, width) or RGB (height, width, 3)."""
    pixels = page.asarray()
    if page.axes.startswith("S"):  # planes stored one after the other
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype == np.int8:  # as bright as the unsigned ones, the least of which is 128 below theirs
        pixels = pixels.view(np.uint8) ^ np.uint8(128)
    if page.photometric != _PALETTE and pixels.dtype.kind in "bu":
        pixels = _filled(pixels, page.bitspersample)
    return _MEANINGS[page.photometric](pixels, page)


def _filled(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Samples of few bits as uint8 up to white, and of 9 to 15 bits in the upper ones of 16."""
    if bits < 8:
        levels = np.arange(1 << bits) * 255 // ((1 << bits) - 1)
        table = levels.astype(np.uint8)
        return by_strips(pixels.shape, lambda rows: table[pixels[rows].view(np.uint8)])
    return pixels << (16 - bits) if 8 < bits < 16 else pixels


def _from_black(pixels: np.ndarray, page: "TiffPage") -> np.ndarray:
    """Grey; three samples of it are the planes of red, green and blue, two are grey and transparency."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    if pixels.shape[2] == 2 and _clearness(page):
        return _on_white(np.repeat(pixels[:, :, :1], 3, axis=2), pixels[:, :, 1], page)
    raise ImageError(f"holds {pixels.shape[2]} channels; save it as RGB or grey")


def _from_white(pixels: np.ndarray, page: "TiffPage") -> np.ndarray:
    if pixels.ndim != 2:
        raise ImageError(f"holds {pixels.shape[2]} channels; save it as RGB or grey")
    return -pixels if pixels.dtype.kind == "f" else np.invert(pixels)


def _from_rgb(pixels: np.ndarray, page: "TiffPage") -> np.ndarray:
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise ImageError(f"has an unusual layout {pixels.shape}")
    if pixels.shape[2] > 3 and _clearness(page):
        return _on_white(pixels[:, :, :3], pixels[:, :, 3], page)
    if page.compression == _LUMINANCE_JPEG2000:
        return _from_ycbcr(pixels, page)
    return pixels[:, :, :3]


def _from_ycbcr(pixels: np.ndarray, page: "TiffPage") -> np.ndarray:
    if not _is_raw(page):
        return _from_rgb(pixels, page)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageError("has colours of an unusual kind (YCBCR)")
    stored = Image.frombytes("YCbCr", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    return np.asarray(stored.convert("RGB"))


def _from_palette(pixels: np.ndarray, page: "TiffPage") -> np.ndarray:
    """Colours have 16 bits; some writers fill only the lower eight."""
    table = page.colormap
    if table is None or pixels.ndim != 2 or pixels.dtype.kind not in "bu":
        raise ImageError("is damaged (its palette is missing)")
    colours = table.T if table.max() < 256 else table.T >> 8
    known, last = colours.astype(np.uint8), np.intp(len(colours) - 1)
    return by_strips(pixels.shape, lambda rows: known[np.minimum(pixels[rows], last)])


_Meaning = Callable[[np.ndarray, "TiffPage"], np.ndarray]
# What the samples of each PhotometricInterpretation mean.
_MEANINGS: dict[int, _Meaning] = {
    _WHITE_IS_ZERO: _from_white,
    _BLACK_IS_ZERO: _from_black,
    _RGB: _from_rgb,
    _PALETTE: _from_palette,
    _YCBCR: _from_ycbcr,
}


def _clearness(page: "TiffPage") -> int:
    """The kind of transparency that the first sample behind the colours is, 0 where it is something else."""
    kind = int(page.extrasamples[0]) if page.extrasamples else 0
    return kind if kind in (_ASSOCIATED, _UNASSOCIATED) else 0


def _on_white(colours: np.ndarray, alpha: np.ndarray, page: "TiffPage") -> np.ndarray:
    """Colours uint8 or uint16 before white, as much of it as they let through."""
    if colours.dtype.kind != "u":
        return colours
    full = np.iinfo(colours.dtype).max
    multiplied = _clearness(page) == _ASSOCIATED

    def shown(rows: slice) -> np.ndarray:
        share = alpha[rows, :, None].astype(np.float32) / full
        colour = colours[rows] if multiplied else colours[rows] * share
        return np.clip(np.rint(colour + (1 - share) * full), 0, full).astype(colours.dtype)

    return by_strips(colours.shape, shown)
