"""Train and val accuracy where some images are augmented copies, counted here image by image."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data.manifest import Sample
from bccli.core.metrics.overfitting import ALL, ORIGINALS, accuracies

TRAIN, VAL, TEST, UNUSED = 0, 1, 2, -1
# (part, is a copy, is classified correctly)
images = st.lists(
    st.tuples(st.sampled_from([TRAIN, VAL, TEST, UNUSED]), st.booleans(), st.booleans()), min_size=1
)
protocols = st.sampled_from(["honest", "honest, augmented test", "paper", "paper, augmented val"])


def measured(found: list[tuple[int, bool, bool]], protocol: str) -> dict:
    parts = np.array([part for part, _, _ in found])
    samples = [
        Sample(path=str(place), parent="0" if copy else "") for place, (_, copy, _) in enumerate(found)
    ]
    return accuracies(np.array([hit for _, _, hit in found]), samples, parts, protocol)


def share(hits: list[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


@given(images, protocols)
def test_copies_count_only_where_the_papers_protocol_measures_on_some(found, protocol) -> None:
    among = [part for part, copy, _ in found if copy and part != UNUSED]
    everything = protocol.startswith("paper") and any(part in (VAL, TEST) for part in among)
    result = measured(found, protocol)
    for part, name in ((TRAIN, "train_accuracy"), (VAL, "val_accuracy")):
        hits = [hit for its, copy, hit in found if its == part and (everything or not copy)]
        assert result[name] == share(hits)
    assert result["beta_rows"] == ((ALL if everything else ORIGINALS) if among else None)


@given(images, st.lists(st.booleans(), max_size=50))
def test_more_copies_in_train_change_nothing_under_honest(found, hits) -> None:
    plain = [(part, False, hit) for part, _, hit in found]
    more = [*plain, *((TRAIN, True, hit) for hit in hits)]
    here, there = measured(plain, "honest"), measured(more, "honest")
    assert here["beta_rows"] is None
    assert (here["train_accuracy"], here["val_accuracy"]) == (there["train_accuracy"], there["val_accuracy"])


def test_23_originals_and_57_copies() -> None:
    rights = [k < 19 for k in range(23)] + [k < 38 for k in range(57)]
    found = [(TRAIN, place >= 23, right) for place, right in enumerate(rights)]
    found += [(VAL, False, True)]
    assert measured(found, "honest")["train_accuracy"] == 19 / 23
    assert measured([*found, (TEST, True, True)], "paper")["train_accuracy"] == 57 / 80
