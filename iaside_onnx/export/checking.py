"""Checks of a draft: its graph, the framework's own outputs, and ONNX Runtime against them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from iaside_onnx.errors import ExportError, IasideError
from iaside_onnx.export import graphs
from iaside_onnx.export.code import failure
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.target import Target
from iaside_onnx.images import Preprocess
from iaside_onnx.model import examine_outputs, input_transform
from iaside_onnx.runtime import (
    GraphFacts,
    Signature,
    load_classifier,
    output_hint,
)

__all__ = ["check_difference", "check_graph", "compare", "kind_of_output", "reference_outputs"]


def check_graph(model: onnx.ModelProto, target: Target) -> None:
    """Check operator set, types, operators, and that there is one input and one output.

    Raises:
        ExportError: the graph cannot be audited.
    """
    output = target.output
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset > target.opset:
        raise ExportError(
            f"{output}: opset {target.opset} was asked for, but the exporter needs at least "
            f"{opset}; give `opset={opset}`"
        )
    if any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in model.graph.initializer):
        raise ExportError(
            f"{output}: the model computes in bfloat16, which ONNX Runtime does not support on a "
            "CPU; export it in float32"
        )
    unknown = graphs.unknown_operators(model)
    if unknown:
        raise ExportError(
            f"{output}: the model has operators that ONNX does not have ({', '.join(unknown)}); "
            "replace them by standard ones"
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    outputs = [value.name for value in model.graph.output]
    for names, what in ((inputs, "input"), (outputs, "output")):
        if len(names) != 1:
            raise ExportError(
                f"{output}: the model has {len(names)} {what}s ({', '.join(names)}), where one "
                "was expected; wrap it so that the others are fixed or left out"
            )


def reference_outputs(
    draft: Draft, inputs: NDArray[np.float32], tolerance: float
) -> tuple[NDArray[Any], list[str]]:
    """The framework's own outputs, after a check that they can be compared with.

    Args:
        draft: the model.
        inputs: ``(n, ...)`` in the model's layout.
        tolerance: largest difference of an output that is no error.

    Returns:
        The outputs, ``(n, classes)``; and a note for the user if they hardly depend on the images.

    Raises:
        ExportError: they are not the scores of a classifier, or the framework does not reproduce
            them.
    """
    outputs = _run(draft, inputs)
    _check_scores(draft, outputs, len(inputs))
    _check_reproducible(draft, inputs, outputs, tolerance)
    with np.errstate(invalid="ignore"):
        spread = float(np.nan_to_num(np.ptp(outputs.astype(np.float64), axis=0)).max())
    if spread > 10 * tolerance:
        return outputs, []
    return outputs, [
        f"outputs differ by at most {spread:.1e} between these images, so comparing them says "
        "little: give `images=`"
    ]


def _run(draft: Draft, inputs: NDArray[np.float32]) -> NDArray[Any]:
    try:
        return np.asarray(draft.reference(inputs))
    except IasideError:
        raise
    except Exception as error:
        images = "1 image" if len(inputs) == 1 else f"{len(inputs)} images"
        raise failure(
            f"{draft.source}: {draft.framework} fails on a batch of {images}; any batch size must "
            "work",
            error,
        ) from error


def _check_scores(draft: Draft, outputs: NDArray[Any], images: int) -> None:
    if outputs.dtype == object:
        raise ExportError(
            f"{draft.source}: gives several things, as a dict or a tuple, where one tensor of "
            "scores was expected; wrap it so that it gives the scores alone"
        )
    if outputs.ndim in (1, 2) and outputs[:1].size == 1 and outputs.dtype.kind == "f":
        raise ExportError(
            f"{draft.source}: gives one number for each image, where one for each class was "
            "expected, also of two; wrap it so that it gives both (for p, 1 - p and p)"
        )
    if outputs.dtype.kind not in "fV":
        raise ExportError(
            f"{draft.source}: gives values of type {outputs.dtype}, where one number for each "
            "class was expected; export the scores, not the predicted class"
        )
    if outputs.ndim != 2 or len(outputs) != images or outputs.shape[1] < 2:
        raise ExportError(
            f"{draft.source}: gives the shape {outputs.shape} for {images} images, where "
            f"({images}, classes) with at least 2 classes was expected; only classifiers can be "
            "audited"
        )
    if np.isnan(outputs).any():
        raise ExportError(
            f"{draft.source}: gives NaN in {draft.framework} itself; check weights and "
            "preprocessing"
        )


def _check_reproducible(
    draft: Draft, inputs: NDArray[np.float32], outputs: NDArray[Any], tolerance: float
) -> None:
    """Check that the framework agrees with itself; otherwise agreement with it says nothing."""
    for again, first, why in (
        (
            _run(draft, inputs),
            outputs,
            "twice the same images: it draws at random; switch that off (dropout)",
        ),
        (
            _run(draft, inputs[:1]),
            outputs[:1],
            "an image alone and among others: it mixes the images of a batch",
        ),
    ):
        difference = largest_difference(again, first)
        if not difference <= tolerance / 10:
            raise ExportError(
                f"{draft.source}: {draft.framework} itself gives outputs that differ by "
                f"{difference:.1e} for {why}"
            )


def kind_of_output(model: onnx.ModelProto, expected: NDArray[Any], output: Path) -> str:
    """What the outputs are, as `examine_outputs` says; ``scores`` where they are unclear.

    Unclear are values in [0, 1] that do not sum to 1, as a sigmoid's; auditing asks for their kind.
    """
    hint = output_hint(model.graph, model.graph.output[0].name)
    try:
        return examine_outputs(expected, hint, str(output)).kind
    except IasideError:
        return "scores"


def compare(
    facts: GraphFacts,
    draft: Draft,
    pixels: NDArray[np.float32],
    spec: Preprocess,
    expected: NDArray[Any],
) -> tuple[float, Signature]:
    """Run the file on all images in one batch, and on the first alone.

    Args:
        facts: the file.
        draft: the model that it was made of.
        pixels: ``(n, channels, height, width)`` in [0, 1].
        spec: how pixels become input.
        expected: the framework's outputs, ``(n, classes)``.

    Returns:
        The largest difference from the framework's outputs; and the file's signature.

    Raises:
        IasideError: ONNX Runtime cannot run the file, or its batch size is fixed.
    """
    classifier = load_classifier(facts, input_size=draft.size, device="cpu")
    signature = classifier.signature
    if signature.batch is not None:
        raise ExportError(
            f"{facts.path}: its batch came out fixed at {signature.batch}; the model's code uses a "
            "number in place of the batch size of its input"
        )
    inputs = input_transform(spec, draft.layout, signature.dtype)(pixels)
    differences = [
        largest_difference(classifier.run(inputs), expected),
        largest_difference(classifier.run(inputs[:1]), expected[:1]),
    ]
    return float(np.max(differences)), signature


def check_difference(
    difference: float, draft: Draft, expected: NDArray[Any], target: Target
) -> None:
    """Check that ONNX Runtime and the framework agree.

    Raises:
        ExportError: they differ by more than the tolerance.
    """
    if not difference <= target.tolerance:
        raise ExportError(
            f"{target.output}: ONNX Runtime differs from {draft.framework} by "
            f"{difference:.1e} on {len(expected)} images, over {target.tolerance:g}, so nothing "
            f"was written; {_advice(draft, expected)}"
        )


def _advice(draft: Draft, expected: NDArray[Any]) -> str:
    if draft.step:
        return f"its quantised output has steps of {draft.step:.1e}: `tolerance=` may allow for one"
    largest = float(np.abs(expected).max())
    if largest > 100:
        return f"outputs are as large as {largest:.0f}: `tolerance=` may allow for their rounding"
    return "try another `opset=`, or correct what the converter gets wrong"


def largest_difference(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    """Of two arrays; infinite where the shapes differ, NaN where one of two values is NaN."""
    if actual.shape != expected.shape:
        return float("inf")
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        # Infinities of one sign are equal, and their difference is NaN.
        return float(np.where(actual == expected, 0, np.abs(actual - expected)).max())
