"""The order in which a sampled run draws its images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_order"]

# Each use of randomness has its own stream, so that none shifts another.
_DRAW = 3


def draw_order(labels: NDArray[np.int64] | None, n: int, seed: int) -> NDArray[np.int64]:
    """All images in random order, such that every prefix holds the classes in proportion.

    The i-th of the n images of a class, in random order, is at ``(i + u) / n`` of the way, with u
    uniform in [0, 1): systematic sampling within classes. Each image is as likely as any other
    among the first ones, and a class is off its share by less than one image, except for ties.
    Random numbers come from ``default_rng([seed, 3, k])`` for the k-th class.

    Args:
        labels: class of each image, ``(n,)``; None for a plain random order.
        n: number of images.
        seed: seed of the run.
    """
    groups = np.zeros(n, dtype=np.int64) if labels is None else labels
    key = np.empty(n)
    kinds, group_of = np.unique(groups, return_inverse=True)
    for group in range(kinds.size):
        rng = np.random.default_rng([seed, _DRAW, group])
        members = rng.permutation(np.flatnonzero(group_of == group))
        key[members] = (np.arange(members.size) + rng.random(members.size)) / members.size
    return np.argsort(key, kind="stable").astype(np.int64)
