"""What the outputs of a model are, from its graph and from what it gives for some images."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import EvaluationError, ModelError, OptionError
from iaside_onnx.runtime import (
    OutputHint,
    kind_of_values,
    log_probabilities,
    resolve_output_kind,
    usable_outputs,
)
from iaside_onnx.types import LAYOUTS, OUTPUT_KINDS, OutputKind

__all__ = ["AutoOutputKind", "Outputs", "check_choices", "examine_outputs"]

AutoOutputKind: TypeAlias = Literal["auto"] | OutputKind


class Outputs(NamedTuple):
    """What the outputs are.

    Attributes:
        kind: logits, probabilities or log-probabilities.
        reason: how that was found, in words.
        classes: number of classes.
    """

    kind: OutputKind
    reason: str
    classes: int


def check_choices(*, input_layout: object, output_kind: object) -> None:
    """Check what a Python program says of a model.

    Raises:
        OptionError: if a value is none of the words.
    """
    for name, value, words in (
        ("input layout", input_layout, LAYOUTS),
        ("output kind", output_kind, ("auto", *OUTPUT_KINDS)),
    ):
        if value not in words and not (name == "input layout" and value is None):
            raise OptionError(f"unknown {name} {value!r}: choose from {', '.join(words)}")


def examine_outputs(
    outputs: NDArray[Any], hint: OutputHint | None, where: str, asked: AutoOutputKind = "auto"
) -> Outputs:
    """Find out what the outputs of a model are, and whether they make sense.

    Args:
        outputs: raw outputs for a few images, ``(n, classes)``.
        hint: what the end of the graph says; None if it does not tell.
        where: the model, for messages.
        asked: what the user says that they are.

    Raises:
        ModelError: if nothing is finite, or the outputs cannot be what the graph or the user says.
    """
    usable = usable_outputs(outputs, where)
    classes = outputs.shape[1]
    if asked == "auto":
        return Outputs(*resolve_output_kind(hint, usable, where), classes)
    try:
        log_probabilities(usable, asked)
    except EvaluationError as error:
        raise ModelError(
            f"{where}: its outputs cannot be {asked}: {error}; correct `output_kind=`"
        ) from error
    reason = "as given"
    if asked == "probabilities" and kind_of_values(usable.astype(np.float64)) != asked:
        reason += "; they do not sum to 1, so each is that of its label by itself"
    return Outputs(asked, reason, classes)
