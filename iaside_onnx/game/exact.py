"""Every coalition of every image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.game.coalitions import MAX_EXACT_BANDS, all_coalitions
from iaside_onnx.game.design import Design, Pass, register
from iaside_onnx.game.intervals import Estimate, estimate
from iaside_onnx.game.moments import LEVEL
from iaside_onnx.game.shapley import shapley_values
from iaside_onnx.types import Coalitions, Phi

__all__ = ["ExactDesign"]


@lru_cache(maxsize=2)
def _every(bands: int) -> Coalitions:
    """All coalitions; cached, as every image asks for them, and so read-only."""
    found = all_coalitions(bands)
    found.flags.writeable = False
    return found


@register
@dataclass(frozen=True, slots=True)
class ExactDesign(Design):
    """All 2^M coalitions in the order of their bit masks, one pass, one replicate."""

    name: ClassVar[str] = "exact"
    max_bands: ClassVar[int] = MAX_EXACT_BANDS
    sequential: ClassVar[bool] = False
    shared: ClassVar[bool] = True
    full_slot: ClassVar[int] = -1
    most_shard_images: ClassVar[int] = 64

    @property
    def passes(self) -> tuple[Pass, ...]:
        """One pass over all slots."""
        return (Pass(0, 1, 0, 1 << self.bands),)

    @property
    def block(self) -> int:
        """1: images are independent of each other."""
        return 1

    def coalitions(self, draw: int, start: int, stop: int) -> Coalitions:  # noqa: ARG002
        """A range of bit masks, the same for every image."""
        return _every(self.bands)[start:stop]

    def slots(self, replicates: int) -> int:
        """All 2^M slots with the one replicate, none without."""
        return replicates << self.bands

    def gains(
        self,
        worth: NDArray[np.floating],
        draws: NDArray[np.int64],  # noqa: ARG002
        first: int,  # noqa: ARG002
        last: int,  # noqa: ARG002
    ) -> Phi:
        """The Shapley values, ``(1, n, bands)``."""
        return shapley_values(worth)[None]

    def estimate(
        self,
        gains: Phi,
        draws: NDArray[np.int64],  # noqa: ARG002
        strata: NDArray[np.int64] | None = None,  # noqa: ARG002
        population: int | None = None,
        level: float = LEVEL,
    ) -> Estimate:
        """Intervals over images."""
        return estimate(gains[0], population, level)

    def order(self, strata: NDArray[np.int64] | None, images: int) -> NDArray[np.int64]:  # noqa: ARG002
        """The order of the source: all images are evaluated."""
        return np.arange(images, dtype=np.int64)

    def evaluations(self, number: int, end_evaluations: int) -> int:  # noqa: ARG002
        """One for each coalition, also where its worth follows from another evaluation."""
        return 1 << self.bands
