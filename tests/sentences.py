"""What every refusal of bccli has in common."""

from typing import Any


def refused(result: Any, *fragments: str) -> str:
    """Assert that a command ended with one sentence on stderr that has all fragments, and nothing on stdout.

    Takes click's Result and a CompletedProcess of text alike. Returns the sentence.
    """
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert lines[-1] == errors[0], result.stderr
    assert not any(line.startswith("Traceback") for line in lines), result.stderr
    assert not errors[0].startswith("Error: unexpected")
    for fragment in fragments:
        assert fragment in errors[0]
    return errors[0].removeprefix("Error: ")
