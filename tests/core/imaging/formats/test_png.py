"""PNG files: Pillow's pixels whoever decodes them, and none that are damaged."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bccli.core.errors import ImageError
from bccli.core.imaging.formats import decoding, png
from bccli.core.imaging.formats.decoding import decode_deep
from bccli.core.imaging.formats.png import around_pixels, decode_png

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, depth: int, colour: int, interlaced: int = 0) -> bytes:
    """Signature and header."""
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def rows(width: int, height: int, depth: int, colour: int) -> bytes:
    """Noise as unpacked rows with all kinds of filters."""
    length = (width * CHANNELS[colour] * depth + 7) // 8
    rng = np.random.default_rng(depth + colour)
    return b"".join(bytes([row % 5]) + rng.bytes(length) for row in range(height))


def whole(depth: int, colour: int, *, before: bytes = b"", behind: bytes = b"", end: bool = True) -> bytes:
    """A whole file of 9×7 pixels."""
    data = chunk(b"IDAT", zlib.compress(rows(9, 7, depth, colour)))
    return header(9, 7, depth, colour) + before + data + behind + (chunk(b"IEND", b"") if end else b"")


def by_pillow(data: bytes) -> np.ndarray:
    """What Pillow makes of it."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("depth", "colour"), [(8, 0), (16, 0), (8, 2)])
def test_plain_files_are_decoded_here_as_pillow_decodes_them(depth: int, colour: int) -> None:
    data = whole(depth, colour)
    pixels = decode_png(data)
    assert pixels is not None
    assert pixels.dtype == by_pillow(data).dtype
    assert np.array_equal(pixels, by_pillow(data))


HINTS = {
    "gamma": chunk(b"gAMA", struct.pack(">I", 22000)),
    "significant bits": chunk(b"sBIT", b"\5"),
    "a profile": chunk(b"iCCP", b"x\0\0" + zlib.compress(b"nonsense")),
    "primaries": chunk(b"cHRM", bytes(32)),
    "sRGB": chunk(b"sRGB", b"\0"),
    "a resolution": chunk(b"pHYs", bytes(9)),
    "text": chunk(b"tEXt", b"a\0b"),
    "what ImageMagick writes": chunk(b"bKGD", bytes(2)) + chunk(b"oFFs", bytes(9)) + chunk(b"vpAg", bytes(9)),
}


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("depth", [8, 16])
def test_hints_at_colours_change_no_pixel(tmp_path: Path, hint: str, depth: int) -> None:
    data = whole(depth, 0, before=HINTS[hint])
    pixels = decode_png(data)
    assert pixels is not None
    assert np.array_equal(pixels, by_pillow(data))


def test_text_may_stand_behind_the_pixels() -> None:
    data = whole(8, 2, behind=chunk(b"tEXt", b"a\0b") + chunk(b"tIME", bytes(7)))
    pixels = decode_png(data)
    assert pixels is not None
    assert np.array_equal(pixels, by_pillow(data))


