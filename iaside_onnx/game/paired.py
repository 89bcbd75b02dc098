"""A sample of the coalitions of each image: balanced antithetic pairs of permutations.

Each image gets a permutation of the bands. A pair consists of the prefixes of that permutation and
of its reverse. The permutations of a block of M images are balanced: each band is at each position
once. Each permutation is uniform and independent of its image, so that the mean gain of a band is
an unbiased estimate of its contribution (Mitchell, Cooper, Frank, Holmes, JMLR 2022, for pairs).

Further pairs of an image are cyclic shifts of its permutation, so that all M of them form a Latin
square. On a circle, every prefix of every shift is an arc. There are M (M - 1) arcs in all. Later
pairs share many of them with earlier pairs, and no coalition is evaluated twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.game.design import Design, Pass, register
from iaside_onnx.game.fields import field_tables
from iaside_onnx.game.intervals import Estimate, estimate_moments
from iaside_onnx.game.moments import LEVEL, block_moments
from iaside_onnx.types import Coalitions, Phi

__all__ = ["EMPTY_SLOT", "FULL_SLOT", "MAX_SAMPLED_BANDS", "PairedDesign", "SlotLayout"]

MAX_SAMPLED_BANDS = 64
"""Coalitions are 64-bit masks."""

EMPTY_SLOT, FULL_SLOT = 0, 1
"""Slots of the empty coalition and of the coalition of all bands."""

# Each use of randomness has its own stream, so that none shifts another.
_GROUP, _ORDER = 4, 5


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Which slots of an image hold the coalitions of each of its pairs.

    Attributes:
        shifts: by how many positions the permutation is shifted for each pair, ``(bands,)``.
        ends: number of slots that the first k pairs fill, at index k, ``(bands + 1,)``. All pairs
            share the slots of the empty and the full coalition, so the first number is 2.
        forward: slots of the prefixes of each pair's permutation, from the empty to the full
            coalition, ``(bands, bands + 1)``.
        backward: likewise of its reverse.
        arcs: first position and length of the arc in each slot, ``(slots, 2)``.
    """

    shifts: NDArray[np.int64]
    ends: NDArray[np.int64]
    forward: NDArray[np.int64]
    backward: NDArray[np.int64]
    arcs: NDArray[np.int64]

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, bands: int) -> SlotLayout:
        """The layout for a number of bands."""
        shifts = _spread(bands)
        slots: dict[tuple[int, int], int] = {}
        forward: list[list[int]] = []
        backward: list[list[int]] = []
        ends = [2]
        lengths = range(1, bands)
        for shift in shifts:
            prefixes = [(shift, length) for length in lengths]
            suffixes = [((shift - length) % bands, length) for length in lengths]
            for rows, arcs in ((forward, prefixes), (backward, suffixes)):
                row = [slots.setdefault(arc, len(slots) + 2) for arc in arcs]
                rows.append([EMPTY_SLOT, *row, FULL_SLOT])
            ends.append(len(slots) + 2)
        fields = (shifts, ends, forward, backward, [(0, 0), (0, bands), *slots])
        return cls(*(np.array(values, dtype=np.int64) for values in fields))


def _spread(bands: int) -> list[int]:
    """All shifts, in an order in which the first few are far apart (van der Corput)."""
    found: dict[int, None] = {}
    index = 0
    while len(found) < bands:
        bits = index.bit_length()
        reverse = int(f"{index:0{bits}b}"[::-1], 2) if index else 0
        found.setdefault(bands * reverse >> bits)
        index += 1
    return list(found)


