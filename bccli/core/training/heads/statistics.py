"""The mean and deviation of train's features, which a head takes out of all of them."""

import numpy as np

from bccli.core.vectors.contents import Rows

# So many rows are read at a time.
_CHUNK = 512

# The deviation of a feature counts as no smaller than this share of the mean one: a filter that is nearly
# always silent in train must not shout in test.
_QUIETEST = 0.01

# And as no smaller than this share of its own mean: what varies less is as much rounding as signal, and
# LiteRT rounds otherwise than Keras.
_STEADIEST = 1e-3


def statistics(values: Rows, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (width,) of the rows of features (examples, width), read a chunk at a time.

    No deviation is 0, or much smaller than others: see `_QUIETEST` and `_STEADIEST`.
    """
    width = values.shape[1]
    sums, squares = np.zeros(width), np.zeros(width)
    chunks = np.array_split(rows, -(-len(rows) // _CHUNK))
    for chunk in chunks:
        sums += values[chunk].sum(axis=0, dtype=np.float64)
    mean = sums / len(rows)
    for chunk in chunks:
        squares += ((values[chunk] - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / len(rows))
    deviation = np.maximum(deviation, np.maximum(_QUIETEST * deviation.mean(), _STEADIEST * np.abs(mean)))
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)
