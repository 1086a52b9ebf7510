"""What this machine gives to this process."""

import os


def available_cores() -> int:
    """The cores that this process may use (fewer than the machine's inside a Slurm job)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