@register
@dataclass(frozen=True, slots=True)
class PairedDesign(Design):
    """The permutations of all images: a pure function of the seed and the position in the draw.

    For M bands, M a prime power, the M - 1 blocks of a group share two uniform permutations p, q
    from ``default_rng([seed, 4, group])``. It also gives the multipliers a, one for each block: the
    non-zero elements of GF(M) in random order. Image b of a block has the band ``p[a * q[k] + b]``
    at position k, and ``default_rng([seed, 5, block])`` gives the order of the b. For other M each
    block is a group, and the band at position k is ``p[(q[k] + b) mod M]``.

    A replicate is a pair. Its two parts are the permutation and its reverse.
    """

    name: ClassVar[str] = "sampled"
    max_bands: ClassVar[int] = MAX_SAMPLED_BANDS
    full_slot: ClassVar[int] = FULL_SLOT

    @property
    def passes(self) -> tuple[Pass, ...]:
        """One pair each; the last pass completes two, as the last pair has no slots of its own."""
        return _passes(self.bands)

    @property
    def block(self) -> int:
        """The M images whose permutations balance."""
        return self.bands

    def slots(self, replicates: int) -> int:
        """Number of slots that a number of pairs fill."""
        return int(self.layout.ends[replicates])

    def describe(self) -> dict[str, object]:
        """The number of positions by which each pair shifts the permutation."""
        return {"shifts": self.layout.shifts.tolist()}

    def estimate(
        self,
        gains: Phi,
        draws: NDArray[np.int64],
        strata: NDArray[np.int64] | None = None,
        population: int | None = None,
        level: float = LEVEL,
    ) -> Estimate:
        """Intervals over blocks of images."""
        forward, backward = gains
        blocks = draws // self.bands
        moments = block_moments(forward, backward, blocks, strata, population, draws)
        return estimate_moments(moments, level)

    @property
    def layout(self) -> SlotLayout:
        """Which slots hold the coalitions of each pair."""
        return SlotLayout.of(self.bands)

    def permutation(self, draw: int) -> NDArray[np.int64]:
        """The permutation of the image at this position in the draw, ``(bands,)``."""
        block, row = divmod(draw, self.bands)
        return np.asarray(_block(self.bands, self.seed, block)[row])

    def permutations(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """Permutations of several images, ``(n, bands)``."""
        rows = [self.permutation(draw) for draw in draws.tolist()]
        return np.array(rows, dtype=np.int64).reshape(-1, self.bands)

    def coalitions(self, draw: int, start: int, stop: int) -> Coalitions:
        """Arcs of the permutation of the image, ``(stop - start,)``.

        Within a pair most coalitions are the one before them and one band more.
        """
        bits = np.uint64(1) << self.permutation(draw).astype(np.uint64)
        # Bit masks of arcs are differences of running sums, modulo 2**64.
        total = np.concatenate([[np.uint64(0)], np.cumsum(np.tile(bits, 2), dtype=np.uint64)])
        first, length = self.layout.arcs[start:stop].T
        return np.asarray(total[first + length] - total[first], dtype=np.uint64)

    def gains(
        self, worth: NDArray[np.floating], draws: NDArray[np.int64], first: int, last: int
    ) -> Phi:
        """Marginal gains of each band, summed over pairs: of the permutations, of the reverses."""
        permutations = self.permutations(draws)
        values = np.asarray(worth, dtype=np.float64)
        rows = np.arange(len(values))[:, None]
        positions = np.arange(self.bands)
        sums = np.zeros((2, len(values), self.bands))
        for pair in range(first, last):
            shift = self.layout.shifts[pair]
            for total, slots, order in (
                (sums[0], self.layout.forward, (shift + positions) % self.bands),
                (sums[1], self.layout.backward, (shift - 1 - positions) % self.bands),
            ):
                total[rows, permutations[:, order]] += np.diff(values[:, slots[pair]], axis=1)
        return sums


@lru_cache(maxsize=64)
def _group(bands: int, seed: int, group: int) -> tuple[NDArray[np.int64], ...]:
    rng = np.random.default_rng([seed, _GROUP, group])
    return rng.permutation(bands), rng.permutation(bands), 1 + rng.permutation(bands - 1)


@lru_cache(maxsize=64)
def _block(bands: int, seed: int, block: int) -> NDArray[np.int64]:
    """The permutations of a block, ``(bands, bands)``: image, position."""
    tables = field_tables(bands)
    group, which = divmod(block, bands - 1) if tables is not None else (block, 0)
    p, q, multipliers = _group(bands, seed, group)
    b = np.random.default_rng([seed, _ORDER, block]).permutation(bands)[:, None]
    if tables is None:
        return np.asarray(p[(q[None, :] + b) % bands])
    sums, products = tables
    return np.asarray(p[sums[products[multipliers[which], q][None, :], b]])


@lru_cache(maxsize=8)
def _passes(bands: int) -> tuple[Pass, ...]:
    """One pass for each pair but the last.

    All coalitions of the last pair are in earlier pairs, so the pass before completes it too. The
    empty and the full coalition are in the first pass.
    """
    ends = SlotLayout.of(bands).ends.tolist()
    found = [Pass(pair, pair + 1, ends[pair], ends[pair + 1]) for pair in range(bands - 1)]
    found[-1] = found[-1]._replace(last=bands)
    found[0] = found[0]._replace(start=0)
    return tuple(found)
