"""preview.png: a sheet of prepared images, one row per class, with the outlines of their masks."""

import hashlib
import heapq
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from bccli.core.data.manifest import Sample
from bccli.core.imaging.lettering import fitted, font_of

PER_CLASS = 8
_SIDE = 144
_GAP = 8
_LINE = 20
_OUTLINE = (255, 220, 0)


@dataclass
class Selection:
    """Keeps a few samples per class, spread over the dataset and the same every time."""

    classes: tuple[str, ...]
    _chosen: dict[str, list[tuple[int, int, Sample]]] = field(default_factory=dict)
    _shown: int = 0

    def add(self, sample: Sample) -> None:
        """Consider one more sample."""
        rank = int.from_bytes(hashlib.sha256(sample.path.encode()).digest()[:8], "big")
        self._shown += 1
        chosen = self._chosen.setdefault(sample.label, [])
        entry = (-rank, self._shown, sample)
        if len(chosen) < PER_CLASS:
            heapq.heappush(chosen, entry)
        else:
            heapq.heappushpop(chosen, entry)

    def samples(self, label: str) -> list[Sample]:
        """The samples kept of one class, in the order in which they came."""
        return [sample for _, _, sample in sorted(self._chosen.get(label, []), key=lambda entry: entry[1])]


def draw_preview(root: Path, selection: Selection) -> bytes:
    """The sheet as PNG bytes; image paths are relative to `root`. That no patient is known is said once."""
    rows = [(label, selection.samples(label)) for label in selection.classes]
    known = any(sample.patient for _, samples in rows for sample in samples)
    width = _GAP + PER_CLASS * (_SIDE + _GAP)
    height = _GAP + len(rows) * (_LINE + _SIDE + _LINE + _GAP)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    title, caption = font_of(14), font_of(10)
    top = _GAP
    for label, samples in rows:
        note = "" if known or top > _GAP else " (patients unknown)"
        room = int(width - 2 * _GAP - title.getlength(note))
        draw.text((_GAP, top), fitted(label, title, room) + note, "black", font=title)
        for index, sample in enumerate(samples):
            left = _GAP + index * (_SIDE + _GAP)
            tile = _tile(root, sample)
            sheet.paste(tile, (left + (_SIDE - tile.width) // 2, top + _LINE + (_SIDE - tile.height) // 2))
            words = fitted(_caption(sample, known), caption, _SIDE)
            draw.text((left, top + _LINE + _SIDE + 2), words, "#444444", font=caption)
        top += _LINE + _SIDE + _LINE + _GAP
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _caption(sample: Sample, known: bool) -> str:
    """The split, and the patient where some patients are known."""
    split = sample.split or f"fold {sample.fold}"
    if not known:
        return split
    if not sample.patient:
        return f"{split} · patient unknown"
    return f"{split} · {f'patient {sample.patient}' if len(sample.patient) < 8 else sample.patient}"


def _tile(root: Path, sample: Sample) -> Image.Image:
    image = ImageOps.contain(Image.open(root / sample.path).convert("RGB"), (_SIDE, _SIDE))
    if sample.mask:
        mask = np.array(Image.open(root / sample.mask).convert("L").resize(image.size)) > 127
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        pixels = np.array(image)
        pixels[mask & ~inner] = _OUTLINE
        image = Image.fromarray(pixels)
    return image
