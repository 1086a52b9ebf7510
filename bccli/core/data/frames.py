"""Tables of bccli as frames of pandas, for notebooks.

Text is text, and empty where it is unknown; numbers that may be unknown are of pandas' type Int64. A frame
is what `pandas.read_csv(…, dtype=str, keep_default_na=False)` reads, with its numbers as numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bccli.core.data.manifest import MANIFEST, NUMBERS, Sample, metadata_of

if TYPE_CHECKING:
    from pandas import DataFrame


def frame_of(columns: Mapping[str, Sequence[Any]], numbers: Iterable[str] = ()) -> "DataFrame":
    """A frame of columns of equal length, of which the `numbers` are whole or None."""
    from pandas import DataFrame

    return DataFrame(dict(columns)).astype(dict.fromkeys(numbers, "Int64"))


def frame_of_samples(samples: Sequence[Sample]) -> "DataFrame":
    """The rows of a manifest, with its columns."""
    columns = {name: [getattr(sample, name) for sample in samples] for name in MANIFEST}
    known = [dict(sample.metadata) for sample in samples]
    more = {name: [texts.get(name, "") for texts in known] for name in metadata_of(samples)}
    return frame_of({**columns, **more}, NUMBERS)
