"""The interface of a design of coalitions, and the registry of designs.

A design says which coalitions of which image are evaluated, and how contributions and their
intervals follow from the worths. Other packages use this interface and do not ask which design they
have; only the choice that the option ``method`` makes for ``auto`` names two of them.

To add one: write a module with a subclass of `Design` that is decorated with `register`, and import
it in ``game/__init__.py``. Tests inherit ``tests/game/design_contract.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError
from iaside_onnx.game.draw import draw_order
from iaside_onnx.game.intervals import Estimate
from iaside_onnx.game.moments import LEVEL
from iaside_onnx.game.rounds import next_end
from iaside_onnx.types import Coalitions, Phi

__all__ = ["Design", "Pass", "design_names", "design_type", "make_design", "register"]


class Pass(NamedTuple):
    """One pass over the images: the replicates and the slots that it evaluates, as ranges.

    Attributes:
        first: first replicate.
        last: one past the last replicate.
        start: first slot.
        stop: one past the last slot.
    """

    first: int
    last: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Design(ABC):
    """Which coalitions of each image are evaluated, and what follows from their worths.

    An image has a row of slots, one coalition each. Slots are filled in passes. A pass completes
    one or more replicates: estimates of the contributions of the image that can be averaged.

    Attributes:
        bands: number of bands M.
        seed: seed of the run.
        name: word for the option ``method`` and for the archive.
        max_bands: largest number of bands.
        sequential: whether a run may stop early, at a budget or at a precision.
        shared: whether all images have the same coalitions in the same slots.
        full_slot: slot of the coalition of all bands; slot 0 is the empty coalition. Negative
            numbers count from the end of the row.
        most_shard_images: largest number of images in a shard.
    """

    bands: int
    seed: int

    name: ClassVar[str]
    max_bands: ClassVar[int]
    sequential: ClassVar[bool] = True
    shared: ClassVar[bool] = False
    full_slot: ClassVar[int] = 1
    most_shard_images: ClassVar[int] = 256

    def __post_init__(self) -> None:
        if not 2 <= self.bands <= self.max_bands:
            raise OptionError(
                f"the number of bands must be from 2 to {self.max_bands} with the method "
                f"{self.name}, found {self.bands}; take fewer, or another method"
            )

    @property
    @abstractmethod
    def passes(self) -> tuple[Pass, ...]:
        """The passes over the images, in order."""

    @property
    @abstractmethod
    def block(self) -> int:
        """Number of consecutive draws whose coalitions balance; a run stops after whole blocks."""

    @abstractmethod
    def coalitions(self, draw: int, start: int, stop: int) -> Coalitions:
        """The coalitions in a range of slots of one image, ``(stop - start,)``.

        Args:
            draw: position of the image in the order of the draw.
            start: first slot.
            stop: one past the last slot.
        """

    @abstractmethod
    def slots(self, replicates: int) -> int:
        """Number of slots that a number of replicates fill."""

    @abstractmethod
    def gains(
        self, worth: NDArray[np.floating], draws: NDArray[np.int64], first: int, last: int
    ) -> Phi:
        """Unbiased estimates of the contributions, summed over replicates.

        Args:
            worth: ``(n, slots)`` in nats, at least the slots of these replicates.
            draws: positions of the images in the order of the draw, ``(n,)``.
            first: first replicate.
            last: one past the last replicate.

        Returns:
            ``(parts, n, bands)`` in nats, NaN where a worth is NaN. The mean over parts is the
            estimate. A design whose replicates consist of parts with negatively correlated errors
            returns the parts separately, because `estimate` needs them.
        """

    @abstractmethod
    def estimate(
        self,
        gains: Phi,
        draws: NDArray[np.int64],
        strata: NDArray[np.int64] | None = None,
        population: int | None = None,
        level: float = LEVEL,
    ) -> Estimate:
        """Phi, psi and SIS with intervals.

        Args:
            gains: mean over the replicates of each image, ``(parts, n, bands)`` in nats.
            draws: positions of the images in the order of the draw, ``(n,)``.
            strata: class of each image, ``(n,)``, if images were drawn in proportion to classes.
            population: number of images that the estimate is about, if it is about a finite set.
            level: confidence level of each interval, in (0, 1).
        """

    def order(self, strata: NDArray[np.int64] | None, images: int) -> NDArray[np.int64]:
        """The order in which images are drawn, ``(images,)``: a permutation of their indices."""
        return draw_order(strata, images, self.seed)

    def evaluations(self, number: int, end_evaluations: int) -> int:
        """Evaluations of one image in one pass.

        Args:
            number: number of the pass, from 0.
            end_evaluations: evaluations of an image in the first pass that replace those of its
                empty and full slots: the whole image, and each of these slots whose worth follows
                from no other evaluation.
        """
        start, stop = self.passes[number][2:]
        return stop - start if number else stop - 2 + end_evaluations

    def next_blocks(self, done: int, missing: float | None) -> int:
        """Blocks at the end of the next round of a sequential run; see `next_end`."""
        return next_end(done, missing)

    def describe(self) -> dict[str, object]:
        """What a reader of an archive must know of the design, as JSON values."""
        return {}


_DESIGNS: dict[str, type[Design]] = {}
_T = TypeVar("_T", bound=type[Design])


def register(design: _T) -> _T:
    """Make a design available under its name; a class decorator."""
    _DESIGNS[design.name] = design
    return design


def design_names() -> tuple[str, ...]:
    """Names of all registered designs."""
    return tuple(_DESIGNS)


def design_type(name: str) -> type[Design]:
    """The class of a registered design.

    Raises:
        OptionError: if there is none of that name.
    """
    if name not in _DESIGNS:
        raise OptionError(f"unknown method {name!r}: choose from {', '.join(_DESIGNS)}")
    return _DESIGNS[name]


def make_design(name: str, bands: int, seed: int) -> Design:
    """A design by its name.

    Raises:
        OptionError: if there is none of that name, or it cannot have so many bands.
    """
    return design_type(name)(bands, seed)
