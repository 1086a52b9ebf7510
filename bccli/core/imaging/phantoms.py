"""Phantoms: drawn stand-ins for histology slides and mammograms, so that bccli runs without a download.

The two classes differ in structure only. Everything that moves the mean or the spread of a colour
(how many nuclei and how large, the area of gaps, of epithelium and of masses, stain, exposure) is
drawn without looking at the label; the label decides the arrangement. Stain and exposure vary from
patient to patient, slide to slide and image to image, far more than what is left between classes.

Lengths are in scene units: the shorter side of an image is `SCENE` units, whatever its pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from bccli.core.errors import DataError

Map = NDArray[np.float32]
"""One value per pixel, height × width."""

LABELS = ("benign", "malignant")
VIEWS = (("CC", "L"), ("MLO", "L"), ("CC", "R"), ("MLO", "R"))
"""View and side of a mammography patient's films; slide 1 is the first."""

SCENE = 128

# Optical density of each stain in R, G, B: the reference vectors of Macenko et al., 2009.
HEMATOXYLIN = np.array([0.563, 0.720, 0.406], np.float32)
EOSIN = np.array([0.216, 0.801, 0.558], np.float32)


@dataclass(frozen=True, slots=True)
class Canvas:
    """An empty image: `width` × `height` pixels, `unit` pixels per scene unit."""

    width: int
    height: int

    @property
    def unit(self) -> float:
        """Pixels per scene unit."""
        return min(self.width, self.height) / SCENE

    @property
    def extent(self) -> NDArray[np.float64]:
        """Width and height in scene units."""
        return np.array([self.width, self.height]) / self.unit

    def grid(self) -> tuple[Map, Map]:
        """The x and y of every pixel's centre in scene units, ready to broadcast."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5) / self.unit
        y = (np.arange(self.height, dtype=np.float32) + 0.5) / self.unit
        return x[None, :], y[:, None]

    def noise(self, rng: np.random.Generator, grain: float) -> Map:
        """Smooth noise of mean 0 and standard deviation 1, with lumps of about `grain` scene units."""
        columns, rows = (int(np.ceil(side / grain)) + 2 for side in self.extent)
        coarse = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
        window = (0.5, 0.5, 0.5 + self.extent[0] / grain, 0.5 + self.extent[1] / grain)
        smooth = np.asarray(coarse.resize((self.width, self.height), Image.Resampling.BICUBIC, box=window))
        return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)

    def fill(self, outlines: list[NDArray[np.float64]]) -> NDArray[np.bool_]:
        """True inside any of the outlines, each N × 2 points (x, y) in scene units."""
        fine = 4  # Pillow fills the outline's own pixels too; four times finer, they hardly add area
        image = Image.new("L", (fine * self.width, fine * self.height))
        draw = ImageDraw.Draw(image)
        for outline in outlines:
            draw.polygon((outline * self.unit * fine - 0.5).ravel().tolist(), fill=255)
        return np.asarray(image.reduce(fine)) >= 128

    def soften(self, region: NDArray[np.bool_], radius: float) -> Map:
        """The region as 0…1 with an edge blurred over `radius` scene units."""
        image = Image.fromarray(region.astype(np.uint8) * 255)
        blurred = image.filter(ImageFilter.GaussianBlur(radius * self.unit))
        return np.asarray(blurred, np.float32) / np.float32(255)


@dataclass(frozen=True, slots=True)
class Draws:
    """Random numbers at three levels: what a patient's, a slide's and an image's pictures share."""

    patient: np.random.Generator
    slide: np.random.Generator
    image: np.random.Generator

    def vary(self, spread: float) -> float:
        """A factor around 1 whose logarithm varies by about `spread` at each level."""
        levels = (self.patient, self.slide, self.image)
        return float(np.exp(sum(level.normal(0, spread) for level in levels)))


@dataclass(frozen=True, slots=True)
class Glands:
    """N oval glands: `centers` N × 2 and mean `radii` N in scene units, and their `outlines`."""

    centers: NDArray[np.float64]
    radii: NDArray[np.float64]
    outlines: list[NDArray[np.float64]]

    def scaled(self, factor: float) -> list[NDArray[np.float64]]:
        """The outlines shrunk towards their centres."""
        pairs = zip(self.outlines, self.centers, strict=True)
        return [center + factor * (outline - center) for outline, center in pairs]


@dataclass(frozen=True, slots=True)
class Tissue:
    """The epithelium and its gaps, and the nuclei: N × 2 positions, N directions."""

    region: NDArray[np.bool_]
    gaps: NDArray[np.bool_]
    positions: NDArray[np.float64]
    directions: NDArray[np.float64]


