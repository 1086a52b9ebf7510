"""stats.png: a dataset in figures: images and patients per split and class, images per patient, sizes, ages,
and images by their metadata.

Classes in train before and after some were left out, and ages: figures 3.1 to 3.4 of the Mini-DDSM thesis.

It shares colours and panels with the pictures of a run (see `plots` and `panels`).
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bccli.core.metrics.panels import (
    FONT,
    SMALL_FONT,
    add_axes,
    count_on,
    draw_bars,
    letters_in,
    make_logarithmic,
    shortened,
    write_heading,
    write_label,
    write_sentence,
)
from bccli.core.metrics.plots import (
    BLUE,
    COLOURS,
    VERMILLION,
    new_figure,
    own_style,
    wrapped,
    write_figure,
)
from bccli.core.preparation.counts import Background, Census, Sizes
from bccli.core.preparation.strata.panels import draw_strata

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES, MOST_SPLITS, MOST_ROWS = 24, 20, 60
"""Of more classes or folds, or rows of bars below each other, the first ones are shown, and it says so."""
FEW_SIZES = 10
"""Up to here each size gets a bar; beyond, a dot by its width and height."""
FEW_BARS, MOST_BARS = 10, 30
"""Bars of the histogram: up to how many carry their numbers, and how many there may be."""
LOG_RANGE, WIDE_RANGE = 100, 20
"""Numbers of patients, and pixels, that differ by a larger factor are drawn on logarithmic scales."""

_SPLIT_COLOURS = {"train": BLUE, "val": VERMILLION, "test": COLOURS[2]}

_WIDTH, _HALF, _HEIGHT = 8.6, 3.7, 2.4
_ROW, _GAP, _LINE = 0.23, 0.3, 0.17
_ACROSS = 4
_BELOW = _HEIGHT + 1.15
"""From the heading of a row of pictures to that of the next."""
_SENTENCE = 1.15
"""From the heading of a sentence of up to three lines to that of what is below."""
_HEADING_LETTERS, _AGE_NAMES = 110, 1.4
_YEARS = 5
_PALE = "#C9D6E2"
_NOTHING_KNOWN = Background()


@dataclass(frozen=True)
class _Block:
    """Numbers per split or fold (S,) and class (S, K), None where unknown; what is behind train's bars."""

    heading: str
    splits: Sequence[str]
    classes: Sequence[str]
    wholes: Sequence[int]
    numbers: Sequence[Sequence[int | None]]
    before: Mapping[str, int]


@own_style()
def draw_stats(census: Census, classes: Sequence[str], background: Background = _NOTHING_KNOWN) -> bytes:
    """The picture as PNG bytes; `classes` in the order in which they are shown."""
    figure = new_figure()
    bottom = _draw_block(figure, 0, _images_block(census, classes, background.before))
    if census.patients:
        bottom = _draw_block(figure, bottom - 0.4, _patients_block(census, classes))
    top = bottom - 0.5
    ends = _draw_patients(figure, top, census), _draw_sizes(figure, top, census.sizes)
    top = min(ends)
    if background.ages:
        top = _draw_ages(figure, top, background, classes)
    totals = {label: sum(census.images[split, label] for split in census.splits) for label in classes}
    draw_strata(figure, top, census.strata, totals, background.positive or [*classes, ""][len(classes) - 1])
    stream = io.BytesIO()
    write_figure(figure, stream)
    return stream.getvalue()


def _images_block(census: Census, classes: Sequence[str], before: dict[str, int]) -> _Block:
    splits, shown = _shown(census, classes)
    kind = _kind(census)
    notes = [f"{_count(sum(census.images.values()), 'image')} per {kind} and class (share of the {kind})"]
    notes += ["pale: train before some were left out"] * bool(before)
    if len(classes) > len(shown) and splits:
        notes.append(f"the first {len(shown)} of {len(classes)} classes")
    if len(census.splits) > len(splits):
        notes.append(f"the first {len(splits)} of {len(census.splits)} {kind}s")
    wholes = [sum(census.images[split, label] for label in classes) for split in splits]
    numbers = [[census.images[split, label] for label in shown] for split in splits]
    return _Block(", ".join(notes), splits, shown, wholes, numbers, before)


def _patients_block(census: Census, classes: Sequence[str]) -> _Block:
    splits, shown = _shown(census, classes)
    kind = _kind(census)
    notes = [
        f"{_count(len(census.patients), 'patient')} per {kind} and class (share of the {kind}'s patients)"
    ]
    wholes = [census.patients_of(split, *classes) for split in splits]
    if sum(census.patients_of(split, label) for split in splits for label in classes) > sum(wholes):
        notes.append("some have images of several classes")
    if census.unknown:
        notes.append(f"without {_count(census.unknown, 'image')} of unknown patients")
    numbers = [
        [census.patients_of(split, label) or (None if census.images[split, label] else 0) for label in shown]
        for split in splits
    ]
    return _Block(", ".join(notes), splits, shown, wholes, numbers, {})


