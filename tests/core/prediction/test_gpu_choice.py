"""`predict --device auto` leaves LiteRT for a GPU where there is one and the work is worth its start."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.models import backend, runtimes
from bccli.core.models.runtimes import TfliteRuntime, gpu_engine
from bccli.core.prediction.image_paths import Upcoming


class Told:
    """What a watcher is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, sentence: str) -> None:
        """Remember it."""
        self.warnings.append(sentence)


def asked(images: int) -> tuple[list[int], Callable[[int], bool]]:
    """`at_least` of so many images, and what it has been asked."""
    counts: list[int] = []

    def at_least(count: int) -> bool:
        counts.append(count)
        return images >= count

    return counts, at_least


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that TensorFlow can use, as far as its finders say."""
    monkeypatch.setattr(runtimes, "gpu_is_visible", lambda: True)
    monkeypatch.setattr(backend, "device_class", lambda: "gpu")
    monkeypatch.setattr(backend, "describe_device", lambda tf: "1 × Imagined")


@pytest.fixture
def unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is here and that TensorFlow does not take."""
    monkeypatch.setattr(runtimes, "gpu_is_visible", lambda: True)
    monkeypatch.setattr(backend, "describe_device", lambda tf: "CPU (a GPU is here: Cannot dlopen libcudnn)")


RESNET50 = 4.1e9
"""Multiply-adds of ResNet-50 at 224×224 (He et al. 2016, table 1: 3.8e9; with shortcuts 4.1e9)."""


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("cores", "few", "many"), [(1, 290, 300), (16, 4_600, 4_700)])
def test_thirty_seconds_of_work_are_worth_a_gpu(
    monkeypatch: pytest.MonkeyPatch, cores: int, few: int, many: int
) -> None:
    monkeypatch.setattr(runtimes, "available_cores", lambda: cores)
    runtime = TfliteRuntime(costs=[RESNET50])
    assert gpu_engine(runtime, asked(few)[1], Told()) is None
    found = gpu_engine(runtime, asked(many)[1], Told())
    assert found
    assert found.device == "TensorFlow on 1 × Imagined"


@pytest.mark.usefixtures("gpu")
def test_members_of_an_ensemble_cost_their_sum() -> None:
    counts, at_least = asked(0)
    gpu_engine(TfliteRuntime(costs=[RESNET50]), at_least, Told())
    gpu_engine(TfliteRuntime(costs=[RESNET50, RESNET50]), at_least, Told())
    assert counts[0] == pytest.approx(2 * counts[1], abs=2)


@pytest.mark.usefixtures("gpu")
def test_runs_that_do_not_say_their_cost_stay_with_litert() -> None:
    assert gpu_engine(TfliteRuntime(costs=[0.0]), asked(10**9)[1], Told()) is None


def test_without_a_gpu_nobody_counts_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "gpu_is_visible", lambda: False)
    counts, at_least = asked(10**9)
    assert gpu_engine(TfliteRuntime(costs=[RESNET50]), at_least, Told()) is None
    assert counts == []


@pytest.mark.usefixtures("unusable")
def test_litert_computes_where_tensorflow_cannot_use_the_gpu() -> None:
    told = Told()
    assert gpu_engine(TfliteRuntime(costs=[RESNET50]), asked(10**9)[1], told) is None
    assert told.warnings == ["CPU (a GPU is here: Cannot dlopen libcudnn); LiteRT computes instead"]


@given(
    total=st.integers(0, 30),
    steps=st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=20),
)
def test_looking_ahead_takes_no_image(total: int, steps: list[tuple[int, bool]]) -> None:
    """However images are counted and taken, all come in their order, and counts are true."""
    read = 0

    def source() -> Iterator[str]:
        nonlocal read
        for number in range(total):
            read += 1
            yield str(number)

    images, taken = Upcoming(source()), []
    for count, take in steps:
        assert images.at_least(count) == (total >= count)
        assert read <= max(count, len(taken), *(asked for asked, _ in steps))
        if take and (image := next(images, None)) is not None:
            taken.append(image)
    assert [*taken, *images] == [str(number) for number in range(total)]
