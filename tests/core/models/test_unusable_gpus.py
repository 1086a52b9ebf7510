"""A GPU that is here and that TensorFlow cannot use is said with TensorFlow's reason."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from bccli.core.models import backend, unusable_gpus
from bccli.core.models.unusable_gpus import gpu_is_visible, reason_for_none, reason_in

# As TensorFlow 2.21 says it, and older ones.
CUDA_FAILS = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795684901.982935   25774 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU \
will not be used.
E0000 00:00:1795684933.329126   25774 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: \
Failed call to cuInit: UNKNOWN ERROR (303)
"""
NO_LIBRARIES = """\
2026-11-26 08:00:00.000001: W tensorflow/core/common_runtime/gpu/gpu_device.cc:2342] Cannot dlopen some GPU \
libraries. Please make sure the missing libraries mentioned above are installed properly.
"""


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of devices with a GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(unusable_gpus, "_DEVICES", tmp_path)
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            CUDA_FAILS,
            "failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
        ),
        (
            CUDA_FAILS.partition("E0000")[0],
            "Could not find cuda drivers on your machine, GPU will not be used",
        ),
        (NO_LIBRARIES, "Cannot dlopen some GPU libraries"),
        ("", ""),
        ("Traceback: cuda\n", ""),
    ],
)
def test_the_reason_is_the_sentence_that_tells_most(said: str, reason: str) -> None:
    assert reason_in(said.splitlines()) == reason


@pytest.mark.parametrize(("chosen", "visible"), [(None, True), ("0", True), ("", False), ("-1", False)])
def test_a_gpu_is_visible_unless_it_is_hidden(
    devices: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, visible: bool
) -> None:
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert gpu_is_visible(devices) == visible
    (devices / "nvidia0").unlink()
    assert not gpu_is_visible(devices)


def test_a_gpu_of_another_job_is_not_visible(devices: Path) -> None:
    (devices / "nvidia0").unlink()
    (devices / "nvidia0").mkdir()  # cannot be opened for writing by anybody
    assert not gpu_is_visible(devices)


@pytest.mark.parametrize(("here", "said"), [(True, CUDA_FAILS), (True, ""), (False, CUDA_FAILS)])
def test_the_start_line_says_it(
    devices: Path, monkeypatch: pytest.MonkeyPatch, here: bool, said: str
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stderr=said))
    monkeypatch.setattr(unusable_gpus, "gpu_is_visible", lambda: here)
    reason_for_none.cache_clear()
    nothing = SimpleNamespace(config=SimpleNamespace(list_physical_devices=lambda kind: []))
    words = backend.describe_device(nothing)
    reason_for_none.cache_clear()
    assert words.startswith("CPU (")
    assert ("a GPU is here, but TensorFlow cannot use it: " in words) == here
    assert ("UNKNOWN ERROR (303)" in words) == (here and bool(said))