LEFT_ALONE = {
    "bits": whole(1, 0),
    "alpha": whole(8, 6),
    "grey with alpha": whole(8, 4),
    "deep colours": whole(16, 2),
    "a palette": whole(8, 3, before=chunk(b"PLTE", bytes(768))),
    "a transparent colour": whole(8, 2, before=chunk(b"tRNS", bytes(6))),
    "an orientation": whole(8, 2, before=chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0")),
    "packed text behind the pixels": whole(8, 2, behind=chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b"))),
    "unknown chunks": whole(8, 2, before=chunk(b"abCd", b"x")),
    "no end": whole(8, 2, end=False),
}


@pytest.mark.parametrize("kind", LEFT_ALONE)
def test_what_is_not_plain_is_left_to_pillow(tmp_path: Path, kind: str) -> None:
    assert decode_png(LEFT_ALONE[kind]) is None
    (tmp_path / "x.png").write_bytes(LEFT_ALONE[kind])
    assert decode_deep(tmp_path / "x.png").shape[:2] == (7, 9)


def test_interlaced_files_are_left_to_pillow() -> None:
    one = header(1, 1, 8, 0, interlaced=1) + chunk(b"IDAT", zlib.compress(b"\0\7")) + chunk(b"IEND", b"")
    assert decode_png(one) is None
    assert by_pillow(one).item() == 7


@pytest.mark.parametrize(("depth", "colour"), [(8, 0), (16, 0), (8, 2), (8, 6), (1, 0), (16, 2)])
def test_a_wrong_checksum_of_the_pixels_is_damage_whoever_decodes(
    tmp_path: Path, depth: int, colour: int
) -> None:
    data = bytearray(whole(depth, colour))
    data[data.index(b"IDAT") + 12] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ImageError, match=r"is damaged \(a checksum"):
        decode_deep(tmp_path / "x.png")


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("depth", "colour"), [(8, 0), (16, 0), (8, 2), (8, 6), (1, 0), (8, 3), (16, 2)])
def test_rows_that_are_missing_are_damage(tmp_path: Path, depth: int, colour: int, interlaced: int) -> None:
    start = header(9, 8, depth, colour, interlaced) + (chunk(b"PLTE", bytes(768)) if colour == 3 else b"")
    bits = depth * CHANNELS[colour]
    widths = [2, 1, 3, 2, 2, 5, 5, 4, 4, 4, 4, 9, 9, 9, 9] if interlaced else [9] * 8
    all_rows = [bytes(1 + (width * bits + 7) // 8) for width in widths]
    for lost, match in ((0, None), (1, "rows are missing"), (3, "rows are missing")):
        packed = zlib.compress(b"".join(all_rows[: len(all_rows) - lost]))
        (tmp_path / "x.png").write_bytes(start + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
        if match is None:
            assert decode_deep(tmp_path / "x.png").shape[:2] == (8, 9)
            continue
        with pytest.raises(ImageError, match=match):
            decode_deep(tmp_path / "x.png")


NAMES = (b"tRNS", b"bKGD", b"gAMA", b"sBIT", b"PLTE", b"hIST", b"vpAg", b"zTXt", b"iTXt", b"sRGB", b"oFFs")
CHUNKS = [*HINTS.values(), *(chunk(name, bytes(size)) for name in NAMES for size in (0, 1, 2, 6))]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_both_decoders_agree_on_whatever_is_written(data: st.DataObject) -> None:
    """Where pixels are given, Pillow gives the same; where Pillow refuses, so does what decodes here."""
    width, height = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    depth, colour = data.draw(st.sampled_from([(8, 0), (16, 0), (8, 2), (16, 2), (8, 6), (2, 0)]))
    raw = rows(width, height, depth, colour)
    lost, unpacked = (
        data.draw(st.sampled_from([0, 0, 0, 1, 7])),
        data.draw(st.sampled_from([0, 0, 0, 1, 4, 9])),
    )
    interlaced = data.draw(st.sampled_from([0, 0, 0, 1]))
    raw = raw[: len(raw) - lost]
    packed = zlib.compress(raw + bytes(data.draw(st.sampled_from([0, 0, 1, 40]))))
    packed = packed[: len(packed) - unpacked]
    packed += data.draw(st.sampled_from([b"", b"", b"more"]))
    place = data.draw(st.integers(0, len(packed)))
    content = (
        header(width, height, depth, colour, interlaced)
        + b"".join(data.draw(st.lists(st.sampled_from(CHUNKS), max_size=3)))
        + chunk(b"IDAT", packed[:place])
        + chunk(b"IDAT", packed[place:])
        + data.draw(st.sampled_from([b"", b"", *CHUNKS]))
        + data.draw(st.sampled_from([chunk(b"IEND", b""), chunk(b"IEND", b"") + b"behind", b""]))
    )
    place = data.draw(st.integers(8, len(content)))
    wrong = data.draw(st.sampled_from([b"", b"", b"\0", b"\xff", b"wrong"]))
    content = content[:place] + wrong + content[place + len(wrong) :]
    try:
        image = Image.open(io.BytesIO(content))
    except Exception:  # neither is asked then
        return
    try:
        pixels = decode_png(content)
    except ImageError:
        assert wrong or lost or unpacked or interlaced
        return
    if pixels is not None:
        image.load()
        assert np.array_equal(pixels, np.asarray(image))
        assert pixels.dtype == np.asarray(image).dtype


@pytest.fixture
def unpacking_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small files unpacked, too."""
    monkeypatch.setattr(png, "_LEAST_UNPACKED", 0)


def outcome(path: Path) -> tuple[object, ...]:
    """What `decode_deep` makes of a file: pixels or a sentence."""
    try:
        pixels = decode_deep(path)
    except ImageError as error:
        return (str(error),)
    return pixels.shape, pixels.dtype, pixels.tobytes()


def outcome_by_libpng_alone(path: Path) -> tuple[object, ...]:
    """The same where libpng inflates the pixels itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "_MOST_UNPACKED", -1)
        return outcome(path)


@pytest.mark.usefixtures("unpacking_all")
@pytest.mark.parametrize("size", [(1, 1), (9, 7), (300, 300)])
@pytest.mark.parametrize(("depth", "colour"), [(8, 0), (16, 0), (8, 2)])
def test_what_libdeflate_inflates_are_the_same_pixels(
    tmp_path: Path, size: tuple[int, int], depth: int, colour: int
) -> None:
    packed = zlib.compress(rows(*size, depth, colour))
    pieces = b"".join(chunk(b"IDAT", packed[start : start + 999]) for start in range(0, len(packed), 999))
    data = header(*size, depth, colour) + HINTS["gamma"] + pieces + HINTS["text"] + chunk(b"IEND", b"")
    chunks = list(png._chunks(data))
    unpacked = png._unpacked(data, chunks)
    assert unpacked != data
    assert len(unpacked) > len(rows(*size, depth, colour))
    assert all(png._is_sound(unpacked, one) for one in png._chunks(unpacked))
    assert [one.kind for one in png._chunks(unpacked)] == [b"IHDR", b"gAMA", b"IDAT", b"tEXt", b"IEND"]
    (tmp_path / "x.png").write_bytes(data)
    assert outcome(tmp_path / "x.png") == outcome_by_libpng_alone(tmp_path / "x.png")
    assert np.array_equal(decode_deep(tmp_path / "x.png"), by_pillow(data))


@pytest.mark.usefixtures("unpacking_all")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_and_oddities_have_the_same_outcome_whoever_inflates(
    tmp_path: Path, data: st.DataObject
) -> None:
    width, height = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    depth, colour = data.draw(st.sampled_from([(8, 0), (16, 0), (8, 2), (8, 2), (16, 2), (8, 6), (8, 3)]))
    raw = rows(width, height, depth, colour)
    if data.draw(st.booleans()):  # what can be deflated, so that there are distances
        raw = raw[: 1 + len(raw) // height] * height
    raw = raw[: len(raw) - data.draw(st.sampled_from([0, 0, 0, 0, 1, 50]))]
    raw += bytes(data.draw(st.sampled_from([0, 0, 0, 0, 1, 500])))
    level, window, strategy = data.draw(
        st.tuples(st.integers(0, 9), st.integers(9, 15), st.sampled_from([0, 1, 2, 3, 4]))
    )
    compressor = zlib.compressobj(level, zlib.DEFLATED, window, 8, strategy)
    packed = bytearray(compressor.compress(raw) + compressor.flush())
    for place in data.draw(st.lists(st.integers(0, len(packed) - 1), max_size=1)):
        packed[place] ^= 1 << data.draw(st.integers(0, 7))  # whose checksum says that it is sound
    packed = packed[: len(packed) - data.draw(st.sampled_from([0, 0, 0, 1, 4, 5, 30]))]
    packed += data.draw(st.sampled_from([b"", b"", b"", b"more", bytes(4)]))
    step = data.draw(st.sampled_from([10**6, 10**6, 7, 100]))
    pieces = [chunk(b"IDAT", bytes(packed[start : start + step])) for start in range(0, len(packed), step)]
    between = data.draw(st.sampled_from([b"", b"", b"", *CHUNKS]))
    content = bytearray(
        header(width, height, depth, colour)
        + (chunk(b"PLTE", bytes(768)) if colour == 3 else b"")
        + data.draw(st.sampled_from([b"", b"", *CHUNKS]))
        + between.join(pieces)
        + data.draw(st.sampled_from([b"", *CHUNKS]))
        + data.draw(st.sampled_from([chunk(b"IEND", b""), chunk(b"IEND", b"") + b"behind", b""]))
    )
    for place in data.draw(st.lists(st.integers(8, len(content) - 1), max_size=1)):
        content[place] ^= data.draw(st.sampled_from([0, 0, 1]))  # whose checksum is wrong
    (tmp_path / "x.png").write_bytes(content[: len(content) - data.draw(st.sampled_from([0, 0, 0, 3, 20]))])
    assert outcome(tmp_path / "x.png") == outcome_by_libpng_alone(tmp_path / "x.png")


@pytest.mark.usefixtures("unpacking_all")
def test_without_libdeflate_libpng_inflates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import imagecodecs

    def missing(*_: object, **__: object) -> bytes:
        raise imagecodecs.DelayedImportError("deflate_decode")

    monkeypatch.setattr(imagecodecs, "deflate_decode", missing)
    assert np.array_equal(decode_png(whole(8, 2)), by_pillow(whole(8, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("least", "most"), [(0, 1), (10**6, 10**7)])
def test_small_and_large_files_are_left_to_libpng(
    monkeypatch: pytest.MonkeyPatch, least: int, most: int
) -> None:
    monkeypatch.setattr(png, "_LEAST_UNPACKED", least)
    monkeypatch.setattr(png, "_MOST_UNPACKED", most)
    assert png._unpacked(whole(8, 2), list(png._chunks(whole(8, 2)))) == whole(8, 2)


def test_what_says_how_an_image_lies_is_looked_for_around_the_pixels() -> None:
    pixels, text, end = chunk(b"IDAT", b"eXIf"), chunk(b"tEXt", b"a\0b"), chunk(b"IEND", b"")
    start = header(1, 1, 8, 0) + text
    assert b"eXIf" not in around_pixels(start + pixels + pixels + text + end + b"behind")
    assert around_pixels(start + pixels + text + end + b"behind").count(b"tEXt") == 2
    assert around_pixels(start + pixels + end + b"behind").endswith(b"behind")
    for unclear in (start + pixels + text + pixels + end, start + end, start[:-1], b""):
        assert around_pixels(unclear) == unclear


def test_nothing_is_said_about_strange_files(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(whole(8, 0, before=chunk(b"sRGB", b"\0") * 2))
    program = "import sys; from bccli.core.imaging.formats.decoding import decode; decode(sys.argv[1])"
    command = [sys.executable, "-c", program, str(tmp_path / "x.png")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("depth", "colour"), [(8, 0), (16, 0), (8, 2)])
@pytest.mark.parametrize("hint", [b"", chunk(b"pHYs", b"\0\0\x0b\x13\0\0\x0b\x13\x01")])
def test_pillow_does_not_open_a_plain_file_that_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int, colour: int, hint: bytes
) -> None:
    file = saved(tmp_path / "x.png", whole(depth, colour, before=hint))
    expected = by_pillow(file.read_bytes())
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow opens it"))
    np.testing.assert_array_equal(decode_deep(file), expected)


@pytest.mark.parametrize("speech", [chunk(b"tEXt", b"Software\0x"), chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0")])
def test_pillow_opens_a_file_that_may_say_how_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: bytes
) -> None:
    asked: list[object] = []
    start = Image.open
    monkeypatch.setattr(Image, "open", lambda *args, **options: (asked.append(1), start(*args, **options))[1])
    decode_deep(saved(tmp_path / "x.png", whole(8, 2, before=speech)))
    assert asked


def test_a_silent_file_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    file = saved(
        tmp_path / "x.png",
        header(2**31 - 1, 2**31 - 1, 8, 2) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b""),
    )
    with pytest.raises(ImageError, match="is too large"):
        decode_deep(file)
    file.write_bytes(file.read_bytes().replace(header(2**31 - 1, 2**31 - 1, 8, 2), header(0, 3, 8, 2)))
    with pytest.raises(ImageError):
        decode_deep(file)


@pytest.mark.parametrize("kind", sorted(png._SILENT - {b"IHDR", b"IDAT", b"IEND"}))
@pytest.mark.parametrize("length", [0, 1, 3, 4, 8, 9, 12, 31, 32, 33])
@pytest.mark.parametrize("size", [(9, 7), (0, 7), (9, 0)])
def test_a_silent_file_has_the_outcome_that_it_has_where_pillow_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes, length: int, size: tuple[int, int]
) -> None:
    pixels = chunk(b"IDAT", zlib.compress(rows(9, 7, 8, 2)))
    data = header(*size, 8, 2) + chunk(kind, bytes(length)) + pixels + chunk(b"IEND", b"")
    file = saved(tmp_path / "x.png", data)
    found = outcome(file)
    monkeypatch.setattr(decoding, "decode_silent_png", lambda *_: None)
    assert found == outcome(file)