def draw_phantom(
    kind: str,
    label: str,
    *,
    seed: int,
    patient: int,
    slide: int,
    number: int,
    size: tuple[int, int] = (SCENE, SCENE),
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one phantom and its mask from nothing but the arguments, which are 0 or more.

    `size` is (width, height) in pixels. Returns the RGB image (height × width × 3) and the mask
    (height × width, 255 on the glands, the tumour nests or the mass, 0 elsewhere). Raises DataError
    for an unknown kind or label.
    """
    paint = find_kind(kind)
    if label not in LABELS:
        raise DataError(f"{label}: no such phantom label; use {' or '.join(LABELS)}")
    levels = ((patient, 0, 0), (patient, slide, 0), (patient, slide, number))
    key = (seed, list(PAINT_FUNCTIONS).index(kind))
    # The level is part of the key because numpy pads keys with zeros: [1] and [1, 0] draw alike.
    draws = Draws(*(np.random.default_rng([level, *key, *who]) for level, who in enumerate(levels)))
    image, region = paint(label, draws, Canvas(*size), slide)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8), region.astype(np.uint8) * 255


PaintFunction = Callable[[str, Draws, Canvas, int], tuple[Map, NDArray[np.bool_]]]


def find_kind(kind: str) -> PaintFunction:
    """The function that draws this kind of phantom. Raises DataError that names the kinds."""
    try:
        return PAINT_FUNCTIONS[kind]
    except KeyError:
        raise DataError(f"{kind}: no such phantom; use {' or '.join(PAINT_FUNCTIONS)}") from None


def paint_histology(label: str, draws: Draws, canvas: Canvas, slide: int) -> tuple[Map, NDArray[np.bool_]]:
    """Draw stained tissue: glands as rings around a lumen, or nests of the same cells without rings."""
    rng = draws.image
    hematoxylin, eosin, brightness = draws.vary(0.12), draws.vary(0.14), draws.vary(0.015)
    collagen = _draw_collagen(rng, canvas)
    glands, counts = _draw_glands(rng, canvas)
    tissue = ARRANGEMENTS[label](rng, canvas, glands, counts)
    nuclei = _draw_nuclei(rng, canvas, tissue.positions, tissue.directions, axes=(3.1, 2.5))
    spindles = _draw_spindles(rng, canvas, tissue.region)
    epithelium = canvas.soften(tissue.region, 1.2)
    solid = 1 - 0.93 * canvas.soften(tissue.gaps, 0.8)
    blue = solid * (0.08 + 0.16 * epithelium + np.maximum(nuclei, spindles))
    pink = solid * (0.36 + 0.11 * collagen * (1 - epithelium))
    density = hematoxylin * blue[..., None] * HEMATOXYLIN + eosin * pink[..., None] * EOSIN
    image = 245 * brightness * np.exp(-density) + rng.normal(0, 2.5, density.shape)
    return image.astype(np.float32), tissue.region


def _draw_collagen(rng: np.random.Generator, canvas: Canvas) -> Map:
    """Wavy fibres over low-frequency texture, about -1…1."""
    x, y = canvas.grid()
    angle, wave = rng.uniform(0, np.pi), rng.uniform(8, 12)
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    fibres = np.sin(along * np.float32(2 * np.pi / wave) + 2.5 * canvas.noise(rng, 28))
    return 0.5 * fibres + 0.5 * canvas.noise(rng, 20)


def _draw_glands(rng: np.random.Generator, canvas: Canvas) -> tuple[Glands, NDArray[np.int64]]:
    """Place as many glands as find room, and say how many nuclei each has.

    Both classes start here: a malignant image takes its areas and its number of nuclei from it.
    """
    wanted = int(rng.integers(4, 6) * np.prod(canvas.extent) / SCENE**2)
    centers: list[NDArray[np.float64]] = []
    radii: list[float] = []
    outlines = []
    for radius in rng.uniform(14, 19, wanted):
        outline = _wobble(rng, radius, harmonics=3)
        low, high = 4 - outline.min(axis=0), canvas.extent - 4 - outline.max(axis=0)
        for center in rng.uniform(low, high, (40, 2)):
            if all(np.hypot(*(center - c)) > radius + r + 3 for c, r in zip(centers, radii, strict=True)):
                centers.append(center)
                radii.append(radius)
                outlines.append(center + outline)
                break
    counts = np.round(np.array(radii) * rng.uniform(0.62, 0.76)).astype(int)
    return Glands(np.array(centers), np.array(radii), outlines), counts


def _wobble(rng: np.random.Generator, radius: float, harmonics: int) -> NDArray[np.float64]:
    """A closed outline (96 × 2) around (0, 0): a circle of the radius's area, gently deformed."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    order = np.arange(2, 2 + harmonics)[:, None]
    phase = rng.uniform(0, 2 * np.pi, order.shape)
    height = rng.uniform(0.05, 0.22, order.shape) / (order - 1)
    return _outline(angle, 1 + (height * np.cos(order * angle + phase)).sum(axis=0), radius)


def _outline(angle: NDArray[np.float64], profile: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Points at `profile` times a length at each angle, scaled to enclose π·radius²."""
    distance = radius * profile / np.sqrt(np.mean(profile**2))
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


def _arrange_rings(
    rng: np.random.Generator, canvas: Canvas, glands: Glands, counts: NDArray[np.int64]
) -> Tissue:
    """Benign: each gland's nuclei stand side by side around its lumen, pointing at it."""
    positions, directions = [], []
    walls = glands.scaled(0.78)
    for center, wall, count in zip(glands.centers, walls, counts, strict=True):
        steps = (np.arange(count) + rng.uniform() + rng.normal(0, 0.12, count)) / count
        points = wall[(steps * len(wall)).astype(int) % len(wall)]
        positions.append(points + rng.normal(0, 0.6, points.shape))
        directions.append(np.arctan2(*(points - center).T[::-1]) + rng.normal(0, 0.2, count))
    gaps = canvas.fill(glands.scaled(LUMEN))
    return Tissue(canvas.fill(glands.outlines), gaps, np.concatenate(positions), np.concatenate(directions))


LUMEN = 0.46
"""Radius of a lumen as a share of its gland's: leaves the nuclei of the ring clear of it."""


def _arrange_nests(
    rng: np.random.Generator, canvas: Canvas, glands: Glands, counts: NDArray[np.int64]
) -> Tissue:
    """Malignant: as many nuclei in ragged nests, with ragged gaps; areas as in the glands."""
    areas = np.pi * (glands.radii * canvas.unit) ** 2
    edge = _edge_distance(canvas)
    shape = canvas.noise(rng, 30) + 0.45 * canvas.noise(rng, 11) - 2 * np.clip(1.2 - edge / 20, 0, 1)
    region = _largest(np.where(edge >= 4, shape, -np.inf), areas.sum())
    holes = canvas.noise(rng, 16) + 0.3 * canvas.noise(rng, 8)
    # A ragged gap loses more of its white to the blurred edge than a round lumen does.
    gaps = _largest(np.where(region, holes, -np.inf), 1.05 * LUMEN**2 * areas.sum())
    clear = canvas.soften(gaps, 2.0) < 0.2
    positions = _scatter(rng, canvas, region & clear, int(counts.sum()), spacing=5.2)
    return Tissue(region, gaps, positions, rng.uniform(0, np.pi, len(positions)))


def _edge_distance(canvas: Canvas) -> Map:
    """Every pixel's distance from the nearest edge of the image, in scene units."""
    x, y = canvas.grid()
    width, height = canvas.extent
    return np.minimum(np.minimum(x, width - x), np.minimum(y, height - y)).astype(np.float32)


def _largest(field: Map, area: float) -> NDArray[np.bool_]:
    """True for the `area` pixels in which the field is largest."""
    rank = field.size - int(area)
    return field > np.partition(field, rank, axis=None)[rank]


def _scatter(
    rng: np.random.Generator, canvas: Canvas, region: NDArray[np.bool_], count: int, spacing: float
) -> NDArray[np.float64]:
    """Positions (count × 2) in the region, `spacing` scene units apart while there is room."""
    rows, columns = np.nonzero(region)
    tries = rng.integers(0, len(rows), 8 * count)
    pixels = np.stack([columns[tries], rows[tries]], axis=1)
    points = (pixels + rng.uniform(size=pixels.shape)) / canvas.unit
    chosen, left = points[:0], points
    while len(left) and len(chosen) < count:
        chosen = np.append(chosen, left[:1], axis=0)
        left = left[((left - left[0]) ** 2).sum(axis=1) >= spacing**2]
    crowded = points[len(points) - (count - len(chosen)) :]
    return np.append(chosen, crowded, axis=0)


def _draw_spindles(rng: np.random.Generator, canvas: Canvas, region: NDArray[np.bool_]) -> Map:
    """The thin nuclei of the stroma between the glands or nests, roughly parallel."""
    count = int(rng.integers(10, 18) * np.prod(canvas.extent) / SCENE**2)
    positions = _scatter(rng, canvas, ~region, count, spacing=7)
    directions = rng.uniform(0, np.pi) + rng.normal(0, 0.35, count)
    return _draw_nuclei(rng, canvas, positions, directions, axes=(4.2, 1.2))


def _draw_nuclei(
    rng: np.random.Generator,
    canvas: Canvas,
    positions: NDArray[np.float64],
    directions: NDArray[np.float64],
    axes: tuple[float, float],
) -> Map:
    """Dark ellipses with blurred edges, as hematoxylin density; `axes` are mean half lengths."""
    count, unit = len(positions), canvas.unit
    long, short = (rng.normal(1, 0.13, (2, count)).clip(0.7, 1.4).T * axes).T[:, :, None, None] * unit
    reach = int(np.ceil(1.5 * max(axes) * unit)) + 2
    offset = np.arange(-reach, reach + 1)
    corner = np.floor(positions * unit).astype(int)
    shift = (positions * unit - corner - 0.5)[:, :, None, None]
    dx, dy = offset[None, None, :] - shift[:, 0], offset[None, :, None] - shift[:, 1]
    cos, sin = np.cos(directions)[:, None, None], np.sin(directions)[:, None, None]
    ratio = np.hypot((dx * cos + dy * sin) / long, (dy * cos - dx * sin) / short)
    ink = rng.uniform(0.9, 1.5, (count, 1, 1)) / (1 + np.exp((ratio.clip(max=4) - 1) * 7))
    density = np.zeros((canvas.height + 2 * reach, canvas.width + 2 * reach), np.float32)
    for (column, row), stamp in zip(corner, ink, strict=True):
        spot = density[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        np.maximum(spot, stamp, out=spot)
    texture = 1 + 0.12 * canvas.noise(rng, 3)
    return density[reach:-reach, reach:-reach] * texture


def paint_mammography(label: str, draws: Draws, canvas: Canvas, slide: int) -> tuple[Map, NDArray[np.bool_]]:
    """Draw a breast on film with one mass: smooth and oval, or spiculated with the same area."""
    rng = draws.image
    view, side = VIEWS[(slide - 1) % len(VIEWS)]
    exposure, contrast, density = draws.vary(0.07), draws.vary(0.06), draws.vary(0.12)
    depth, middle, spread = _draw_breast(draws, canvas)
    x, y = canvas.grid()
    inward = 1 - np.hypot(x / np.float32(depth), (y - np.float32(middle)) / np.float32(spread))
    skin = np.clip(inward * 7, 0, 1)
    lumps = 0.6 * canvas.noise(rng, 26) + 0.5 * canvas.noise(rng, 11) + 0.3 * canvas.noise(rng, 5)
    tissue = 58 + 34 * np.clip(inward * 1.6, 0, 1) + 13 * density * lumps
    if view == "MLO":
        tissue = tissue + 16 - 16 * np.tanh((1.5 * x + y - 0.5 * SCENE) / 4)  # the pectoral muscle
    radius, brightness = rng.uniform(11, 15), rng.uniform(48, 66)
    center = np.array([rng.uniform(26, 0.6 * depth), middle + spread * rng.uniform(-0.36, 0.36)])
    mass = canvas.fill([center + EDGES[label](rng, radius)])
    tissue = tissue + brightness * canvas.soften(mass, 0.9)
    film = 255 * exposure * np.clip(skin * tissue / 255, 0, 1) ** contrast
    film = film + rng.normal(0, 2.5, film.shape) * np.where(skin > 0, 1, 0.3)
    flip = slice(None, None, -1 if side == "R" else 1)
    return np.repeat(film[:, flip, None], 3, axis=2), mass[:, flip]


def _draw_breast(draws: Draws, canvas: Canvas) -> tuple[float, float, float]:
    """Draw a breast; returns its depth, its middle height and its half height, in scene units."""
    width, height = canvas.extent
    depth = draws.patient.uniform(0.6, 0.8) * width + draws.image.normal(0, 2)
    middle = height * (0.5 + draws.slide.normal(0, 0.02)) + draws.image.normal(0, 1.5)
    return depth, middle, draws.patient.uniform(0.42, 0.5) * height


def _smooth_edge(rng: np.random.Generator, radius: float) -> NDArray[np.float64]:
    """The outline (96 × 2) of a round or oval mass with π·radius² of area."""
    return _wobble(rng, radius, harmonics=2)


def _spiculated_edge(rng: np.random.Generator, radius: float) -> NDArray[np.float64]:
    """The outline (360 × 2) of a mass with rays of uneven length and π·radius² of area."""
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    count = int(rng.integers(11, 17))
    rays = 2 * np.pi * (np.arange(count) + rng.normal(0, 0.2, count)) / count
    away = np.abs((angle - rays[:, None] + np.pi) % (2 * np.pi) - np.pi)
    height, width = rng.uniform(0.35, 1.2, (count, 1)), rng.uniform(0.07, 0.12, (count, 1))
    profile = 1 + (height * np.exp(-away / width)).sum(axis=0)
    profile = profile * (1 + 0.12 * np.cos(2 * angle + rng.uniform(0, 2 * np.pi)))
    return _outline(angle, profile, radius)


ARRANGEMENTS = {"benign": _arrange_rings, "malignant": _arrange_nests}
EDGES = {"benign": _smooth_edge, "malignant": _spiculated_edge}
PAINT_FUNCTIONS: dict[str, PaintFunction] = {"histology": paint_histology, "mammography": paint_mammography}
