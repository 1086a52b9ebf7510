"""Which place (split or fold) each group goes to, so that every place has its share of every class.

For S places, G groups and F columns (classes, all images, subtypes), what is minimised is

    Σ weight·(sum − target)²  +  Σ due·[sum = 0]  +  Σ own[group, its place],

the first two over places and columns: a chi-square statistic per image, the price of lacking a column, and
what it costs that this group goes there. Groups have few of many columns, so that only entries are summed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MISSING = 1e4
"""Cost of a class missing where it should be: more than deviations cost, and still exact to 1e-9."""
_EMPTY = 10.0
_SECOND = 0.1
"""What deviations of subtypes cost, as a share of what those of classes do."""
_LACKING = 0.05
"""Cost of a subtype missing from a place of priority 1: as much as half a class that is."""
_CONCENTRATED = 0.05
_PLENTY = 0.1
"""Cost of the square of what a group has of a place, of those to be spread, beyond so large a share."""
_STEPS = 4000
"""Groups placed over all restarts, and thereby the time spent on restarts."""
_RESTARTS = 20
_MOVES = 200
_MOVES_PER_COLUMN = 4
_SWAPPABLE = 400
"""Up to so many groups, swaps of two are tried as well; beyond, moves alone come close enough."""
_ALIKE = 5
"""Decimals of the cost: of results that differ less, the first is kept, so that seeds differ."""
_GAIN = -1e-8


@dataclass(frozen=True)
class Goal:
    """What a good placement of G groups in S places is.

    `rows`, `columns` and `values` (entries,) are the images per group and column that are not 0, group by
    group; `all` (G,) the images of each group. `targets`, `weights` and `due` are (S, F), `own` is (G, S).
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    all: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    due: np.ndarray
    own: np.ndarray

    @classmethod
    def of(
        cls,
        counts: np.ndarray,
        shares: np.ndarray,
        priority: np.ndarray,
        *,
        needed: np.ndarray,
        spread: np.ndarray,
        kinds: np.ndarray,
    ) -> "Goal":
        """The goal for counts (G, classes) and, second to them, `kinds` (G, subtypes), in places with these
        shares (S,), which lack classes the less willingly the higher their priority (S,).

        The `needed` (S,) must have every class, whatever it costs the others; in those to be `spread` (S,)
        no group should be most of what there is.
        """
        classes, sizes = counts.shape[1], counts.sum(axis=1)
        table = np.column_stack([counts, sizes, kinds]).astype(np.float64)
        targets = np.outer(shares, table.sum(axis=0))
        weights = 1 / (targets * sizes.sum())
        due = np.repeat(priority[:, None] * MISSING, table.shape[1], axis=1)
        due[:, classes] = _EMPTY * classes * MISSING
        due[needed] *= classes
        weights[:, classes + 1 :] *= _SECOND
        due[:, classes + 1 :] = _LACKING * priority[:, None]
        beyond = np.maximum(sizes[:, None] / targets[:, classes] - _PLENTY, 0)
        own = _CONCENTRATED * spread * beyond**2
        rows, columns = np.nonzero(table)
        return cls(rows, columns, table[rows, columns], sizes.astype(np.float64), targets, weights, due, own)

    def cost(self, places: np.ndarray) -> float:
        """What is minimised, for a placement (G,)."""
        sums = self.sums(places)
        deviations = (self.weights * (sums - self.targets) ** 2 + self.due * (sums == 0)).sum()
        return float(deviations + self.own[np.arange(len(places)), places].sum())

    def sums(self, places: np.ndarray) -> np.ndarray:
        """Images per place and column, (S, F), of a placement (G,)."""
        shape = self.targets.shape
        cells = places[self.rows] * shape[1] + self.columns
        return np.bincount(cells, self.values, shape[0] * shape[1]).reshape(shape)

    def per_group(self, entries: np.ndarray) -> np.ndarray:
        """Sums (G,) over each group's entries; one by one, so that shards of one job agree."""
        return np.bincount(self.rows, entries, len(self.all))


