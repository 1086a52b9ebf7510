"""What deciding is worth, as a picture: risk against coverage, and net benefit against thresholds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bccli.core.evaluation.curve_plots import SIDE, shown_title
from bccli.core.evaluation.evaluate import Evaluation
from bccli.core.metrics.plots import COLOURS, DASHES, GREY, add_axes, below, new_figure, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP = 1.1  # inches between two axes
_HEIGHT = 3.4


def draw_triage(evaluation: Evaluation) -> "Figure | None":
    """Both curves side by side, and the thresholds that were locked; None without a triage."""
    facts = evaluation.whole.triage
    if not facts:
        return None
    figure = new_figure()
    _draw_risk(figure, facts["risk_coverage"], shown_title(evaluation))
    _draw_benefit(figure, facts)
    return figure


def _draw_risk(figure: "Figure", curve: Mapping[str, Any], title: str) -> None:
    axes = add_axes(figure, 0, SIDE, _HEIGHT)
    axes.plot(curve["coverage"], curve["risk"], color=COLOURS[0])
    axes.set(xlim=(0, 1.01), xlabel="share of images that are answered, the surest first")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("share of wrong answers among them")
    axes.grid(alpha=0.3)
    set_title(axes, f"{title}: area {curve['area']:.3f}", SIDE)


def _draw_benefit(figure: "Figure", facts: Mapping[str, Any]) -> None:
    axes, curve = add_axes(figure, SIDE + _GAP, SIDE, _HEIGHT), facts["decision_curve"]
    thresholds = curve["thresholds"]
    lines = {
        "this run": axes.plot(thresholds, curve["model"], color=COLOURS[0])[0],
        "everybody": axes.plot(thresholds, curve["all"], color=COLOURS[1], linestyle=DASHES[1])[0],
        "nobody": axes.axhline(0, color=GREY, linewidth=0.8),
    }
    for index, rule in enumerate(facts["rules"]):
        name = f"{rule['rule']}={rule['target']:g}: {rule['threshold']:.3f}"
        lines[name] = axes.axvline(
            rule["threshold"], color=GREY, linestyle=DASHES[(index + 2) % len(DASHES)], linewidth=1
        )
    top = max(*curve["model"], *curve["all"], 0.01)
    axes.set(xlim=(0, 1), ylim=(-0.25 * top, 1.1 * top), xlabel=f"threshold of {facts['positive']}")
    axes.set_ylabel("net benefit, true positives a patient")
    axes.grid(alpha=0.3)
    axes.legend(
        list(lines.values()), list(lines), title="who is treated", ncols=2, **below(0.5, 0.5 / _HEIGHT)
    )
    set_title(axes, "decision curve over patients", SIDE)
