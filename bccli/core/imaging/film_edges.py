"""The white edge of a digitised film: the scanner's light beside it, and film that no X-rays reached.

Both are brighter than the breast, and neither is tissue. In CBIS-DDSM they are strips along a side of the
film, up to some 2 % of it deep: 65,535 where there is no film, then often 57,000 to 64,000 where there is
film behind the collimator, then a steep fall to the breast within a few pixels.
"""

from collections.abc import Iterator

import numpy as np

from bccli.core.imaging.opencv import load_cv2

_LEAST_SIDE = 8
_SATURATED = 0.98
"""Share of the image's range from which a pixel is as good as the brightest one."""
_BRIGHT = 0.85
"""Share of the range from which a pixel may be film that no X-rays reached."""
_FALL = 0.94
"""Pixels beside an edge are at most so bright, as a share of the edge: tissue fades out more slowly."""
_CONTACT = 0.05
"""Share of a side that an edge touches at least: single bright pixels and labels are none."""
_DEPTH = 0.05
"""Share of the image that an edge of less than full white is deep at most."""
_GAP = 0.002
"""Share of the image that a dark line between scanner and film is wide at most."""
_MOST_PIXELS = 2**26
"""Three times as many as films of CBIS-DDSM have; larger images would take much memory, and are no films."""
_BLUR = 0.004
"""Share of the image over which an edge fades into what lies beside it, at most."""
_FADED = 0.2
"""Share of the fall that may be left where an edge counts as over."""


def film_edge(grey: np.ndarray) -> np.ndarray | None:
    """The white edge of a grey image (height, width) of any depth as booleans, None where it has none.

    It touches the border along 5 % of a side at least. Saturated pixels belong to it however deep they
    reach, others where they end in a steep fall within 5 % of the image.
    """
    if min(grey.shape) < _LEAST_SIDE or grey.size > _MOST_PIXELS:
        return None
    low, high = float(grey.min()), float(grey.max())
    if not np.isfinite(high - low) or high == low:
        return None
    edge = np.zeros(grey.shape, bool)
    found = _mark_saturated(edge, grey, low + _SATURATED * (high - low), low)
    for lines, marks in zip(_sides(grey), _sides(edge), strict=True):
        found |= _mark_strip(marks, lines, low, high)
    return edge if found and not edge.all() else None


def _sides(image: np.ndarray) -> Iterator[np.ndarray]:
    """Strips as deep as an edge, whose lines start at the left, right, top and bottom of an image."""
    height, width = image.shape
    yield from (turned[:, : _pixels(_DEPTH, width, 3)] for turned in (image, image[:, ::-1]))
    yield from (turned.T[:, : _pixels(_DEPTH, height, 3)] for turned in (image, image[::-1]))


def _pixels(share: float, side: int, least: int) -> int:
    return max(round(share * side), least)


def _mark_saturated(edge: np.ndarray, grey: np.ndarray, level: float, low: float) -> bool:
    """Mark saturated pixels that are connected with the border, touch enough of it and end in a fall."""
    seeds = [seed for border in _borders(grey.shape) for seed in _seeds(grey[border] >= level, border)]
    if not seeds:
        return False
    cv2 = load_cv2()
    saturated = (grey >= level).view(np.uint8)
    reach = _pixels(_BLUR, min(grey.shape), 2)
    taken = np.zeros((grey.shape[0] + 2, grey.shape[1] + 2), np.uint8)  # with the frame that OpenCV asks for
    found, number = False, 1
    for row, column in seeds:
        if taken[row + 1, column + 1]:
            continue
        number = min(number + 1, 255)  # 1 is the frame's
        flags = 4 | cv2.FLOODFILL_MASK_ONLY | (number << 8)
        _, _, _, (left, top, width, height) = cv2.floodFill(saturated, taken, (column, row), 0, flags=flags)
        window = (
            slice(max(top - reach, 0), top + height + reach),
            slice(max(left - reach, 0), left + width + reach),
        )
        component = taken[1:-1, 1:-1][window] == number
        beside = _levels_beside(component, grey[window], reach)
        if len(beside) and np.median(beside) - low <= _FALL * (level - low):
            edge[window] |= component
            found = True
    return found


def without_edge(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """A grey image whose white edge is no brighter than the rest, and that edge, None where it has none.

    8 bits stay as they are, since they are not stretched.
    """
    edge = film_edge(grey)
    if edge is None or grey.dtype == np.uint8:
        return grey, edge
    brightest = np.max(grey, where=~edge, initial=grey.min())
    return grey if brightest == grey.max() else np.minimum(grey, brightest), edge


def trimmed(mask: np.ndarray, edge: np.ndarray | None) -> np.ndarray:
    """A mask uint8 (height, width) without what it marks of a white edge, and without slivers left beside it.

    A mask of nothing else stays as it is.
    """
    if edge is None or not (edge & (mask > 0)).any():
        return mask
    rest = np.where(edge, np.uint8(0), mask)
    rest[_slivers(rest, edge)] = 0
    return rest if rest.any() else mask


def _slivers(mask: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """The strips of a mask beside an edge that are no wider than the edge's blur, and far longer."""
    cv2 = load_cv2()
    width = 2 * _pixels(_BLUR, min(mask.shape), 1) + 1
    kernel = np.ones((width, width), np.uint8)
    near = cv2.dilate(edge.view(np.uint8), kernel)
    thin = (mask > cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel)) & near.view(bool)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(thin.view(np.uint8), connectivity=8)
    long = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) > 4 * width
    long[0] = False  # which is all the rest
    slivers: np.ndarray = long[numbers]
    return slivers


