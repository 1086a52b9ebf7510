"""Augmented copies: a policy, a seed and a number make a copy of an image, and nothing else matters."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccli.core.augmentation import library
from bccli.core.augmentation.operations import GROUPS, OWN, Picture
from bccli.core.augmentation.policies import Operation, Policy
from bccli.core.errors import BccliError
from bccli.core.imaging.opencv import load_cv2


@dataclass(frozen=True)
class Draw:
    """An operation that was drawn for an augmented copy, and the values of its parameters."""

    operation: Operation
    values: Mapping[str, Any]


def augmented_copy(policy: Policy, pixels: np.ndarray, *, seed: int, image: str, number: int) -> np.ndarray:
    """The augmented copy `number` of an image, uint8 RGB (height, width, 3), as an array of the same kind.

    The operations depend on the seed, the number and the name `image` of the raw image alone: all patches of
    an image undergo the same, in all processes and threads.
    """
    return augmented_copy_with_mask(policy, pixels, None, seed=seed, image=image, number=number)[0]


def augmented_copy_with_mask(
    policy: Policy, pixels: np.ndarray, mask: np.ndarray | None, *, seed: int, image: str, number: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Like `augmented_copy`, with the mask (height, width) of 0 and 255, which moves as the image does."""
    picture = Picture(_in_one_channel(pixels), mask)
    for one in draw(policy, seed=seed, image=image, number=number):
        _apply(one, picture)
    result = picture.rgb()
    if result.shape != pixels.shape:
        raise BccliError(
            f"policy {policy.name}: made {result.shape[1]}×{result.shape[0]} of an image of "
            f"{pixels.shape[1]}×{pixels.shape[0]}; leave out the operation that changes sizes"
        )
    return (result if result is not pixels else pixels.copy()), picture.mask


def draw(policy: Policy, *, seed: int, image: str, number: int) -> tuple[Draw, ...]:
    """The operations that make an augmented copy, in order, with their values."""
    text = f"{seed}\x1f{number}\x1f{image}".encode("utf-8", "surrogateescape")
    entropy = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")
    return tuple(_draw(policy.operations, np.random.Generator(np.random.PCG64(entropy))))


def _draw(operations: tuple[Operation, ...], rng: np.random.Generator) -> Iterator[Draw]:
    for operation in operations:
        if rng.random() >= operation.probability:
            continue
        if operation.augmenter in GROUPS:
            yield from _draw(_chosen(operation, rng), rng)
        elif operation.own:
            yield Draw(operation, _values(operation, rng))
        else:
            yield Draw(operation, {"seed": int(rng.integers(2**31))})


def _chosen(group: Operation, rng: np.random.Generator) -> tuple[Operation, ...]:
    """Draw among the children of a group, the operations that it holds; they stay in order."""
    count = len(group.children)
    if group.augmenter == "Sequential":
        return group.children
    number = 1 if group.augmenter == "OneOf" else min(_value(group.parameters["n"], True, rng), count)
    return tuple(group.children[index] for index in sorted(rng.permutation(count)[:number].tolist()))


def _values(operation: Operation, rng: np.random.Generator) -> dict[str, Any]:
    parameters = OWN[operation.augmenter].parameters
    given = operation.parameters
    return {name: _value(given.get(name, row.default), row.whole, rng) for name, row in parameters.items()}


def _value(wanted: Any, whole: bool, rng: np.random.Generator) -> Any:
    """One value: evenly from a range [a, b], one of a choice, or the only one there is."""
    if isinstance(wanted, list):
        low, high = wanted
        return int(rng.integers(low, high + 1)) if whole else low + (high - low) * rng.random()
    if isinstance(wanted, dict):
        choice = wanted["choice"]
        return choice[int(rng.integers(len(choice)))]
    return wanted


def _apply(one: Draw, picture: Picture) -> None:
    operation = one.operation
    if operation.own:
        OWN[operation.augmenter].act(picture, one.values)
        return
    pixels, seed = picture.rgb(), one.values["seed"]
    try:
        picture.pixels, picture.mask = library.apply(
            operation.augmenter, operation.parameters, seed, pixels, picture.mask
        )
    except Exception as error:  # whatever imgaug has not thought of
        size = f"{pixels.shape[1]}×{pixels.shape[0]}"
        raise BccliError(
            f"imgaug's {operation.augmenter} fails on an image of {size} ({library.reason_of(error)}); "
            "change its parameters or leave it out"
        ) from error


def _in_one_channel(pixels: np.ndarray) -> np.ndarray:
    """The only channel of a grey image, which is three times as fast; other images as they are."""
    middle = pixels[len(pixels) // 2]
    if not (middle[:, 0] == middle[:, 1]).all():
        return pixels
    first, second, third = load_cv2().split(pixels)
    return first if np.array_equal(first, second) and np.array_equal(first, third) else pixels
