"""Mutants that change nothing a test could see, and why."""

EXPLAINED: dict[tuple[str, str, str], str] = {}
"""By module, the line's text, and the change as it is printed."""
