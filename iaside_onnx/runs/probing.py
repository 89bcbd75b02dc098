"""A look at a few images before the work: what the outputs are, and whether they make sense."""

from __future__ import annotations

import numpy as np

from iaside_onnx.analysis import chance_warning
from iaside_onnx.errors import ImageError
from iaside_onnx.images import PreparedImage, Preprocess, load_ahead
from iaside_onnx.model import Outputs, examine_outputs
from iaside_onnx.runs.options import Options
from iaside_onnx.runs.selection import Selection
from iaside_onnx.runtime import Predictor, usable_cores

__all__ = ["probe"]

_IMAGES = 16


def probe(
    predictor: Predictor, selection: Selection, spec: Preprocess, options: Options
) -> tuple[Outputs, str | None]:
    """Run a few whole images, and find out what the outputs are.

    Returns:
        What the outputs are, and a warning if the answers are no better than guessing.

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
    outputs = predictor.outputs(
        np.stack([item.pixels for item in items if isinstance(item, PreparedImage)])
    )
    classifier = predictor.classifier
    hint, where = classifier.signature.output_hint, str(classifier.facts.path)
    found = examine_outputs(outputs, hint, where, options.output_kind)
    _check_labels(selection, found.classes)
    if selection.labels is None:
        return found, None
    labels = selection.labels[rows[good]]
    warning = chance_warning(outputs.argmax(axis=1), labels, found.classes)
    return found, warning and f"a look at {len(good)} images: {warning}"


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
            "0: correct them, or map folders to classes with `classes=`"
        )
