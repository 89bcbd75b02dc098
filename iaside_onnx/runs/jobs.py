"""A job: what is wanted of some images, as one shard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.game import Design
from iaside_onnx.types import Coalitions

__all__ = ["OWN_ANSWER", "Job"]

OWN_ANSWER = -1
"""The label that stands for the model's own answer on the whole image."""


# Arrays cannot be compared for equality.
@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What is wanted of some images.

    Attributes:
        number: number of the shard.
        positions: positions of the images in the source, ``(n,)``.
        draws: their positions in the order of the draw, ``(n,)``.
        labels: class whose log-probability is the worth, ``(n,)``; `OWN_ANSWER` for the model's.
        start: first slot of the design.
        stop: the slot behind the last one.
        whole: whether the image as it is is evaluated too.
        partners: position of the image that is the baseline of each image, ``(n,)``; None where the
            baseline is no image.
        masks: coalitions in place of those of the design, ``(n, stop - start)``; the empty and the
            full coalition must be in the same columns for all images.
    """

    number: int
    positions: NDArray[np.int64]
    draws: NDArray[np.int64]
    labels: NDArray[np.int64]
    start: int
    stop: int
    whole: bool = True
    partners: NDArray[np.int64] | None = None
    masks: Coalitions | None = None

    def coalitions(self, design: Design, row: int) -> Coalitions:
        """The coalitions of one of its images, ``(stop - start,)``."""
        if self.masks is not None:
            return np.asarray(self.masks[row])
        return design.coalitions(int(self.draws[row]), self.start, self.stop)

    def reads(self, row: int) -> list[int]:
        """Positions of the images that evaluating one of its images takes, itself first."""
        own = [int(self.positions[row])]
        return own if self.partners is None else [*own, int(self.partners[row])]
