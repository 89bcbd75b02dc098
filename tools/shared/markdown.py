"""Rows of Markdown tables."""

from collections.abc import Iterable


def row(cells: Iterable[str]) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