def solve(goal: Goal, rng: np.random.Generator) -> np.ndarray:
    """The best placement (G,) of several random starts, each greedy and then improved."""
    best, lowest = np.zeros(0, dtype=np.int64), np.inf
    for restart in range(max(1, min(_RESTARTS, _STEPS // len(goal.all)))):
        jitter = 30 if restart else 1e-9  # largest first, and then nearly any order
        keys = goal.all * (1 + jitter * rng.random(len(goal.all)))
        places = _improved(goal, _greedy(goal, np.argsort(-keys, kind="stable")))
        cost = round(goal.cost(places), _ALIKE)
        if cost < lowest:
            best, lowest = places, cost
        if lowest == 0:
            break
    return best


def _greedy(goal: Goal, order: np.ndarray) -> np.ndarray:
    """Put group after group where it deviates least; classes missing somewhere are left to `_improved`."""
    places = np.zeros(len(goal.all), dtype=np.int64)
    starts = np.searchsorted(goal.rows, np.arange(len(places) + 1))
    slope, step = -2 * goal.weights * goal.targets, 2 * goal.weights
    for group in order.tolist():
        entries = slice(starts[group], starts[group + 1])
        columns, values = goal.columns[entries], goal.values[entries]
        rise = (goal.weights[:, columns] * values + slope[:, columns]) * values
        place = (rise.sum(axis=1) + goal.own[group]).argmin()
        slope[place, columns] += step[place, columns] * values
        places[group] = place
    return places


def _improved(goal: Goal, places: np.ndarray) -> np.ndarray:
    """Move groups as long as that lowers the cost, and where no move does, swap two."""
    places = places.copy()
    for _ in range(max(_MOVES, _MOVES_PER_COLUMN * goal.targets.shape[1])):
        sums = goal.sums(places)
        change = _move_costs(goal, places, sums)
        group, place = np.unravel_index(change.argmin(), change.shape)
        if change[group, place] < _GAIN:
            places[group] = place
            continue
        gain, swap = _best_swap(goal, places, sums, change)
        if gain >= _GAIN:
            break
        places[list(swap)] = places[list(swap[::-1])]
    return places


def _move_costs(goal: Goal, places: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The change in cost by moving each group to each place, (G, S)."""
    columns, values, squares = goal.columns, goal.values, goal.values**2
    slope, absent = 2 * goal.weights * (sums - goal.targets), goal.due * (sums == 0)
    arriving = [
        goal.per_group(squares * weight[columns] + values * rise[columns] - gone[columns])
        for weight, rise, gone in zip(goal.weights, slope, absent, strict=True)
    ]
    here = places[goal.rows], columns
    leaving = squares * goal.weights[here] - values * slope[here]
    leaving += _only_bearers(goal, here, sums) * goal.due[here]
    stay = np.arange(len(places)), places
    change = np.stack(arriving, axis=1) + goal.own + (goal.per_group(leaving) - goal.own[stay])[:, None]
    change[stay] = 0
    return change


def _only_bearers(goal: Goal, here: tuple[np.ndarray, np.ndarray], sums: np.ndarray) -> np.ndarray:
    """Where a group has all images of a column that its place has, (entries,)."""
    only: np.ndarray = goal.values == sums[here]
    return only


def _best_swap(
    goal: Goal, places: np.ndarray, sums: np.ndarray, moves: np.ndarray
) -> tuple[float, tuple[int, int]]:
    """The lowest change in cost by exchanging two groups of different places, and the two groups.

    It is that of the two moves, less what they count twice: the squares' mixed terms, and a column
    missing from a place that the other group brings back.
    """
    if len(places) > _SWAPPABLE:
        return 0.0, (0, 0)
    change = moves[:, places]
    here = places[goal.rows], goal.columns
    mixed = 2 * goal.values * goal.weights[here]
    owed = _only_bearers(goal, here, sums) * goal.due[here]
    for entries in _by_column(goal):
        rows, values = goal.rows[entries], goal.values[entries]
        change[np.ix_(rows, rows)] -= np.multiply.outer(mixed[entries], values) + owed[entries][:, None]
    change = change + change.T
    change[places[:, None] == places[None, :]] = 0
    first, second = np.unravel_index(change.argmin(), change.shape)
    return float(change[first, second]), (int(first), int(second))


def _by_column(goal: Goal) -> Iterator[np.ndarray]:
    """The entries of each column."""
    order = np.argsort(goal.columns, kind="stable")
    ends = np.cumsum(np.bincount(goal.columns, minlength=goal.targets.shape[1]))
    yield from np.split(order, ends[:-1])
