"""A third design, as somebody would add it: one module, and its registration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.game import LEVEL, Design, Estimate, Pass, estimate, register
from iaside_onnx.game import design as registry
from iaside_onnx.types import Coalitions, Phi

__all__ = ["SinglePermutationDesign", "registered"]


@dataclass(frozen=True, slots=True)
class SinglePermutationDesign(Design):
    """The prefixes of one uniform permutation of each image; one pass, one replicate, one part."""

    name: ClassVar[str] = "single"
    max_bands: ClassVar[int] = 64
    full_slot: ClassVar[int] = -1

    @property
    def passes(self) -> tuple[Pass, ...]:
        return (Pass(0, 1, 0, self.bands + 1),)

    @property
    def block(self) -> int:
        return 1

    def permutation(self, draw: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 99, draw]).permutation(self.bands)

    def coalitions(self, draw: int, start: int, stop: int) -> Coalitions:
        bits = np.uint64(1) << self.permutation(draw).astype(np.uint64)
        return np.concatenate([[np.uint64(0)], np.cumsum(bits, dtype=np.uint64)])[start:stop]

    def slots(self, replicates: int) -> int:
        return replicates * (self.bands + 1)

    def gains(
        self,
        worth: NDArray[np.floating],
        draws: NDArray[np.int64],
        first: int,  # noqa: ARG002
        last: int,  # noqa: ARG002
    ) -> Phi:
        orders = np.array([self.permutation(draw) for draw in draws.tolist()]).reshape(
            -1, self.bands
        )
        found = np.empty((1, len(draws), self.bands))
        steps = np.diff(np.asarray(worth, dtype=np.float64)[:, : self.bands + 1], axis=1)
        np.put_along_axis(found[0], orders, steps, axis=1)
        return found

    def estimate(
        self,
        gains: Phi,
        draws: NDArray[np.int64],  # noqa: ARG002
        strata: NDArray[np.int64] | None = None,  # noqa: ARG002
        population: int | None = None,
        level: float = LEVEL,
    ) -> Estimate:
        return estimate(gains[0], population, level)


@contextmanager
def registered() -> Iterator[None]:
    """Make the design known, and take it away again."""
    register(SinglePermutationDesign)
    try:
        yield
    finally:
        del registry._DESIGNS[SinglePermutationDesign.name]
