"""What an exporter hands to the common last step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from iaside_onnx.export.code import Hashes
from iaside_onnx.images import Preprocess
from iaside_onnx.types import Layout

__all__ = ["Draft"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A model that a framework has converted, before it is checked.

    Attributes:
        model: the graph, with all weights inside; it is changed in place.
        reference: the framework's own outputs, ``(n, classes)``, of float32 inputs in the model's
            layout, ``(n, ...)``, for any ``n``.
        framework: its name.
        versions: versions of the framework and of its converter, by package.
        source: the model as the user named it.
        sha256: hashes of the files that the model was made of.
        layout: of the input.
        size: channels, height and width of the input.
        preprocess: how pixels become input; None if it is not known.
        preprocess_note: where the preprocessing comes from.
        output: the graph output to keep; None if the graph has only one.
        notes: decisions made during the conversion, for the user.
        classes: class names in order, if the framework has them.
        step: quantisation step of the output; 0 for a float output.
    """

    model: ModelProto
    reference: Callable[[NDArray[np.float32]], NDArray[Any]]
    framework: str
    versions: dict[str, str]
    source: str
    sha256: Hashes
    layout: Layout
    size: tuple[int, int, int]
    preprocess: Preprocess | None
    preprocess_note: str
    output: str | None = None
    notes: Sequence[str] = ()
    classes: Sequence[str] = ()
    step: float = 0.0
