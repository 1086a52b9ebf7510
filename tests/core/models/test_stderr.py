"""What C++ says at its start is kept off the screen, but for what explains a failure."""

import os
import signal

import pytest

from bccli.core import interruption
from bccli.core.errors import Stopped
from bccli.core.models.stderr import quiet_stderr


def speaking(error: BaseException | None = None) -> None:
    """Write to stderr as C++ does, and fail."""
    with quiet_stderr():
        os.write(2, b"I tensorflow/core/platform\n")
        if error:
            raise error


def test_a_start_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    speaking()
    assert capfd.readouterr().err == ""


def test_a_failure_shows_what_was_said(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError):
        speaking(ImportError("no library"))
    assert capfd.readouterr().err == "I tensorflow/core/platform\n"


@pytest.mark.parametrize("garbled", [False, True])
def test_a_signal_shows_nothing(capfd: pytest.CaptureFixture[str], garbled: bool) -> None:
    """Also where what it hit has made another exception of it."""
    interruption.forget()
    with pytest.raises(Stopped) as stopped:
        interruption.request(signal.SIGTERM)
    with pytest.raises(BaseException, match=r"by SIGTERM|error return"):
        speaking(SystemError("error return without exception set") if garbled else stopped.value)
    interruption.forget()
    assert capfd.readouterr().err == ""
