"""TensorFlow starts without what it does not need, and leaves everything usable."""

import subprocess
import sys

PROGRAM = """
import sys
from bccli.core.models import backend

tf = backend.start("cpu")
assert "keras" in sys.modules
assert "sklearn" not in sys.modules
from sklearn.linear_model import LogisticRegression

assert LogisticRegression().fit([[0], [1]], [0, 1]).predict([[2]]) == [1]
assert backend.start("cpu") is tf
assert "sklearn" in sys.modules
"""


def test_keras_does_not_bring_scikit_learn_which_can_be_imported_later() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)
