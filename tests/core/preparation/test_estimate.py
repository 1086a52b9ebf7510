"""Estimates from producers whose images, sizes and pace are known; words that never say nothing."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bccli.core.data.manifest import Sample
from bccli.core.errors import ImageError
from bccli.core.preparation import estimate as estimating
from bccli.core.preparation.estimate import (
    HANDFUL,
    WORKER_START,
    Estimate,
    estimate,
    free_space,
    space_words,
    spread,
    time_words,
)

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
SPACES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)  # 12 kB as PNG, 16 kB on the disk


class Bench:
    """A producer that takes `pace` seconds per image by its own clock."""

    def __init__(self, pace=0.1, pieces=lambda number: 1, bad=()):
        self.now, self.pace, self.pieces, self.bad, self.tried = 0.0, pace, pieces, bad, []

    def clock(self):
        return self.now

    def __call__(self, sample):
        number = int(sample.source)
        self.tried.append(number)
        self.now += self.pace
        if number in self.bad:
            raise ImageError("is empty")
        yield from [NOISE] * self.pieces(number)


def samples(total):
    return (Sample(source=str(number)) for number in range(total))


def estimated(bench, total, out=Path(), **options):
    return estimate(samples(total), bench, total=total, out=out, clock=bench.clock, **options)


def test_an_estimate_is_the_handful_times_the_rest():
    found = estimated(Bench(), 1200)
    assert (found.images, found.exact, found.space) == (1200, True, 1200 * 4 * 4096)
    assert found.seconds == pytest.approx(120)
    assert (found.tried, found.unreadable, found.workers) == (HANDFUL, 0, 1)


def test_patches_are_counted_and_about_where_their_number_varies():
    found = estimated(Bench(pieces=lambda number: 12), 1000)
    assert (found.images, found.exact) == (12_000, True)
    varied = estimated(Bench(pieces=lambda number: number % 3), 3000)
    assert not varied.exact
    assert 2000 < varied.images < 4000


def test_masks_take_space_but_are_no_images():
    found = estimate(samples(50), lambda _: [NOISE, NOISE[:, :, 0]], total=50, out=Path())
    assert (found.images, found.exact) == (50, True)
    assert found.space == 50 * (4 + 2) * 4096


def test_images_that_become_nothing_take_no_space():
    found = estimated(Bench(pieces=lambda number: 0), 100)
    assert (found.images, found.space) == (0, 0)
    assert found.sentence().startswith("about 0 images, 0 B (")


def test_workers_share_the_time_but_have_to_start():
    assert estimated(Bench(), 1200, workers=4).seconds == pytest.approx(30 + WORKER_START)


def test_workers_beyond_the_chunks_have_nothing_to_do():
    assert estimated(Bench(), 250, workers=8, chunk=128).seconds == pytest.approx(12.8 + WORKER_START)
    assert estimated(Bench(), 100, workers=8, chunk=128).seconds == pytest.approx(10 + WORKER_START)


def test_the_first_image_is_tried_again_unless_it_is_slow():
    quick, slow = Bench(0.1), Bench(1.0)
    estimated(quick, 100)
    assert quick.tried.count(quick.tried[0]) == 2
    found = estimated(slow, 100)
    assert found.tried == len(slow.tried) == len(set(slow.tried)) == 4
    assert found.seconds == pytest.approx(100)


def test_one_image_is_tried_however_slow_it_is():
    found = estimated(Bench(60), 100)
    assert found.tried == 1
    assert found.seconds == pytest.approx(6000)


def test_what_cannot_be_read_is_counted_and_passed_over():
    first = int(spread(samples(120), 120)[1].source)
    found = estimated(Bench(bad={first}), 120)
    assert (found.tried, found.unreadable, found.images, found.exact) == (12, 1, 120, False)
    assert found.sentence().endswith("; 1 of 12 images tried cannot be read (is empty)")


def test_nothing_is_promised_where_nothing_can_be_read():
    found = estimated(Bench(bad=range(120)), 120)
    assert found.unreadable == found.tried == 12
    assert found.sentence() == "space and time are unknown: none of 12 images tried can be read (is empty)"


def test_other_errors_are_not_swallowed():
    def produce(sample):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        estimate(samples(5), produce, total=5, out=Path())


@given(st.integers(1, 3000), st.integers(1, 20))
def test_the_handful_is_spread_and_so_is_what_fits_into_the_time(total, number):
    picks = [int(sample.source) for sample in spread(samples(total), total, number)]
    assert len(set(picks)) == len(picks) == min(total, number)
    for beginning in (picks, picks[: max(len(picks) // 4, 1)]):
        gap = max(np.diff([-1, *sorted(beginning), total]))
        assert gap <= 2 * total / len(beginning) + 1


def test_the_reader_is_left_after_the_last_pick():
    read = samples(10**6)
    spread(read, 1200)
    assert int(next(read).source) == 1151


def test_free_space_is_that_of_the_nearest_folder_that_exists(tmp_path, monkeypatch):
    asked = []
    usage = estimating.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(estimating.shutil, "disk_usage", lambda path: asked.append(path) or usage)
    assert free_space(tmp_path / "not" / "yet" / "there") == usage.free
    monkeypatch.chdir(tmp_path)
    free_space(Path("out"))
    assert asked == [tmp_path, tmp_path]


def example(**changes):
    values = {
        "out": Path("out"),
        "images": 12_540,
        "exact": True,
        "space": 1_912_345_678,
        "free": 55_123_456_789,
        "seconds": 850.0,
        "workers": 2,
        "tried": 12,
    }
    return Estimate(**(values | changes))


def test_an_estimate_is_one_sentence():
    wanted = "about 12,540 images, 1.9 GB (55 GB free), 14 minutes on 2 workers"
    assert example().sentence() == wanted
    assert example(exact=False).sentence() == wanted.replace("12,540", "13,000")
    assert example(images=1, seconds=0.0, workers=1).sentence() == (
        "about 1 image, 1.9 GB (55 GB free), 1 second on 1 worker"
    )


def test_a_disk_that_is_too_small_is_warned_of():
    assert example().fits
    assert example().warning() == ""
    small = example(free=1_100_000_000)
    assert not small.fits
    assert small.warning() == (
        "out: the images take about 1.9 GB, but the disk has only 1.1 GB free; "
        "make room or choose another folder"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 second"),
        (1.2, "1 second"),
        (59.7, "60 seconds"),
        (119, "2 minutes"),
        (150, "2.5 minutes"),
        (7000, "1.9 hours"),
        (7190, "2 hours"),
        (100_000, "28 hours"),
        (200_000, "2.3 days"),
        (10**8, "1,200 days"),
    ],
)
def test_times_are_said_in_two_digits(seconds, words):
    assert time_words(seconds) == words


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (0, "0 B"),
        (999, "1 kB"),
        (4096, "4.1 kB"),
        (994_999, "990 kB"),
        (10**6, "1 MB"),
        (10**19, "10,000 PB"),
    ],
)
def test_space_is_said_in_two_digits(space, words):
    assert space_words(space) == words


def seconds_of(words):
    number, unit = re.fullmatch(r"([\d.,]+) (\w+?)s?", words).groups()
    return float(number.replace(",", "")) * UNITS[unit]


def bytes_of(words):
    number, unit = words.split()
    return float(number.replace(",", "")) * SPACES[unit]


@given(st.floats(0, 10**9), st.floats(0, 10**9))
def test_times_are_never_nothing_near_the_truth_and_in_order(one, other):
    short, long = sorted((one, other))
    assert 1 <= seconds_of(time_words(short)) <= seconds_of(time_words(long))
    assert seconds_of(time_words(long)) == pytest.approx(long, rel=0.051, abs=1)


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_spaces_are_near_the_truth_and_in_order(one, other):
    small, large = sorted((one, other))
    assert bytes_of(space_words(small)) <= bytes_of(space_words(large))
    assert bytes_of(space_words(large)) == pytest.approx(large, rel=0.051)