def _shown(census: Census, classes: Sequence[str]) -> tuple[list[str], Sequence[str]]:
    """The first splits and classes, as many as a page has room for."""
    splits = census.splits[:MOST_SPLITS]
    most = min(MOST_CLASSES, _ACROSS * (MOST_ROWS // max(len(splits), 1)))
    return splits, classes[:most] if splits else ()


def _kind(census: Census) -> str:
    splits = census.splits
    return "fold" if splits and splits[0].startswith("fold") else "split"


def _draw_block(figure: "Figure", top: float, block: _Block) -> float:
    """A panel per class with a bar per split or fold, that of train in front of a pale one for what it had
    `before`; returns where the last panel ends."""
    splits, shown = block.splits, block.classes
    names = [f"{split}: {whole:,}" for split, whole in zip(splits, block.wholes, strict=True)]
    colours = [_SPLIT_COLOURS.get(split, BLUE) for split in splits]
    longest = max((number or 0 for numbers in block.numbers for number in numbers), default=0)
    longest = max(longest, *(block.before.get(label, 0) for label in shown), 0)
    lines = math.ceil(len(shown) / _ACROSS)
    across = math.ceil(len(shown) / max(lines, 1))
    width = (_WIDTH - (across - 1) * _GAP) / max(across, 1)
    top = write_heading(figure, 0, top, wrapped(block.heading, _HEADING_LETTERS))
    for line in range(lines):
        row = shown[line * across : (line + 1) * across]
        titles = [shortened(label, letters_in(width)) for label in row]
        top -= _LINE * max(title.count("\n") + 1 for title in titles) + (0.2 if line else 0)
        for column, (label, title) in enumerate(zip(row, titles, strict=True)):
            axes = add_axes(figure, column * (width + _GAP), top, width, _ROW * len(splits))
            numbers = [each[line * across + column] for each in block.numbers]
            draw_bars(axes, width, numbers, block.wholes, colours, longest)
            if "train" in splits and block.before.get(label, 0) > (numbers[splits.index("train")] or 0):
                axes.barh(splits.index("train"), block.before[label], height=0.7, color=_PALE, zorder=0)
            axes.set_yticks(range(len(splits)), [] if column else names)
            axes.set_title(title, fontsize=FONT, loc="left", pad=3)
        top -= _ROW * len(splits)
    return top


def _draw_patients(figure: "Figure", top: float, census: Census) -> float:
    """A histogram of the patients by their number of images, a sentence where there is nothing to compare.

    Returns where what comes below may begin.
    """
    numbers = sorted(census.patients.values())
    without = _count(census.unknown, "image")
    if not numbers:
        title = "patients per class, images per patient"
        write_sentence(figure, 0, top, title, f"unknown for all {without}")
        return top - _SENTENCE
    patients = _count(len(numbers), "patient")
    aside = f"not counted: {without} of unknown patients" if census.unknown else ""
    if numbers[0] == numbers[-1]:
        text = f"{_count(numbers[0], 'image')} of {'each of ' * (len(numbers) > 1)}{patients}"
        write_sentence(figure, 0, top, "images per patient", "; ".join(filter(None, (text, aside))))
        return top - _SENTENCE
    title = f"images per patient: {patients}, median {median(numbers):,.0f}"
    axes = add_axes(figure, 0, write_heading(figure, 0, top, title), _HALF, _HEIGHT)
    _draw_histogram(axes, np.array(numbers))
    if aside:
        axes.set_xlabel(f"{axes.get_xlabel()}\n({aside})")
    return top - _BELOW


def _draw_histogram(axes: "Axes", numbers: np.ndarray) -> None:
    """Bars from the smallest to the largest number; few of them are labelled."""
    edges = _edges(numbers)
    heights, _ = np.histogram(numbers, edges)
    axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=BLUE, edgecolor="white", linewidth=0.6)
    axes.margins(x=0.02, y=0.12)
    few = len(heights) <= FEW_BARS
    count_on(axes, "x", "images", 10 if few else 7)
    count_on(axes, "y", "patients", 6)
    if few:
        for edge, height, width in zip(edges, heights, np.diff(edges), strict=False):
            write_label(axes, f"{height:,}", (edge + width / 2, height), (0, 2), ha="center")
    elif heights.max() > LOG_RANGE * heights[heights > 0].min():
        axes.set_ylim(bottom=0.7)
        make_logarithmic(axes, "y", "patients (logarithmic)")
    if _has_tail(numbers):
        make_logarithmic(axes, "x", "images (logarithmic)")


def _edges(numbers: np.ndarray) -> np.ndarray:
    """The edges of bars of whole numbers: of equal width, or of equal ratio for a long tail."""
    first, last = int(numbers.min()), int(numbers.max())
    if _has_tail(numbers):
        return np.unique(np.geomspace(first, last + 1, MOST_BARS + 1).round()) - 0.5
    step = math.ceil((last - first + 1) / MOST_BARS)
    return np.arange(first, last + step + 1, step) - 0.5


def _has_tail(numbers: np.ndarray) -> bool:
    return bool(numbers.max() > LOG_RANGE * np.median(numbers))


def _draw_sizes(figure: "Figure", top: float, sizes: Sizes) -> float:
    """Bars of a few sizes, dots of many, a sentence of one; returns where what comes below may begin."""
    left, title = _WIDTH - _HALF, "image sizes in pixels"
    total = sizes.counts.total()
    common = sorted(sizes.counts.items(), key=lambda item: (-item[1], item[0]))
    if len(common) < 2:
        text = "".join(f"all {total:,} images are {width} × {height}" for (width, height), _ in common)
        write_sentence(figure, left, top, title, text or "unknown")
        return top - _SENTENCE
    if len(common) <= FEW_SIZES:
        top = write_heading(figure, left, top, f"{title} (width × height)")
        axes = add_axes(figure, left, top, _HALF, _ROW * len(common))
        numbers = [number for _, number in common]
        draw_bars(axes, _HALF, numbers, [total] * len(common), BLUE, numbers[0])
        axes.set_yticks(range(len(common)), [f"{width} × {height}" for (width, height), _ in common])
        return top - _ROW * len(common) - 0.5
    unit = f"steps of {sizes.step} pixels" if sizes.step > 1 else "pixels"
    _draw_dots(
        figure, left, write_heading(figure, left, top, f"{len(common):,} image sizes in {unit}"), sizes
    )
    return top - _BELOW


def _draw_dots(figure: "Figure", left: float, top: float, sizes: Sizes) -> None:
    """A dot per size, the darker the more images have it, and what the shades mean."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    rows = sorted((number, *size) for size, number in sizes.counts.items())
    numbers, widths, heights = np.array(rows).T + np.array([[0], [1], [1]]) * (sizes.step // 2)
    axes = add_axes(figure, left, top, _HALF - 0.75, _HEIGHT)
    shades = LinearSegmentedColormap.from_list("shades", ["#8FBDE0", BLUE, "#00213D"])
    dots = axes.scatter(
        widths,
        heights,
        c=numbers,
        s=np.clip(4000 / len(rows), 5, 30),
        cmap=shades,
        norm=LogNorm(1, max(int(numbers[-1]), 2)),
        linewidths=0,
    )
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    for which, name, values in (("x", "width", widths), ("y", "height", heights)):
        count_on(axes, which, name, 6)
        if values.max() > WIDE_RANGE * max(values.min(), 1):
            make_logarithmic(axes, which, f"{name} (logarithmic)")
    if numbers[-1] > 1:
        bar = figure.colorbar(dots, cax=add_axes(figure, left + _HALF - 0.65, top, 0.12, _HEIGHT))
        make_logarithmic(bar.ax, "y", "images")


def _draw_ages(figure: "Figure", top: float, background: Background, classes: Sequence[str]) -> float:
    """A histogram of the patients' ages, and the mean age of those with images of each class.

    Returns where what comes below may begin.
    """
    ages = np.array(background.ages)
    below = top - _BELOW
    title = f"ages of {_count(len(ages), 'patient')}, mean {ages.mean():.1f} years"
    axes = add_axes(figure, 0, write_heading(figure, 0, top, title), _HALF, _HEIGHT)
    first, last = ages.min() // _YEARS * _YEARS, ages.max() // _YEARS * _YEARS
    edges = np.arange(first, last + 2 * _YEARS, _YEARS)
    heights, _ = np.histogram(ages, edges)
    axes.bar(edges[:-1], heights, _YEARS, align="edge", color=BLUE, edgecolor="white", linewidth=0.6)
    axes.margins(x=0.02, y=0.12)
    count_on(axes, "x", "age in years", 8)
    count_on(axes, "y", "patients", 6)
    shown = [label for label in classes[:MOST_CLASSES] if label in background.class_ages]
    left = _WIDTH - _HALF
    top = write_heading(figure, left, top, "mean age of the patients of a class, and how many")
    means = [float(np.mean(background.class_ages[label])) for label in shown]
    names = [shortened(label, letters_in(_AGE_NAMES)) for label in shown]
    row = max(_ROW, _LINE * (1 + max(name.count("\n") for name in names)))
    axes = add_axes(figure, left, top, _HALF, row * len(shown))
    axes.barh(range(len(shown)), means, height=0.7 * _ROW / row, color=BLUE)
    for index, (label, mean) in enumerate(zip(shown, means, strict=True)):
        text = f"{mean:.1f} ({_count(len(background.class_ages[label]), 'patient')})"
        write_label(axes, text, (mean, index), (3, 0), va="center_baseline")
    axes.set(xlim=(0, 1.9 * max(means)), ylim=(len(shown) - 0.5, -0.5), xticks=[])
    axes.set_yticks(range(len(shown)), names)
    axes.tick_params(length=0, labelsize=SMALL_FONT)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    return min(below, top - row * len(shown) - 0.5)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)
