"""Large images wait for each other."""

import threading

import pytest

from bccli.core.imaging.formats import turns
from bccli.core.imaging.formats.turns import one_large_at_a_time, take_turn


def test_a_large_image_waits_until_the_one_before_is_done() -> None:
    order: list[str] = []
    first_has_its_turn = threading.Event()

    def first() -> None:
        with one_large_at_a_time():
            take_turn(turns.LARGE + 1)
            first_has_its_turn.set()
            second.join(0.05)
            order.append("first is done")

    def wait_and_take() -> None:
        first_has_its_turn.wait()
        with one_large_at_a_time():
            take_turn(turns.LARGE + 1)
            order.append("second begins")

    second = threading.Thread(target=wait_and_take)
    second.start()
    first()
    second.join()
    assert order == ["first is done", "second begins"]


def test_small_images_never_wait_and_nobody_does_who_did_not_ask() -> None:
    def small() -> None:
        with one_large_at_a_time():
            take_turn(turns.LARGE)
        take_turn(turns.LARGE + 1)

    with one_large_at_a_time():
        take_turn(turns.LARGE + 1)
        take_turn(turns.LARGE + 1)  # a mask, say, of the same image
        thread = threading.Thread(target=small)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()


def test_a_turn_ends_with_an_error_too() -> None:
    def fail() -> None:
        with one_large_at_a_time():
            take_turn(turns.LARGE + 1)
            raise ValueError("damaged")

    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            fail()
