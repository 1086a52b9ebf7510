"""What `train`, `finetune` and `hierarchy` print, and the exit codes that they end with."""

from typing import Any

from bccli.terminal import console


def show_run(made: Any) -> int:
    """Print the figures of a run, nothing while other tasks are at work on it; returns the exit code."""
    from bccli.core.evaluation.leaderboard import figures_json
    from bccli.core.sweeps.sharing import AtWork
    from bccli.core.training.run_contents import stored_figures

    if not isinstance(made, AtWork):
        console.show_figures(figures_json(stored_figures(made))["runs"])
    return 0


def show_sweep(sweep: Any, *, skip_bad: bool, left_out: bool = False) -> int:
    """Print the leaderboard of a sweep, nothing while other tasks are at work on it; returns the exit code:
    4 where a member failed or was left out."""
    from bccli.core.evaluation.leaderboard import figures_json
    from bccli.core.sweeps.sharing import AtWork

    if not isinstance(sweep, AtWork):
        console.show_sweep(sweep.rows, figures_json(sweep.figures)["runs"])
    return 4 if (sweep.failed or left_out) and not skip_bad else 0
