"""Processes that each do a share of what a rival is asked for, since it has none of its own."""

import multiprocessing
from collections.abc import Callable, Iterable
from typing import Any


def run_side_by_side(work: Callable[..., None], shares: Iterable[tuple[Any, ...]]) -> None:
    """Call `work` with each share in a process of its own. Raises SystemExit if one fails."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=share) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(1)
