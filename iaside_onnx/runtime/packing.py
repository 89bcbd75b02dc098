"""Games, their answers, and how games are packed into batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import EvaluationError
from iaside_onnx.spectrum import MixOrder
from iaside_onnx.types import Coalitions, Pixels

__all__ = ["Answer", "Game", "Part", "PendingGame", "cut"]


@dataclass(frozen=True, slots=True)
class Game:
    """What is evaluated for one image: an offset plus sets of the bands of a difference.

    All arrays are NumPy's and are left unchanged.

    Attributes:
        offset: ``(C, H, W)`` float32 in pixel units, the image with no band present.
        difference: ``(C, H, W)`` float32 in pixel units, the image with all bands present minus
            the offset.
        coalitions: ``(n,)`` bit masks.
        whole: ``(C, H, W)``, the image as it is, which is evaluated first; None if not wanted.
        label: class index; None for the class that the model predicts for the whole image.
    """

    offset: Pixels
    difference: Pixels
    coalitions: Coalitions
    whole: Pixels | None = None
    label: int | None = None


@dataclass(slots=True)
class Answer:
    """The result of a game, or the error that prevented it.

    Attributes:
        label: class index that the values are about.
        predicted: class that the model predicts for the whole image; -1 without one.
        values: log-probabilities in nats, float64: of the whole image, if there is one, and then of
            each coalition.
        floored: which of these were floored at the smallest normal number of the output's type.
        error: why the game has no values; None if it has.
    """

    label: int
    predicted: int
    values: NDArray[np.float64]
    floored: NDArray[np.bool_]
    error: EvaluationError | None = None


@dataclass(slots=True)
class PendingGame:
    """A game that is divided and waits for some of its rows to be evaluated.

    Attributes:
        offset: in the model's layout and memory.
        components: ``(bands, ...)``, likewise.
        coalitions: bit masks, NumPy's.
        order: how its images are mixed.
        whole: the whole image in the model's layout and memory, or None.
        answer: filled in row by row.
        missing: number of rows that are not evaluated yet.
        known: images of the last batch that the next is made from, see `mix`.
    """

    offset: Any
    components: Any
    coalitions: Coalitions
    order: MixOrder
    whole: Any
    answer: Answer
    missing: int
    known: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of one game; the whole image comes before the coalitions."""

    game: PendingGame
    start: int
    count: int

    @property
    def whole(self) -> bool:
        """Whether the first row is the whole image."""
        return self.game.whole is not None and self.start == 0

    @property
    def last(self) -> bool:
        """Whether these are the game's last rows."""
        return self.start + self.count == self.game.answer.values.size

    @property
    def coalitions(self) -> Coalitions:
        """The bit masks of the rows that are not the whole image."""
        before = self.game.whole is not None
        first = self.start - before + self.whole
        return self.game.coalitions[first : self.start - before + self.count]


def cut(parts: list[Part], rows: int) -> tuple[list[Part], list[Part]]:
    """Split parts into the first ``rows`` rows, or all if there are fewer, and the rest."""
    for i, part in enumerate(parts):
        if part.count >= rows:
            head = Part(part.game, part.start, rows)
            tail = Part(part.game, part.start + rows, part.count - rows)
            return [*parts[:i], head], [*([tail] if tail.count else []), *parts[i + 1 :]]
        rows -= part.count
    return parts, []
