"""OpenCV, whose import fails on machines without a display where the wrong one of its packages is there."""

from typing import Any

from bccli.core.errors import BccliError


def load_cv2() -> Any:
    """The module `cv2`. Raises BccliError that says which package to install."""
    try:
        import cv2
    except ImportError as error:
        raise BccliError(
            f"OpenCV cannot be loaded ({error}); run pip uninstall opencv-python, "
            "then pip install --force-reinstall opencv-python-headless"
        ) from None
    return cv2
