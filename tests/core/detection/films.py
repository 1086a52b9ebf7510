"""Films with boxes and lesions, drawn for tests: small, so that many overlap and many scores are equal."""

import numpy as np
from hypothesis import strategies as st

from bccli.core.detection.boxes import ScoredBox
from bccli.core.detection.lesions import Lesion, boxed_lesion
from bccli.core.detection.matching import Film, HitRule
from bccli.core.imaging.equalising import Box

SIDE = 12
FLAT = (SIDE, SIDE)


@st.composite
def boxes(draw) -> Box:
    left, top = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
    return Box(left, top, draw(st.integers(left + 1, SIDE)), draw(st.integers(top + 1, SIDE)))


scored = st.builds(ScoredBox, boxes(), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]))


@st.composite
def lesions(draw) -> Lesion:
    """A box, or a box of which some pixels are the lesion."""
    box = draw(boxes())
    if draw(st.booleans()):
        return boxed_lesion(box)
    seed = draw(st.integers(0, 99))
    mask = np.random.default_rng(seed).random((box.bottom - box.top, box.right - box.left)) < 0.7
    return Lesion(box, int(mask.sum()), mask)


films = st.builds(
    Film,
    st.lists(scored, max_size=6),
    st.lists(lesions(), max_size=3),
    st.just(FLAT),
    st.sampled_from(["", "a", "b", "c"]),
)
studies = st.lists(films, min_size=1, max_size=6)


def pixels(box: Box) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box.left, box.right) for y in range(box.top, box.bottom)}


def overlap(one: Box, other: Box) -> float:
    """IoU, by counting pixels."""
    ours, theirs = pixels(one), pixels(other)
    return len(ours & theirs) / len(ours | theirs)


def is_on(box: Box, lesion: Lesion, rule: HitRule) -> bool:
    """Whether a box reaches a lesion, in the words of the guide."""
    if rule.iou is not None and overlap(box, lesion.box) >= rule.iou:
        return True
    x, y = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    inside = (x, y) in pixels(lesion.box)
    if not rule.centre or not inside:
        return False
    return lesion.mask is None or bool(lesion.mask[y - lesion.box.top, x - lesion.box.left])


def plain_matching(film: Film, rule: HitRule) -> tuple[dict[int, int], list[int], list[int]]:
    """Which box hits each lesion, false boxes and spare ones, box by box."""

    def best(number: int) -> float:
        return max((overlap(film.boxes[number].box, lesion.box) for lesion in film.lesions), default=0)

    order = sorted(range(len(film.boxes)), key=lambda n: (-film.boxes[n].score, -best(n), film.boxes[n].box))
    by: dict[int, int] = {}
    false, spare = [], []
    for number in order:
        box = film.boxes[number].box
        reached = [m for m, lesion in enumerate(film.lesions) if is_on(box, lesion, rule)]
        free = [m for m in reached if m not in by]
        if free:
            chosen = min(
                free,
                key=lambda m: (
                    -overlap(box, film.lesions[m].box),
                    film.lesions[m].area,
                    film.lesions[m].box,
                ),
            )
            by[chosen] = number
        elif reached:
            spare.append(number)
        else:
            false.append(number)
    return by, sorted(false), sorted(spare)


def scored_box(left: int, top: int, right: int, bottom: int, score: float) -> ScoredBox:
    return ScoredBox(Box(left, top, right, bottom), score)


def worked_example() -> list[Film]:
    """The four films of the guide's page."""
    shape = (40, 40)
    return [
        Film(
            [
                scored_box(0, 0, 10, 10, 0.9),
                scored_box(1, 0, 11, 10, 0.8),
                scored_box(30, 0, 40, 10, 0.7),
                scored_box(24, 20, 34, 30, 0.3),
            ],
            [boxed_lesion(Box(0, 0, 10, 10)), boxed_lesion(Box(20, 20, 30, 30))],
            shape,
            "one",
        ),
        Film(
            [scored_box(15, 10, 35, 20, 0.6), scored_box(0, 30, 10, 40, 0.5)],
            [boxed_lesion(Box(10, 10, 20, 20))],
            shape,
            "two",
        ),
        Film([scored_box(0, 0, 9, 9, 0.95), scored_box(20, 0, 29, 9, 0.65)], [], shape, "three"),
        Film([], [], shape, "four"),
    ]
