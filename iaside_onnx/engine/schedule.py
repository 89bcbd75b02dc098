"""In which order a sampled run evaluates, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.game import PairedDesign, SlotLayout

__all__ = ["Piece", "Schedule", "Turn", "draw_order", "images_of_shard"]

_SHARD_EVALUATIONS = 4096
_SHARD_IMAGES = 256
_SHARED_SLOTS = 2
"""The empty and the full coalition."""
_DRAW = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of images in the order of the draw, in one pass over them: what one shard holds.

    Attributes:
        turn: which pass, from 0.
        start: the first place in the draw.
        stop: the place behind the last one.
    """

    turn: int
    start: int
    stop: int


class Turn(NamedTuple):
    """A pass over the images: its first pair and the one behind its last; its slots likewise."""

    first: int
    last: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """All images one pair each, in blocks; then, where they have run out, one more each, and so on.

    What has been done is a number of steps: a step is an image in a pass, passes come one after
    the other.

    Attributes:
        design: which coalitions.
        images: how many there are to draw from.
        once: evaluations an image beside its pairs: whole, full and empty where they are not
            known otherwise.
    """

    design: PairedDesign
    images: int
    once: int

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The passes."""
        return _turns(self.design.bands)

    @property
    def steps(self) -> int:
        """Those after which every image has all of its pairs."""
        return self.images * len(self.turns)

    def cost_of(self, turn: int) -> int:
        """Evaluations an image in a pass."""
        slots = self.turns[turn]
        return slots.stop - slots.start if turn else slots.stop - _SHARED_SLOTS + self.once

    def cost(self, steps: int) -> int:
        """Evaluations of so many steps."""
        full, rest = divmod(steps, self.images)
        costs = [self.cost_of(turn) for turn in range(len(self.turns))]
        return self.images * sum(costs[:full]) + (rest * costs[full] if rest else 0)

    def whole_blocks(self, steps: int) -> int:
        """As many steps, or fewer, such that no block is begun that is not ended."""
        turn, place = divmod(min(steps, self.steps), self.images)
        return turn * self.images + place // self.design.bands * self.design.bands

    def blocks(self, steps: int) -> int:
        """How many blocks of images have been begun."""
        return -(-min(steps, self.images) // self.design.bands)

    def within(self, budget: int) -> int:
        """Steps in whole blocks that cost no more than the budget."""
        costs = [self.images * self.cost_of(turn) for turn in range(len(self.turns))]
        full = sum(1 for total in accumulate(costs) if total <= budget)
        if full == len(costs):
            return self.steps
        rest = (budget - sum(costs[:full])) // self.cost_of(full)
        return self.whole_blocks(full * self.images + rest)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """What is to be done between two numbers of steps."""
        while start < stop:
            turn, place = divmod(start, self.images)
            size = self.shard_images(turn)
            end = min(place + size, self.images, place + stop - start)
            yield Piece(turn, place, end)
            start += end - place

    def shard_images(self, turn: int = 0) -> int:
        """Images of a shard in a pass."""
        return images_of_shard(self.cost_of(turn), _SHARD_IMAGES)


def images_of_shard(evaluations: int, most: int) -> int:
    """Images that make about 4,096 evaluations, with so many each; from 1 to ``most``."""
    return int(np.clip(_SHARD_EVALUATIONS // evaluations, 1, most))


@lru_cache(maxsize=8)
def _turns(bands: int) -> tuple[Turn, ...]:
    """The passes of a design: a pair each, but for the last.

    The last pair is made of coalitions that the others have: it comes with the one before it. The
    empty and the full coalition come with the first.
    """
    ends = SlotLayout.of(bands).ends.tolist()
    found = [Turn(pair, pair + 1, ends[pair], ends[pair + 1]) for pair in range(bands - 1)]
    found[-1] = found[-1]._replace(last=bands)
    found[0] = found[0]._replace(start=0)
    return tuple(found)


def draw_order(labels: NDArray[np.int64] | None, n: int, seed: int) -> NDArray[np.int64]:
    """All images in random order, any beginning of which holds the classes in proportion.

    The i-th of the n images of a class, in random order, is at ``(i + u) / n`` of the way, with u
    uniform in [0, 1): systematic sampling within classes, so that each image is as likely as any
    other among the first ones, and a class is off its share by less than one image, but for ties.
    Random numbers are of ``default_rng([seed, 3, k])`` for the k-th class.

    Args:
        labels: ``(n,)``, or None for a plain random order.
        n: how many images.
        seed: of the run.
    """
    groups = np.zeros(n, dtype=np.int64) if labels is None else labels
    key = np.empty(n)
    kinds, group_of = np.unique(groups, return_inverse=True)
    for group in range(kinds.size):
        rng = np.random.default_rng([seed, _DRAW, group])
        members = rng.permutation(np.flatnonzero(group_of == group))
        key[members] = (np.arange(members.size) + rng.random(members.size)) / members.size
    return np.argsort(key, kind="stable").astype(np.int64)
