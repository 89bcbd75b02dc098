"""The order in which images are drawn: every image once, classes in proportion, by the seed."""

from __future__ import annotations

import numpy as np

from iaside_onnx.game import draw_order


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
