"""Augmentation: new images from old ones by policies, the same ones for the same seed, image and number.

It knows nothing of datasets and networks: uint8 RGB arrays in, arrays of the same shape out.
"""

from bccli.core.augmentation.augmented_copies import Draw, augmented_copy, augmented_copy_with_mask, draw
from bccli.core.augmentation.policies import (
    Operation,
    Policy,
    built_in,
    find_policy,
    policy_from_json,
)

__all__ = [
    "Draw",
    "Operation",
    "Policy",
    "augmented_copy",
    "augmented_copy_with_mask",
    "built_in",
    "draw",
    "find_policy",
    "policy_from_json",
]
