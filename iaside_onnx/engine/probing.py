"""A look at a few images before the work: what the outputs are, and whether they make sense."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.engine.accuracy import chance_warning
from iaside_onnx.engine.options import Options
from iaside_onnx.engine.progress import Progress
from iaside_onnx.engine.selection import Selection
from iaside_onnx.errors import EvaluationError, ImageError, ModelError
from iaside_onnx.images import PreparedImage, Preprocess, load_ahead
from iaside_onnx.runtime import (
    Classifier,
    WorthEvaluator,
    log_probabilities,
    resolve_output_kind,
    usable_cores,
    usable_outputs,
)
from iaside_onnx.types import OutputKind

__all__ = ["probe"]

_IMAGES = 16


def probe(
    classifier: Classifier,
    evaluator: WorthEvaluator,
    selection: Selection,
    spec: Preprocess,
    options: Options,
    progress: Progress,
) -> tuple[int, str]:
    """Run a few whole images, settle the kind of the outputs, and warn early if they look wrong.

    Sets the evaluator's ``output_kind``.

    Returns:
        The number of classes, and a line that says what the outputs are and how that was found.

    Raises:
        ModelError: if the model gives nothing finite, or its outputs cannot be understood.
        ImageError: if none of the images can be read, or labels lie outside of the classes.
    """
    n = selection.positions.size
    rows = np.unique(np.linspace(0, n - 1, min(n, _IMAGES)).astype(np.int64))
    positions = selection.positions[rows].tolist()
    items = list(load_ahead(selection.source, positions, spec, usable_cores(), len(positions)))
    good = [i for i, item in enumerate(items) if isinstance(item, PreparedImage)]
    if not good:
        raise next(item for item in items if isinstance(item, ImageError))
    outputs = evaluator.raw_outputs(
        np.stack([i.pixels for i in items if isinstance(i, PreparedImage)])
    )
    where = str(classifier.facts.path)
    usable = usable_outputs(outputs, where)
    classes = outputs.shape[1]
    _check_labels(selection, classes)
    if options.output_kind == "auto":
        kind, reason = resolve_output_kind(classifier.signature.output_hint, usable, where)
        evaluator.output_kind = kind
    else:
        evaluator.output_kind, reason = options.output_kind, "as given"
        _check_kind(options.output_kind, usable, where)
    if selection.labels is not None:
        labels = selection.labels[rows[good]]
        warning = chance_warning(outputs.argmax(axis=1), labels, classes)
        if warning:
            progress.warn(f"a look at {len(good)} images: {warning}")
    return classes, f"outputs: {evaluator.output_kind}, {reason}"


def _check_kind(kind: OutputKind, outputs: NDArray[Any], where: str) -> None:
    try:
        log_probabilities(outputs[:1], kind)
    except EvaluationError as error:
        raise ModelError(
            f"{where}: its outputs cannot be {kind}: {error}; correct --output-kind"
        ) from error


def _check_labels(selection: Selection, classes: int) -> None:
    if selection.labels is None:
        return
    outside = np.flatnonzero((selection.labels < 0) | (selection.labels >= classes))
    if outside.size:
        first = int(outside[0])
        name = selection.source.ids[int(selection.positions[first])]
        raise ImageError(
            f"{outside.size} of {selection.labels.size} labels are not among the model's {classes} "
            f"classes, the first is {selection.labels[first]} of image {name}; labels count from "
            "0: correct them, or map folders to classes with --classes"
        )
