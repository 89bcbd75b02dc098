"""The bars behind a table: signed, to scale, and within the terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from iaside_onnx.cli.console import print_table

AXES = "│|"


def printed(values: list[float], width: int, encoding: str = "utf-8") -> list[str]:
    """The bars of a table of one column, without the rest of it."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding)
    console = Console(file=file, width=width, markup=False, highlight=False)
    print_table(console, ["x"], [["0"]] * len(values), values, "phi")
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1] == ("-" if encoding == "ascii" else "─") * max(map(len, [lines[0], *lines[2:]]))
    return [line[3:] for line in lines[2:]]


def test_a_band_that_hurts_has_a_bar_on_the_other_side() -> None:
    """A phi of -9 beside 30 looks like a band that does nothing."""
    assert printed([30.0, -9.0, -1.5, 0.2], 17) == ["   │██████████", "███│", "  ▐│", "   │"]
    assert printed([30.0, -9.0, -1.5, 0.2], 17, "ascii") == [
        "   |##########", "---|", "  -|", "   |"]  # fmt: skip


def test_without_a_negative_there_is_no_axis() -> None:
    """A line that says nothing, in the place of two characters of the bars."""
    assert printed([4.0, 1.0, 0.0], 11) == ["████████", "██", ""]
    assert printed([-4.0, -1.0], 12) == ["████████│", "      ██│"]
    assert printed([0.0, 0.0], 40) == ["", ""]
    assert printed([4.0, 1.0], 5) == ["", ""]


@given(
    st.lists(st.floats(), min_size=1, max_size=9),
    st.integers(1, 60),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_bars_fit_and_are_on_the_side_of_their_sign(
    values: list[float], width: int, encoding: str
) -> None:
    """Numbers of an edited archive break the table, or a bar wraps the line."""
    if width < 3:
        width = 3
    for value, bar in zip(values, printed(values, width, encoding), strict=True):
        left, axis, right = bar.partition(AXES[0] if AXES[0] in bar else AXES[1])
        if not axis:
            left, right = "", left
        if not value < 0:
            assert left.strip() == ""
        if not value > 0:
            assert right.strip() == ""


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_the_unit_does_not_matter(scale: float) -> None:
    """Bars of very small or large contributions overflow."""
    assert printed([3.0 * scale, -1.0 * scale], 40) == printed([3.0, -1.0], 40)
