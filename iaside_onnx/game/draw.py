"""The order in which a sampled run draws its images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_order"]

# Each use of randomness has its own stream, so that none shifts another.
_DRAW = 3


def draw_order(labels: NDArray[np.int64] | None, n: int, seed: int) -> NDArray[np.int64]:
    """All images in random order, such that every prefix holds the classes in proportion.

    The i-th of the n images of a class, in random order, has the sort key ``(i + u) / n``, with u
    uniform in [0, 1): systematic sampling within classes. Every image is equally likely to be in a
    prefix. The number of images of a class in a prefix differs from its share by less than one,
    except for ties. Random numbers come from ``default_rng([seed, 3, k])`` for the k-th class.

    Args:
        labels: class of each image, ``(n,)``; None for a plain random order.
        n: number of images.
        seed: seed of the run.
    """
    classes = np.zeros(n, dtype=np.int64) if labels is None else labels
    key = np.empty(n)
    distinct, class_of = np.unique(classes, return_inverse=True)
    for number in range(distinct.size):
        rng = np.random.default_rng([seed, _DRAW, number])
        members = rng.permutation(np.flatnonzero(class_of == number))
        key[members] = (np.arange(members.size) + rng.random(members.size)) / members.size
    return np.argsort(key, kind="stable").astype(np.int64)
