"""The names of the ways to train on several devices."""

NONE, MIRRORED, MULTIWORKER = "none", "mirrored", "multiworker"
STRATEGIES = NONE, MIRRORED, MULTIWORKER
