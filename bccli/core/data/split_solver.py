"""Which split (or fold) each group of images goes to, so that every split has its share of every class.

Group g has n[g, c] images of column c; the columns are the C classes, all images, and the subtypes. Split s
is to have the share r[s] of the images, and has the priority p[s]. For an assignment s(g) of all groups,

    sum[s, c] = Σ n[g, c] over the groups with s(g) = s,    target[s, c] = r[s] · Σ n[g, c] over all groups,

and with N images in all, what is minimised is

    Σ w[c] · (sum[s, c] − target[s, c])² / (N · target[s, c])  over s and c
    + Σ due[s, c] · [sum[s, c] = 0]                            over s and c
    + Σ own[g, s(g)]                                           over g.

The first sum is a chi-square statistic per image; w is 1, and 0.1 for subtypes. The second is the price of
what a split lacks: due is 10⁴ · p[s] for a class and 10⁵ · C for all images, both times C where the split
needs every class; 0.05 · p[s] for a subtype. The third keeps a group from being most of a split that is to be
spread: there own is 0.05 · max(n[g] / target[s] − 0.1, 0)² by all images, elsewhere 0.

Groups have few of many columns, so that only entries that are not 0 are summed. The search is greedy from
several random orders; then single groups move, and pairs swap, as long as the sum falls.
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
"""Cost of a subtype missing from a split of priority 1: as much as half a class that is."""
_CONCENTRATED = 0.05
_PLENTY = 0.1
"""Cost of the square of what a group has of a split to be spread, beyond so large a share."""
_STEPS = 4000
"""Groups assigned over all restarts, and thereby the time spent on restarts."""
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
    """What a good assignment of G groups to S splits is.

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
        """The goal for counts (G, classes) and, second to them, `kinds` (G, subtypes), in splits with these
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

    def cost(self, assignment: np.ndarray) -> float:
        """What is minimised, for an assignment (G,).

        Two groups of two images, one image of each class: one group for each split is as good as can be.

        >>> counts, half, no = np.array([[1, 1], [1, 1]]), np.full(2, 0.5), np.zeros(2, bool)
        >>> goal = Goal.of(counts, half, np.ones(2), needed=no, spread=no, kinds=np.zeros((2, 0)))
        >>> goal.cost(np.array([0, 1]))
        0.0
        >>> goal.cost(np.array([0, 0]))  # two classes and all images are missing from the second split
        220002.0
        """
        sums = self.sums(assignment)
        deviations = (self.weights * (sums - self.targets) ** 2 + self.due * (sums == 0)).sum()
        return float(deviations + self.own[np.arange(len(assignment)), assignment].sum())

    def sums(self, assignment: np.ndarray) -> np.ndarray:
        """Images per split and column, (S, F), of an assignment (G,)."""
        shape = self.targets.shape
        cells = assignment[self.rows] * shape[1] + self.columns
        return np.bincount(cells, self.values, shape[0] * shape[1]).reshape(shape)

    def per_group(self, entries: np.ndarray) -> np.ndarray:
        """Sums (G,) over each group's entries; one by one, so that shards of one job agree."""
        return np.bincount(self.rows, entries, len(self.all))


