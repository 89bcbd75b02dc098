"""What is to be evaluated for an image, what came of it, and how images share a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import EvaluationError
from iaside_onnx.types import Coalitions

__all__ = ["Answer", "Game", "Part", "Table", "cut"]


@dataclass(frozen=True, slots=True)
class Game:
    """What is evaluated for one image: itself as it is, and an offset plus sets of components.

    Attributes:
        offset: ``(C, H, W)`` float32 in pixel units, NumPy's or CuPy's as the evaluator's ``xp``.
        components: ``(bands, C, H, W)``, likewise.
        coalitions: ``(n,)`` bit masks; always NumPy's.
        whole: ``(C, H, W)``, the image as it is, which is evaluated first; None if not wanted.
        label: class index; None for the model's own answer on the whole image.
        chained: whether each coalition is mostly the one before it and one band more.
        scaled: whether components are multiplied by the evaluator's `component_scale` already.
    """

    offset: Any
    components: Any
    coalitions: Coalitions
    whole: Any = None
    label: int | None = None
    chained: bool = False
    scaled: bool = False


@dataclass(slots=True)
class Answer:
    """What a game gave, or why it gave nothing.

    Attributes:
        label: class index that the values are about.
        predicted: class that the model gives the whole image; -1 without one.
        values: log-probabilities in nats, float64: of the whole image, if there is one, and then of
            each coalition.
        raised: which of these were raised to the smallest probability of the output's type.
        error: why the game has no values, if so.
    """

    label: int
    predicted: int
    values: NDArray[np.float64]
    raised: NDArray[np.bool_]
    error: EvaluationError | None = None


@dataclass(slots=True)
class Table:
    """A game on its way through the batches."""

    offset: Any
    components: Any
    coalitions: Coalitions
    whole: Any
    answer: Answer
    missing: int
    chained: bool = False
    known: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of one game; the whole image comes before the coalitions."""

    table: Table
    start: int
    count: int

    @property
    def whole(self) -> bool:
        """Whether the first row is the whole image."""
        return self.table.whole is not None and self.start == 0

    @property
    def coalitions(self) -> Coalitions:
        """The bit masks of the other rows."""
        before = self.table.whole is not None
        first = self.start - before + self.whole
        return self.table.coalitions[first : self.start - before + self.count]


def cut(parts: list[Part], rows: int) -> tuple[list[Part], list[Part]]:
    """The first so many rows, or all if there are fewer, and the rest."""
    for i, part in enumerate(parts):
        if part.count >= rows:
            head = Part(part.table, part.start, rows)
            tail = Part(part.table, part.start + rows, part.count - rows)
            return [*parts[:i], head], [*([tail] if tail.count else []), *parts[i + 1 :]]
        rows -= part.count
    return parts, []
