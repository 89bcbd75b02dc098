"""What a run has evaluated so far, and what follows from it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import (
    DECOMPOSITION,
    WORTH_ROUNDING,
    Failure,
    Rows,
    Shard,
    Workspace,
    row_ranges,
)
from iaside_onnx.errors import ArchiveError
from iaside_onnx.game import Estimate
from iaside_onnx.runs.planning import Plan
from iaside_onnx.runs.schedule import Piece
from iaside_onnx.types import Phi, Worth

__all__ = ["Results"]

_EVERY_PASS = frozenset(["image", "image_id", "image_sha256", "label", "worth", "floored"])
_FIRST_PASS = frozenset(name for name, one in DECOMPOSITION.variables.items() if one.sharded)


class Results:
    """What has been evaluated, image by image in the order of the draw.

    Attributes:
        pieces: what each shard holds, in order.
        rounds: steps after each round.
        labels: class that the worths are about, ``(n,)``.
        gains: contributions of each image, summed over its replicates, ``(parts, n, bands)``, nats.
        replicates: how many each image has, ``(n,)``; 0 where it failed.
        floored: how many worths were raised to the smallest probability, ``(n,)``.
        hashes: SHA-256 of the images as they were in the first pass, ``(n,)``.
        failures: images that failed in the first pass.
        later: images that failed in a later pass; their earlier replicates are kept.
        batch_size: the smallest of all shards.
    """

    def __init__(self, plan: Plan, workspace: Workspace) -> None:
        self._plan = plan
        self._workspace = workspace
        self._design = plan.schedule.design
        self._passes = self._design.passes
        self._last_read: dict[int, tuple[int, Shard]] = {}
        # First draw of each piece by pass, and the number of the first one.
        self._starts: list[list[int]] = [[] for _ in self._passes]
        self._numbers: list[list[int]] = [[] for _ in self._passes]
        # Variables of the first pass that are small.
        self._first: list[dict[str, Any]] = []
        self.pieces: list[Piece] = []
        self.rounds: list[int] = []
        self.labels = np.zeros(0, dtype=np.int64)
        self.gains = np.zeros((1, 0, self._design.bands))
        self.replicates = np.zeros(0, dtype=np.int64)
        self.floored = np.zeros(0, dtype=np.int64)
        self.hashes = np.zeros(0, dtype="S64")
        self.failures: list[Failure] = []
        self.later: list[Failure] = []
        self.batch_size = 0

    def begin(self, pieces: list[Piece]) -> range:
        """Take note of the next pieces; the numbers of their shards."""
        first = len(self.pieces)
        self.pieces.extend(pieces)
        return range(first, first + len(pieces))

    def draws(self, piece: Piece) -> NDArray[np.int64]:
        """Draws that a piece evaluates: in later passes not those that have failed before."""
        every = np.arange(piece.start, piece.stop)
        before = self._passes[piece.number].first
        return every if piece.number == 0 else every[self.replicates[every] >= before]

    def rows(self, draws: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the selection at these draws."""
        return self._plan.order[draws]

    def positions(self, piece: Piece) -> NDArray[np.int64]:
        """Positions in the source of the images of a piece."""
        return self._plan.selection.positions[self.rows(self.draws(piece))]

    def shard(self, number: int) -> Shard:
        """Read a shard back.

        Raises:
            ArchiveError: if it is gone or damaged.
        """
        again = "run the same command again"
        piece = self.pieces[number]
        if self._last_read.get(piece.number, (-1,))[0] != number:
            try:
                shard = self._workspace.read(number, self.positions(piece))
            except ArchiveError as error:
                raise ArchiveError(f"{error}; {again}") from error
            if shard is None:
                raise ArchiveError(f"{self._workspace.path(number)}: missing; {again}")
            self._last_read[piece.number] = number, shard
        return self._last_read[piece.number][1]

    def add(self, number: int, shard: Shard | None = None) -> None:
        """Take in a finished shard; shards come in order.

        Args:
            number: of the shard.
            shard: what it holds; read back if it is not given.

        Raises:
            ArchiveError: if it is to be read, and is gone or damaged.
        """
        piece = self.pieces[number]
        if shard is None:
            shard = self.shard(number)
        else:
            self._last_read[piece.number] = number, shard
        self._starts[piece.number].append(piece.start)
        self._numbers[piece.number].append(number)
        self.batch_size = min(self.batch_size or shard.batch_size, shard.batch_size)
        done = self._done(piece, shard)
        if piece.number == 0:
            self._grow(piece.stop)
            self._add_first(done, shard)
        else:
            self.later.extend(shard.failures)
        now = self._passes[piece.number]
        worth = shard["worth"]
        if piece.number:
            worth = self.worths(piece.start, piece.stop)[done - piece.start]
        gains = self._design.gains(worth, done, now.first, now.last)
        if len(gains) != len(self.gains):
            self.gains = np.zeros((len(gains), *self.gains.shape[1:]))
        self.gains[:, done] += gains
        self.replicates[done] += now.last - now.first
        self.floored[done] += shard["floored"]

    def _grow(self, size: int) -> None:
        for name in ("labels", "replicates", "floored", "hashes"):
            array = getattr(self, name)
            grown = np.zeros(size - len(array), dtype=array.dtype)
            setattr(self, name, np.concatenate([array, grown]))
        parts, before, bands = self.gains.shape
        self.gains = np.concatenate([self.gains, np.zeros((parts, size - before, bands))], axis=1)

    def _add_first(self, done: NDArray[np.int64], shard: Shard) -> None:
        self.labels[done] = shard["label"]
        self.hashes[done] = shard["image_sha256"]
        self.failures.extend(shard.failures)
        large = ("worth", "floored")
        self._first.append({k: v for k, v in shard.values.items() if k not in large})

    def _done(self, piece: Piece, shard: Shard) -> NDArray[np.int64]:
        """The draws of the images in a shard; others of the piece have failed."""
        draws = self.draws(piece)
        return draws[np.isin(self.positions(piece), shard["image"])]

    def fits(self, piece: Piece, shard: Shard) -> bool:
        """Whether a shard holds what the run would have written; its values may be edited."""
        now = self._passes[piece.number]
        if not (_EVERY_PASS if piece.number else _FIRST_PASS) <= shard.values.keys():
            return False
        worth = shard["worth"]
        # Comparisons with NaN are false.
        return bool(
            getattr(worth, "shape", ()) == (shard.images, now.stop - now.start)
            and worth.dtype == np.float32
            and (worth <= WORTH_ROUNDING).all()
            and np.isfinite(worth).all()
        )

    def changed(self, piece: Piece, shard: Shard) -> str | None:
        """Name of the first image of a later pass that is not what it was in the first, if any."""
        if piece.number == 0:
            return None
        known = self.hashes[self._done(piece, shard)]
        differ = known != np.array(shard["image_sha256"], dtype=known.dtype)
        return str(shard["image_id"][int(differ.argmax())]) if differ.any() else None

    def worths(self, start: int, stop: int) -> Worth:
        """Worths of the images at a range of draws, ``(n, slots)``; NaN: not evaluated."""
        worth = np.full((stop - start, self.slots), np.nan, dtype=np.float32)
        for starts, numbers in zip(self._starts, self._numbers, strict=True):
            first = max(bisect_right(starts, start) - 1, 0)
            for place in range(first, bisect_right(starts, stop - 1)):
                piece = self.pieces[numbers[place]]
                shard = self.shard(numbers[place])
                done = self._done(piece, shard)
                here = (done >= start) & (done < stop)
                now = self._passes[piece.number]
                worth[done[here] - start, now.start : now.stop] = shard["worth"][here]
        return worth

    @property
    def slots(self) -> int:
        """Number of slots that any image has."""
        return max(self._passes[n].stop for n, starts in enumerate(self._starts) if starts)

    @property
    def done(self) -> NDArray[np.int64]:
        """Draws of the images that have results."""
        return np.flatnonzero(self.replicates)

    def streamed(self) -> Iterator[Rows]:
        """The large variables of the images that have results, some images at a time."""
        own = not self._design.shared
        for rows in row_ranges(self.replicates.size, 4 * self.slots):
            draws = np.arange(rows.start, rows.stop)
            draws = draws[self.replicates[draws] > 0]
            worth = self.worths(rows.start, rows.stop)[draws - rows.start]
            yield {"worth": worth, **({"coalition": self._masks(draws)} if own else {})}

    def _masks(self, draws: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Coalitions of images, ``(n, slots)``; 0 where nothing was evaluated."""
        masks = np.zeros((draws.size, self.slots), dtype=np.uint64)
        for row, draw in enumerate(draws.tolist()):
            filled = self._design.slots(int(self.replicates[draw]))
            masks[row, :filled] = self._design.coalitions(draw, 0, filled)
        return masks

    @property
    def contributions(self) -> Phi:
        """Contributions of each image that has results, ``(n, bands)`` in nats."""
        done = self.done
        total = self.gains[:, done].sum(axis=0)
        return np.asarray(total / (len(self.gains) * self.replicates[done, None]))

    @property
    def strata(self) -> NDArray[np.int64] | None:
        """Class of each image that has results, ``(n,)``; None where none are known."""
        strata = self._plan.selection.strata
        return None if strata is None else strata[self.rows(self.done)]

    def estimate(self) -> Estimate | None:
        """Phi, psi and SIS with intervals, as known so far; None without any image."""
        done, population = self.done, self._plan.recipe.population
        if not done.size:
            return None
        # Class shares are known of the images of the source, but not of what they were drawn from.
        strata = None if population is None else self.strata
        means = self.gains[:, done] / self.replicates[done, None]
        return self._design.estimate(means, done, strata, population)

    def small(self) -> dict[str, Any]:
        """Variables with one value an image, as they were evaluated in the first pass."""
        names = self._first[0]
        joined: dict[str, Any] = {}
        for name in names:
            parts = [part[name] for part in self._first]
            text = isinstance(parts[0], list)
            joined[name] = list(chain.from_iterable(parts)) if text else np.concatenate(parts)
        return {**joined, "floored": self.floored[self.done]}
