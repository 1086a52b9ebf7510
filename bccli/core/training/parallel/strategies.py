"""The names of the ways to train on several devices."""

NONE, MIRRORED = "none", "mirrored"
STRATEGIES = NONE, MIRRORED
