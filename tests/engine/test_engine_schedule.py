"""What a sampled run evaluates in which order, what that costs, and how images are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from iaside_onnx.engine.schedule import Schedule, draw_order

from iaside_onnx.game import PairedDesign

# 8 bands: passes of 15, 12, 10, 8, 6, 4 and 2 evaluations an image.
COSTS = (15, 12, 10, 8, 6, 4, 2)


def schedule(images: int = 20) -> Schedule:
    return Schedule(PairedDesign(8, 0), images, once=1)


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
        piece.turn * 20 + place
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


def test_the_draw_is_every_image_once_and_classes_in_proportion() -> None:
    """A class that comes first or last: the beginning of the draw is not the population."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([3, 7, 8], [50, 30, 20]))
    order = draw_order(labels, 100, 1)
    assert sorted(order.tolist()) == list(range(100))
    for n in range(1, 101):
        counts = np.array([(labels[order[:n]] == c).sum() for c in (3, 7, 8)])
        assert (np.abs(counts - n * np.array([0.5, 0.3, 0.2])) <= 2).all()


def test_each_image_is_as_likely_as_any_other() -> None:
    """A mean over the first images would be biased."""
    labels = np.repeat([0, 1, 2], [12, 6, 5])
    seeds, first = 4000, 7
    counts = np.zeros(23)
    for seed in range(seeds):
        counts[draw_order(labels, 23, seed)[:first]] += 1
    share = first / 23
    error = np.sqrt(seeds * share * (1 - share))
    # The number drawn is fixed, so that classes of unequal size are off by a little.
    assert np.abs(counts - seeds * share).max() < 5 * error + 0.02 * seeds


def test_the_draw_depends_on_the_seed() -> None:
    """The same images whatever the seed, or other ones in each run."""
    assert draw_order(None, 50, 3).tolist() == draw_order(None, 50, 3).tolist()
    assert draw_order(None, 50, 3).tolist() != draw_order(None, 50, 4).tolist()
