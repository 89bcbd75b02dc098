"""What a sampled run evaluates in which order, what that costs, and in which shards."""

from __future__ import annotations

import pytest

from iaside_onnx.game import PairedDesign
from iaside_onnx.runs.schedule import Schedule

# 8 bands: passes of 15, 12, 10, 8, 6, 4 and 2 evaluations an image.
COSTS = (15, 12, 10, 8, 6, 4, 2)


def schedule(images: int = 20) -> Schedule:
    return Schedule(PairedDesign(8, 0), images, end_evaluations=1)


def test_what_steps_cost() -> None:
    """A budget that is overspent, or not spent."""
    plan = schedule()
    assert plan.steps == 7 * 20
    for steps in (0, 1, 19, 20, 21, 57, 140):
        wanted = sum(COSTS[step // 20] for step in range(steps))
        assert plan.cost(steps) == wanted
    # The whole image, all shifts' arcs.
    assert plan.cost(plan.steps) == 20 * (1 + 8 * 7)


@pytest.mark.parametrize(
    "budget", [0, 119, 120, 239, 240, 299, 300, 301, 396, 540, 1139, 1140, 9999]
)
def test_a_budget_buys_whole_blocks(budget: int) -> None:
    """Half a block does not balance; one more than the budget allows is not what was asked."""
    plan = schedule()
    bought = plan.within(budget)
    assert plan.cost(bought) <= budget
    assert bought % 20 % 8 == 0
    ends = [turn * 20 + place for turn in range(7) for place in (0, 8, 16)] + [140]
    assert bought == max(end for end in ends if plan.cost(end) <= budget)


@pytest.mark.parametrize(("start", "stop"), [(0, 16), (0, 140), (16, 33), (39, 41), (5, 5)])
def test_pieces_are_all_steps_once(start: int, stop: int) -> None:
    """An image that is evaluated twice in a pass, or in none."""
    found = [
        piece.number * 20 + place
        for piece in schedule().pieces(start, stop)
        for place in range(piece.start, piece.stop)
    ]
    assert found == list(range(start, stop))


def test_a_large_pass_is_cut_into_shards() -> None:
    """One shard for everything: a kill would lose all of it."""
    plan = schedule(1000)
    sizes = [piece.stop - piece.start for piece in plan.pieces(0, 1000)]
    assert max(sizes) * 15 <= 4096
    assert sum(sizes) == 1000