def solve(goal: Goal, rng: np.random.Generator) -> np.ndarray:
    """The best assignment (G,) of several random starts, each greedy and then improved."""
    best, lowest = np.zeros(0, dtype=np.int64), np.inf
    for restart in range(max(1, min(_RESTARTS, _STEPS // len(goal.all)))):
        jitter = 30 if restart else 1e-9  # largest first, and then nearly any order
        keys = goal.all * (1 + jitter * rng.random(len(goal.all)))
        assignment = _improved(goal, _greedy(goal, np.argsort(-keys, kind="stable")))
        cost = round(goal.cost(assignment), _ALIKE)
        if cost < lowest:
            best, lowest = assignment, cost
        if lowest == 0:
            break
    return best


def _greedy(goal: Goal, order: np.ndarray) -> np.ndarray:
    """Put group after group where it deviates least; classes missing somewhere are left to `_improved`."""
    assignment = np.zeros(len(goal.all), dtype=np.int64)
    starts = np.searchsorted(goal.rows, np.arange(len(assignment) + 1))
    slope, step = -2 * goal.weights * goal.targets, 2 * goal.weights
    for group in order.tolist():
        entries = slice(starts[group], starts[group + 1])
        columns, values = goal.columns[entries], goal.values[entries]
        rise = (goal.weights[:, columns] * values + slope[:, columns]) * values
        split = (rise.sum(axis=1) + goal.own[group]).argmin()
        slope[split, columns] += step[split, columns] * values
        assignment[group] = split
    return assignment


def _improved(goal: Goal, assignment: np.ndarray) -> np.ndarray:
    """Move groups as long as that lowers the cost, and where no move does, swap two."""
    assignment = assignment.copy()
    for _ in range(max(_MOVES, _MOVES_PER_COLUMN * goal.targets.shape[1])):
        sums = goal.sums(assignment)
        change = _move_costs(goal, assignment, sums)
        group, split = np.unravel_index(change.argmin(), change.shape)
        if change[group, split] < _GAIN:
            assignment[group] = split
            continue
        gain, swap = _best_swap(goal, assignment, sums, change)
        if gain >= _GAIN:
            break
        assignment[list(swap)] = assignment[list(swap[::-1])]
    return assignment


def _move_costs(goal: Goal, assignment: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The change in cost by moving each group to each split, (G, S)."""
    columns, values, squares = goal.columns, goal.values, goal.values**2
    slope, absent = 2 * goal.weights * (sums - goal.targets), goal.due * (sums == 0)
    arriving = [
        goal.per_group(squares * weight[columns] + values * rise[columns] - gone[columns])
        for weight, rise, gone in zip(goal.weights, slope, absent, strict=True)
    ]
    here = assignment[goal.rows], columns
    leaving = squares * goal.weights[here] - values * slope[here]
    leaving += _only_bearers(goal, here, sums) * goal.due[here]
    stay = np.arange(len(assignment)), assignment
    change = np.stack(arriving, axis=1) + goal.own + (goal.per_group(leaving) - goal.own[stay])[:, None]
    change[stay] = 0
    return change


def _only_bearers(goal: Goal, here: tuple[np.ndarray, np.ndarray], sums: np.ndarray) -> np.ndarray:
    """Where a group has all images of a column that its split has, (entries,)."""
    only: np.ndarray = goal.values == sums[here]
    return only


def _best_swap(
    goal: Goal, assignment: np.ndarray, sums: np.ndarray, moves: np.ndarray
) -> tuple[float, tuple[int, int]]:
    """The lowest change in cost by exchanging two groups of different splits, and the two groups.

    It is that of the two moves, less what they count twice: the squares' mixed terms, and a column
    missing from a split that the other group brings back.
    """
    if len(assignment) > _SWAPPABLE:
        return 0.0, (0, 0)
    change = moves[:, assignment]
    here = assignment[goal.rows], goal.columns
    mixed = 2 * goal.values * goal.weights[here]
    owed = _only_bearers(goal, here, sums) * goal.due[here]
    for entries in _by_column(goal):
        rows, values = goal.rows[entries], goal.values[entries]
        change[np.ix_(rows, rows)] -= np.multiply.outer(mixed[entries], values) + owed[entries][:, None]
    change = change + change.T
    change[assignment[:, None] == assignment[None, :]] = 0
    first, second = np.unravel_index(change.argmin(), change.shape)
    return float(change[first, second]), (int(first), int(second))


def _by_column(goal: Goal) -> Iterator[np.ndarray]:
    """The entries of each column."""
    order = np.argsort(goal.columns, kind="stable")
    ends = np.cumsum(np.bincount(goal.columns, minlength=goal.targets.shape[1]))
    yield from np.split(order, ends[:-1])