Border = tuple[int | slice, int | slice]


def _borders(shape: tuple[int, ...]) -> tuple[Border, ...]:
    """The first and last row and column of an image."""
    height, width = shape
    return (
        (0, slice(0, width)),
        (height - 1, slice(0, width)),
        (slice(0, height), 0),
        (slice(0, height), width - 1),
    )


def _seeds(bright: np.ndarray, border: Border) -> list[tuple[int, int]]:
    """Row and column of a pixel in each longer run of bright ones along a border that has enough of them."""
    if np.count_nonzero(bright) < _CONTACT * len(bright):
        return []
    steps = np.flatnonzero(np.diff(np.concatenate(([False], bright, [False])).astype(np.int8)))
    runs = steps.reshape(-1, 2)
    starts = runs[runs[:, 1] - runs[:, 0] >= _CONTACT / 5 * len(bright), 0].tolist()
    row, column = border
    return [(start, column) if isinstance(row, slice) else (row, start) for start in starts]  # type: ignore[misc]


def _levels_beside(component: np.ndarray, grey: np.ndarray, reach: int) -> np.ndarray:
    """The levels (n,) of an image `reach` pixels away from a component of it, up, down, left and right.

    Of large images, some 200 lines in each direction are looked at.
    """
    found = []
    for inside, image in ((component, grey), (component.T, grey.T)):
        step = slice(None, None, max(inside.shape[1] // 200, 1))
        inside, image = np.ascontiguousarray(inside[:, step]), image[:, step]
        for forth in (slice(None), slice(None, None, -1)):
            rows, columns = np.nonzero(inside[forth][:-reach] > inside[forth][1 : len(inside) - reach + 1])
            away = inside[forth][rows + reach, columns] == 0
            found.append(image[forth][rows[away] + reach, columns[away]])
    return np.concatenate(found)


def _mark_strip(marks: np.ndarray, lines: np.ndarray, low: float, high: float) -> bool:
    """Mark, in lines that start at a side, the bright pixels up to a fall, with what is blurred of them."""
    bright = low + _BRIGHT * (high - low)
    first = np.flatnonzero(lines[:, :2].max(axis=1) >= bright)
    if len(first) < _CONTACT * len(lines):
        return False
    depth = lines.shape[1]
    whole = round(depth / _DEPTH)
    reach = _pixels(_BLUR, whole, 2)
    chosen = np.ascontiguousarray(lines[first])
    ends = _run_ends(chosen >= bright, _pixels(_GAP, whole, 1))
    beside = _beside(chosen, ends, reach)
    falls = (ends + 2 * reach <= depth) & (beside - low <= _FALL * (bright - low))
    known = np.zeros(len(lines), bool)
    known[first[falls]] = True
    coherent = _coherent(known)[first]
    if not coherent.any():
        return False
    ends = _faded_ends(chosen, ends, beside + _FADED * (bright - beside), reach)
    marks[first[coherent]] |= np.arange(depth) < ends[coherent, None]
    return True


def _run_ends(bright: np.ndarray, gap: int) -> np.ndarray:
    """The length to which each line (lines, depth) is bright from its start on, across gaps up to `gap`."""
    across = np.ascontiguousarray(bright.T)  # (depth, lines): NumPy accumulates whole rows at a time
    depth = len(across)
    indices = np.arange(depth, dtype=np.int16)[:, None]
    last = np.maximum.accumulate(np.where(across, indices, np.int16(-1)), axis=0)
    broken = indices - last > gap
    stops = np.where(broken.any(axis=0), broken.argmax(axis=0), depth)
    return last[np.maximum(stops - 1, 0), np.arange(len(bright))].astype(np.int64) + 1


def _beside(lines: np.ndarray, ends: np.ndarray, reach: int) -> np.ndarray:
    """The median level of each line over `reach` pixels, from `reach` pixels behind its end on."""
    return np.median(_window(lines, ends + reach, reach), axis=1)


def _faded_ends(lines: np.ndarray, ends: np.ndarray, levels: np.ndarray, reach: int) -> np.ndarray:
    """The positions, up to `reach` beyond `ends`, at which bright lines have fallen to their `levels`."""
    below = _window(lines, ends, reach) <= levels[:, None]
    return ends + np.where(below.any(axis=1), below.argmax(axis=1), reach)


def _window(lines: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """So many pixels of each line from its start on, float64; the last one again beyond the end."""
    indices = np.minimum(starts[:, None] + np.arange(length), lines.shape[1] - 1)
    return np.take_along_axis(lines, indices, axis=1).astype(np.float64)


def _coherent(known: np.ndarray) -> np.ndarray:
    """A mask of the lines that make a strip of some length along the side."""
    cv2 = load_cv2()
    length = _pixels(_CONTACT, len(known), 3)
    row = known.view(np.uint8)[:, None]
    closed = cv2.morphologyEx(
        row, cv2.MORPH_CLOSE, np.ones((_pixels(_CONTACT / 5, len(known), 1), 1), np.uint8)
    )
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    return known & opened[:, 0].astype(bool)
