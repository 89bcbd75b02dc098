"""From a model's raw output to log-probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from iaside_onnx.errors import EvaluationError, ModelError
from iaside_onnx.runtime.hints import OutputHint
from iaside_onnx.types import OutputKind

__all__ = [
    "floor_of",
    "kind_of_values",
    "label_log_probabilities",
    "log_probabilities",
    "resolve_output_kind",
    "usable_outputs",
]

# How far the probabilities of the classes may be from a sum of 1, by rounding.
_SUM_TOLERANCE = 1e-2


def usable_outputs(outputs: NDArray[Any], where: str) -> NDArray[Any]:
    """The rows of outputs of a few images, ``(n, classes)``, that a working model can give.

    These have no NaN and no plus infinity, and at least one finite value. Minus infinity is the
    logarithm of 0.

    Raises:
        ModelError: if there is no such row.
    """
    impossible = np.isnan(outputs) | np.isposinf(outputs)
    usable = np.isfinite(outputs).any(axis=1) & ~impossible.any(axis=1)
    if not usable.any():
        raise ModelError(
            f"{where}: gives NaN or infinite outputs for every image tried; check the export, the "
            "precision and the preprocessing"
        )
    return np.asarray(outputs[usable])


def resolve_output_kind(
    hint: OutputHint | None, sample: NDArray[Any], where: str
) -> tuple[OutputKind, str]:
    """Decide what the outputs are, from the end of the graph and from outputs of a few images.

    Args:
        hint: the kind by the end of the graph; None if it does not tell.
        sample: raw outputs, ``(n, classes)``.
        where: the model, for the error message.

    Returns:
        The kind, and the reason in words.

    Raises:
        ModelError: if graph and values contradict each other, or the values are scores in [0, 1]
            that do not sum to 1, as a sigmoid's.
    """
    values = np.asarray(sample, dtype=np.float64)
    seen = kind_of_values(values)
    if hint in ("probabilities", "log-probabilities") and seen != hint:
        raise ModelError(
            f"{where}: the graph ends in {hint}, but the outputs of real images do not sum to 1 "
            "over the classes; say what they are with `output_kind=`"
        )
    if seen in ("probabilities", "log-probabilities"):
        told = hint == seen or (hint == "sigmoid" and seen == "probabilities")
        end = "the graph's end and its values" if told else "its values"
        return seen, f"by {end}"
    if hint == "sigmoid" or (hint != "logits" and _in_unit(values)):
        end = " but the sigmoids that the graph ends in" if hint == "sigmoid" else ""
        raise ModelError(
            f"{where}: the outputs lie in [0, 1] but do not sum to 1 over the classes, so they are "
            f"no softmax over exclusive classes{end}; say what they are with `output_kind=`: "
            "probabilities, if each is the probability of its label by itself (its logarithm is "
            "the worth), or logits, if a softmax is to make them exclusive"
        )
    return "logits", "by the graph's end and its values" if hint == "logits" else "by its values"


def _in_unit(values: NDArray[np.float64]) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def kind_of_values(values: NDArray[np.float64]) -> OutputKind:
    """What outputs ``(n, classes)`` are by their signs and sums alone."""
    if (values >= 0).all() and np.allclose(values.sum(axis=1), 1.0, atol=_SUM_TOLERANCE):
        return "probabilities"
    if (values <= 0).all() and np.allclose(np.exp(values).sum(axis=1), 1.0, atol=_SUM_TOLERANCE):
        return "log-probabilities"
    return "logits"


def floor_of(dtype: np.dtype[Any]) -> float:
    """The smallest normal number of a type, at which probabilities are floored."""
    return float(np.finfo(dtype).tiny)


def log_probabilities(
    outputs: NDArray[Any], kind: OutputKind
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log-probabilities of the classes, in nats.

    A probability can be exactly 0, by underflow of a softmax or where minus infinity masks a class.
    It is floored at the smallest normal number of the output's type, and marked.

    Args:
        outputs: raw outputs, ``(n, classes)``.
        kind: what they are.

    Returns:
        Log-probabilities, ``(n, classes)``, and where they were floored, likewise.

    Raises:
        EvaluationError: if an output is NaN or plus infinity, or is no probability or
            log-probability where ``kind`` says so.
    """
    if np.isnan(outputs).any() or np.isposinf(outputs).any():
        what = "NaN" if np.isnan(outputs).any() else "an infinity"
        raise EvaluationError(f"the model gave {what}")
    values = np.asarray(outputs, dtype=np.float64)
    floor = floor_of(outputs.dtype)
    if kind == "probabilities":
        if (values < 0).any():
            raise EvaluationError("the model gave a negative probability")
        return np.log(np.maximum(values, floor)), values < floor
    if kind == "log-probabilities" and (values > _SUM_TOLERANCE).any():
        raise EvaluationError("the model gave a log-probability above 0")
    if np.isneginf(values).all(axis=1).any():
        raise EvaluationError("the model gave minus infinity for every class")
    if kind == "logits":
        values = special.log_softmax(values, axis=1)
    floored = np.isneginf(values)
    return np.where(floored, np.log(floor), values), floored


def label_log_probabilities(
    outputs: Any, kind: OutputKind, labels: Any, xp: Any = np
) -> tuple[Any, Any]:
    """One class of `log_probabilities` for each row, computed in the memory of the outputs.

    Args:
        outputs: raw outputs, ``(n, classes)``.
        kind: what they are.
        labels: class index of each row, ``(n,)`` int64, or one for all.
        xp: the array module that the arrays belong to, NumPy or CuPy.

    Returns:
        ``(n,)`` float64 in nats, NaN where `log_probabilities` would raise; and where a value was
        floored, ``(n,)``.
    """
    floor = floor_of(outputs.dtype)
    # Exponentials in float32, for speed, and their sums in float64.
    scores = outputs.astype(xp.result_type(outputs.dtype, xp.float32), copy=False)
    peak = scores.max(axis=1)  # NaN if one of them is
    impossible = ~xp.isfinite(peak)
    values = scores[xp.arange(len(scores)), labels].astype(xp.float64)
    # Only rows that become NaN below can cause what NumPy warns of.
    with np.errstate(all="ignore"):
        if kind == "probabilities":
            impossible |= ~(scores.min(axis=1) >= 0)
            floored = values < floor
            values = xp.log(xp.maximum(values, floor))
        else:
            if kind == "logits":
                total = xp.exp(scores - peak[:, None]).sum(axis=1, dtype=xp.float64)
                # In this order: added to a large peak, the logarithm would be rounded away.
                values = values - peak - xp.log(total)
            else:
                impossible |= peak > _SUM_TOLERANCE
            floored = values == -xp.inf
            values = xp.where(floored, math.log(floor), values)
    return xp.where(impossible, xp.nan, values), floored & ~impossible
