"""In which order a run evaluates, and how many evaluations that takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from iaside_onnx.archive import Recipe, end_evaluations
from iaside_onnx.game import Design, make_design
from iaside_onnx.types import Baseline, PixelRange

__all__ = ["Piece", "Schedule"]

_SHARD_EVALUATIONS = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive draws in one pass: what one shard holds.

    Attributes:
        number: number of the pass, from 0.
        start: first draw.
        stop: the draw behind the last one.
    """

    number: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """The passes of a design over all images, one after the other, cut into shards.

    Progress is counted in steps. A step is one image in one pass.

    Attributes:
        design: of the coalitions.
        images: number of images.
        end_evaluations: evaluations of an image in the first pass in place of its empty and full
            slots; see `Design.evaluations`.
    """

    design: Design
    images: int
    end_evaluations: int

    @classmethod
    def make(
        cls, design: Design, images: int, pixel_range: PixelRange, baseline: Baseline
    ) -> Schedule:
        """The schedule of a design for games of this form."""
        return cls(design, images, end_evaluations(pixel_range, baseline))

    @classmethod
    def of(cls, recipe: Recipe) -> Schedule:
        """The schedule of a recipe.

        Raises:
            OptionError: if there is no such design, or not for so many bands.
        """
        design = make_design(recipe.method, recipe.bands, recipe.seed)
        return cls.make(design, recipe.images_count, recipe.pixel_range, recipe.baseline)

    @property
    def steps(self) -> int:
        """Steps after which nothing is left to evaluate."""
        return self.images * len(self.design.passes)

    @property
    def largest_batch(self) -> int:
        """Number of evaluations in a shard of the first pass, the largest of all."""
        return self.shard_images(0) * self.cost_of(0)

    def cost_of(self, number: int) -> int:
        """Evaluations of one image in a pass."""
        return self.design.evaluations(number, self.end_evaluations)

    def cost(self, steps: int) -> int:
        """Evaluations of so many steps."""
        full, rest = divmod(steps, self.images)
        costs = self._costs
        return self.images * sum(costs[:full]) + (rest * costs[full] if rest else 0)

    @property
    def _costs(self) -> list[int]:
        return [self.cost_of(number) for number in range(len(self.design.passes))]

    def whole_blocks(self, steps: int) -> int:
        """The largest number of steps up to this one that leaves no block unfinished."""
        number, draw = divmod(min(steps, self.steps), self.images)
        return number * self.images + draw // self.design.block * self.design.block

    def blocks(self, steps: int) -> int:
        """Number of blocks of images that have been begun."""
        return -(-min(steps, self.images) // self.design.block)

    def within(self, budget: int) -> int:
        """Steps in whole blocks that cost no more than the budget."""
        costs = [self.images * cost for cost in self._costs]
        full = sum(1 for total in accumulate(costs) if total <= budget)
        if full == len(costs):
            return self.steps
        rest = (budget - sum(costs[:full])) // self.cost_of(full)
        return self.whole_blocks(full * self.images + rest)

    def next_end(self, done: int, missing: float | None, limit: int) -> int:
        """Steps at the end of the next round.

        Args:
            done: steps so far.
            missing: how many times the target the uncertainty is; None without a target, NaN if it
                is not known.
            limit: steps that the run must not exceed.
        """
        if not self.design.sequential:
            return limit
        if done < self.images:
            blocks = self.design.next_blocks(self.blocks(done), missing)
            end = min(blocks * self.design.block, self.images)
        else:
            # All images have been drawn: one more pass over all of them.
            end = (done // self.images + 1) * self.images
        return min(end, limit)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The shards between two numbers of steps."""
        while start < stop:
            number, draw = divmod(start, self.images)
            end = min(draw + self.shard_images(number), self.images, draw + stop - start)
            yield Piece(number, draw, end)
            start += end - draw

    def shard_images(self, number: int) -> int:
        """Images of a shard in a pass: those that make about 4,096 evaluations."""
        images = _SHARD_EVALUATIONS // self.cost_of(number)
        return int(np.clip(images, 1, self.design.most_shard_images))
