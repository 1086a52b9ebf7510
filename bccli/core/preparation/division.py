"""The division of images into splits or folds: what the user asks for, and the plan that follows."""

from dataclasses import dataclass

import numpy as np

from bccli.core.data.manifest import SPLITS
from bccli.core.data.splits import TEST, VAL
from bccli.core.preparation.survey import Survey


@dataclass(frozen=True)
class Division:
    """The division that is asked for: `by` patient, image, magnification or official split, or into `folds`.

    `by` "default" is official where the dataset has a split of its own, else patient.
    `ratios` are the shares of train, val and test on any scale; `test_patients` are exactly the test
    patients where they are named, and images of `test_magnifications` are test by magnification. `holdout` is
    the number of test images, 0 for as many as the ratios say. Of all images, `sample` are drawn first, 0 for
    all of them; of those in train, a class in `keep` loses all but its share. `group_similar` keeps images of
    unknown patients together that look alike; `conflicts` says whether to keep or drop images that show one
    picture under several labels.
    """

    by: str = "default"
    ratios: tuple[float, float, float] = (70, 20, 10)
    test_patients: tuple[str, ...] = ()
    test_magnifications: tuple[str, ...] = ()
    holdout: int = 0
    sample: int = 0
    folds: int = 0
    keep: tuple[tuple[str, float], ...] = ()
    seed: int = 0
    protocol: str = "honest"
    group_similar: bool = True
    conflicts: str = "keep"

    @property
    def joins_similar(self) -> bool:
        """Whether images that look alike have to stay together."""
        return self.group_similar and self.protocol == "honest"

    @property
    def keeps_groups(self) -> bool:
        """Whether the images of a patient have to stay together."""
        return self.by not in ("image", "magnification")


@dataclass(frozen=True)
class Plan:
    """A split (index of SPLITS) or a fold for every image, -1 for none, and what to tell the user.

    `drawn` are the positions of these images among all that the reader yields, None for all of them.
    """

    splits: np.ndarray
    folds: np.ndarray
    notes: tuple[str, ...] = ()
    drawn: np.ndarray | None = None


FEW = 10
"""Where fewer patients of a class are measured, the user is warned."""
_NAMED = 4
"""At most so many classes or splits are named one by one."""


def few_sentence(survey: Survey, plan: Plan) -> str:
    """A warning of splits or folds in which a class has few patients; empty where each has enough.

    An image of an unknown patient counts as one, and so does a group.
    """
    by_fold = bool((plan.folds >= 0).any())
    codes = plan.folds if by_fold else plan.splits
    unit = "images" if (survey.patients < 0).all() else "patients"
    sentences = []
    for code in sorted(set(codes.tolist()) - {-1} if by_fold else {VAL, TEST} & set(codes.tolist())):
        here = codes == code
        pairs = np.unique(np.stack([survey.labels[here], survey.groups[here]]), axis=1)
        numbers = np.bincount(pairs[0], minlength=len(survey.classes))
        few = [
            (name, int(number)) for name, number in zip(survey.classes, numbers, strict=True) if number < FEW
        ]
        if few:
            named = [f"{number} of {name}" for name, number in few[:_NAMED]]
            named += [f"few of {len(few) - _NAMED} more classes"] if len(few) > _NAMED else []
            sentences.append(f"{f'fold {code}' if by_fold else SPLITS[code]} {', '.join(named)}")
    if not sentences:
        return ""
    shown = "; ".join(sentences[:_NAMED]) + ("; …" if len(sentences) > _NAMED else "")
    return f"fewer than {FEW} {unit} of a class are measured, and figures on so few say little: {shown}"


@dataclass(frozen=True)
class Count:
    """The numbers of images and patients (None where unknown) of a class in a split or fold."""

    part: str
    label: str
    images: int
    patients: int | None


def count_plan(found: Survey, plan: Plan) -> list[Count]:
    """The rows of a dry run's table."""
    by_fold = (plan.folds >= 0).any()
    codes = plan.folds if by_fold else plan.splits
    names = {code: f"fold {code}" if by_fold else SPLITS[code] for code in sorted(set(codes.tolist()))}
    rows = []
    for code, name in names.items():
        for number, label in enumerate(found.classes):
            here = (codes == code) & (found.labels == number)
            known = {patient for patient in found.patients[here].tolist() if patient >= 0}
            rows.append(Count(name, label, int(here.sum()), len(known) or None))
    return rows
