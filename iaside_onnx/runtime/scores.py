"""From the raw output of a model to one row of scores an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from iaside_onnx.errors import ModelError
from iaside_onnx.runtime.hints import OutputHint, Quantisation
from iaside_onnx.types import OutputKind

__all__ = ["Scores", "classes_of", "single_kind"]

SingleKind = Literal["probabilities", "logits"]


def single_kind(asked: Literal["auto"] | OutputKind, hint: OutputHint | None) -> SingleKind | None:
    """What one number for each image is: as the user says, or by a sigmoid; None if unknown."""
    if asked in ("probabilities", "logits"):
        return asked
    return "probabilities" if asked == "auto" and hint == "sigmoid" else None


def classes_of(shape: list[Any], batch: int | None) -> int | None:
    """The number of scores for each image by a declared shape.

    Args:
        shape: extents, or anything else where they are dynamic; not empty.
        batch: images per call; None if dynamic.

    Returns:
        The number; 0 if the shape leaves it open; None if it is no row of scores.
    """
    if len(shape) == 1:
        # (classes,) of a single image, or one number for each image.
        if batch != 1:
            return 1
        return shape[0] if isinstance(shape[0], int) else 0
    extents = [extent for extent in shape[1:] if extent != 1]
    known = [extent for extent in extents if isinstance(extent, int) and extent > 0]
    if len(known) > 1:
        return None
    if len(extents) > 1:
        return 0
    return known[0] if known else 0 if extents else 1


@dataclass(frozen=True, slots=True)
class Scores:
    """How the raw output of a model becomes ``(n, classes)``.

    Axes of extent 1 are dropped, integers are scaled, and one number for each image becomes two
    classes: ``[1 - p, p]`` of a probability, ``[0, z]`` of a logit, whose log-softmax is the
    log-sigmoid of -z and z. What needs none of it is only viewed.

    Attributes:
        where: the model, for messages.
        output: name of the output.
        hint: the kind by the end of the graph; None if it does not tell.
        single: what one number for each image is; None if nobody says.
        quantisation: of integers; None for floats.
    """

    where: str
    output: str
    hint: OutputHint | None = None
    single: SingleKind | None = None
    quantisation: Quantisation | None = None

    def columns(self, shape: tuple[int, ...], images: int) -> int:
        """How many numbers an output of this shape has for each image.

        Raises:
            ModelError: if it is no row of classes for each image.
        """
        batched = shape[:1] == (images,)
        extents = [extent for extent in shape[batched:] if extent != 1]
        if (not batched and (images != 1 or len(shape) != 1)) or len(extents) > 1:
            raise ModelError(
                f"{self.where}: for {images} images the output {self.output!r} has the shape "
                f"{shape}, where ({images}, classes) with at least 2 classes was expected; choose "
                "another with `output_name=`, or export a classifier"
            )
        columns = math.prod(extents)
        if columns == 1:
            self._check_single()
        return columns

    def of(self, raw: Any, xp: Any = np) -> Any:
        """Scores ``(n, classes)`` of raw outputs ``(n, columns)``, in the memory of ``xp``."""
        if self.quantisation is not None:
            scale, zero_point = self.quantisation
            raw = (raw.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
        if raw.shape[1] != 1:
            return raw
        both = xp.zeros((len(raw), 2), raw.dtype)
        both[:, 1:] = raw
        if self.single == "probabilities":
            both[:, :1] = 1 - raw
        return both

    def _check_single(self) -> None:
        if self.hint in ("probabilities", "log-probabilities"):
            raise ModelError(
                f"{self.where}: its output {self.output!r} is a softmax over one class, which is "
                "always 1; export the model with a sigmoid, or with two classes"
            )
        if self.single is None:
            raise ModelError(
                f"{self.where}: its output {self.output!r} is one number for each image: give "
                "`output_kind='probabilities'` if it is the probability of class 1 of two, or "
                "`output_kind='logits'` if it is its logit (before the sigmoid); a regression "
                "cannot be audited"
            )

    def note(self, columns: int) -> str:
        """What is done to raw outputs with so many numbers for each image, in words; or nothing."""
        said = []
        if self.quantisation is not None:
            scale, zero_point = self.quantisation
            said.append(f"integers are scaled by ({scale:g}, zero point {zero_point})")
        if columns == 1:
            pair = "[1 - p, p]" if self.single == "probabilities" else "[0, z] as logits"
            said.append(f"one number for each image is taken as class 1 of two: {pair}")
        return "output: " + "; ".join(said) if said else ""
