"""What the tasks that answer the same inputs together have to agree on, written by the first of them.

The images are taken in blocks of whole steps, so that each task has the batches of a single command.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bccli.core.data.dataset import first_difference
from bccli.core.prediction.image_names import ImageNames
from bccli.core.prediction.question import Question

_BLOCKS_EACH = 8
_MOST_STEPS = 64


@dataclass(frozen=True)
class SharedPlan:
    """The question, the images per step, the images themselves as `ImageNames.facts`, and the steps of a
    block."""

    question: Question
    step: int
    images: Mapping[str, Any]
    steps: int

    @classmethod
    def of(cls, question: Question, step: int, names: ImageNames, tasks: int) -> "SharedPlan":
        """A plan for so many tasks: eight blocks for each, so that fast ones help the others, of no more than
        64 steps."""
        steps = -(-len(names) // step) // (tasks * _BLOCKS_EACH)
        return cls(question, step, names.facts(), min(max(steps, 1), _MOST_STEPS))

    def to_json(self) -> dict[str, Any]:
        """As the file has it."""
        settings = {"batch_size": self.step, "images": dict(self.images), "steps": self.steps}
        return {**self.question.to_json(), **settings}

    def differs_from(self, other: Mapping[str, Any]) -> str:
        """In what it differs from one of a file, in words; empty where tasks may work by either."""
        return (
            self.question.differs_from(other)
            or first_difference({"batch_size": other.get("batch_size")}, {"batch_size": self.step})
            or _difference_of_images(other.get("images", {}), self.images)
        )


def _difference_of_images(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    if there.get("count") != here["count"]:
        return f"{there.get('count', 0):,} images, now {here['count']:,}"
    return "other images, or the same in another order" if there != here else ""
