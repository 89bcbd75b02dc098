"""What the outputs of a model are, from its graph and from what it gives for some images."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from numpy.typing import NDArray

from iaside_onnx.errors import EvaluationError, ModelError
from iaside_onnx.runtime import log_probabilities, resolve_output_kind, usable_outputs
from iaside_onnx.types import OutputKind

__all__ = ["AutoOutputKind", "Outputs", "examine_outputs"]

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


def examine_outputs(
    outputs: NDArray[Any], hint: OutputKind | None, where: str, asked: AutoOutputKind = "auto"
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
        log_probabilities(usable[:1], asked)
    except EvaluationError as error:
        raise ModelError(
            f"{where}: its outputs cannot be {asked}: {error}; correct `output_kind=`"
        ) from error
    return Outputs(asked, "as given", classes)
