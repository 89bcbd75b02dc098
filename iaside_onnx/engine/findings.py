"""What a run found, whichever way it evaluated: all that the archive is made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from iaside_onnx.archive import Shard
from iaside_onnx.game import Estimate
from iaside_onnx.types import Coalitions, Worth

__all__ = ["Findings"]


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of a run.

    Attributes:
        summary: of each image, but for the worths.
        estimate: over the images; None if there are none.
        tables: worths of the images in order, some at a time, with their coalitions if these are
            not the same for all.
        values: other variables of the archive, by their name in the schema.
        sample: how far a sampled run went, as JSON values.
        notes: what the user should know.
    """

    summary: Shard
    estimate: Estimate | None
    tables: Iterable[tuple[Coalitions | None, Worth]]
    values: Mapping[str, NDArray[Any]]
    sample: Mapping[str, object] | None = None
    notes: list[str] = field(default_factory=list)
