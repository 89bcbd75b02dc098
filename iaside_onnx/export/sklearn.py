"""scikit-learn classifiers and pipelines to ONNX, from code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ExportError
from iaside_onnx.export.code import call_factory, failure, load_code
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.extras import quiet, require, version_of
from iaside_onnx.export.finishing import Exported, finish
from iaside_onnx.export.graphs import flatten_input
from iaside_onnx.export.target import ExportOptions, Target, size_of_images
from iaside_onnx.runtime import image_shape
from iaside_onnx.types import Layout

__all__ = ["export_sklearn"]

EXTRA = "sklearn"


def export_sklearn(
    source: str,
    output: str | Path,
    *,
    input_size: tuple[int, int, int] | None = None,
    layout: Layout = "NHWC",
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export a classifier of flat rows to ONNX as one of images, and compare the two.

    Args:
        source: ``package.module:factory``: a function that returns a fitted classifier or
            pipeline; or the object itself.
        output: the ONNX file to write.
        input_size: channels, height and width; None if the preprocessing has them.
        layout: order of the pixels in a row: channels last (``np.asarray(image).ravel()`` of a
            Pillow image) or first.
        **options: see `iaside_onnx.export.Target`.

    Raises:
        IasideError: the model cannot be exported, or the two differ; no file is created.
    """
    target = Target.of(output, options)
    target.progress.say(f"loading {source}")
    sklearn = require(EXTRA, "sklearn", "skl2onnx")
    found, hashes = load_code(source)
    classifier = _classifier(found, source)
    preprocess, note = target.preprocessing()
    size = size_of_images(input_size, preprocess)
    shape = image_shape(size, layout)
    features, wanted = int(np.prod(shape)), getattr(classifier, "n_features_in_", None)
    if wanted is not None and wanted != features:
        raise ExportError(
            f"{source}: takes rows of {wanted} values, but {' x '.join(map(str, size))} pixels are "
            f"{features}; give --input-size C,H,W that fits"
        )
    target.progress.say(f"converting to ONNX, opset {target.opset}")
    model = _converted(classifier, shape, target.opset, source)
    draft = Draft(
        model=model,
        reference=lambda inputs: _scores(classifier, inputs.reshape(len(inputs), -1)),
        framework="scikit-learn",
        versions={"scikit-learn": sklearn.__version__, "skl2onnx": version_of("skl2onnx")},
        source=source,
        sha256=hashes,
        layout=layout,
        size=size,
        preprocess=preprocess,
        preprocess_note=note,
        # The first output is the predicted class, which may be a string; the second, the scores.
        output=model.graph.output[1].name,
        notes=[f"classes: {_listed(classifier.classes_)}, as 0 to {len(classifier.classes_) - 1}"],
        classes=[str(name) for name in classifier.classes_],
    )  # fmt: skip
    return finish(draft, target)


def _classifier(found: Any, source: str) -> Any:
    base = require(EXTRA, "sklearn.base")
    if not isinstance(found, base.BaseEstimator) and callable(found):
        found = call_factory(found, source)
    if not isinstance(found, base.BaseEstimator) or not base.is_classifier(found):
        raise ExportError(
            f"{source} returns a {type(found).__name__}, where a scikit-learn classifier was "
            "expected"
        )
    if not hasattr(found, "classes_"):
        raise ExportError(f"{source} returns a classifier that has not been fitted; fit it first")
    if not hasattr(found, "predict_proba") and not hasattr(found, "decision_function"):
        raise ExportError(
            f"{source}: a {type(found).__name__} predicts classes without scores; use a classifier "
            "that has predict_proba"
        )
    return found


def _scores(classifier: Any, rows: NDArray[np.float32]) -> NDArray[Any]:
    if hasattr(classifier, "predict_proba"):
        return np.asarray(classifier.predict_proba(rows))
    return np.asarray(classifier.decision_function(rows))


def _options(classifier: Any) -> dict[int, dict[str, bool]]:
    """Converter options: probabilities as one tensor, not as a mapping for each row."""
    last = classifier.steps[-1][1] if hasattr(classifier, "steps") else classifier
    probable = hasattr(last, "predict_proba")
    return {id(classifier): {"zipmap": False}} if probable else {}


def _listed(classes: NDArray[Any]) -> str:
    shown = ", ".join(map(str, classes[:5]))
    return shown if len(classes) <= 5 else f"{shown}, ..."


def _converted(classifier: Any, shape: tuple[int, int, int], opset: int, source: str) -> Any:
    skl2onnx = require(EXTRA, "skl2onnx")
    types = require(EXTRA, "skl2onnx.common.data_types")
    try:
        with quiet():
            model = skl2onnx.to_onnx(
                classifier,
                initial_types=[("rows", types.FloatTensorType([None, int(np.prod(shape))]))],
                options=_options(classifier),
                target_opset={"": opset, "ai.onnx.ml": 3},
            )
    except Exception as error:
        raise failure(f"{source}: it cannot be converted to ONNX", error) from error
    if not model.graph.output[1].type.HasField("tensor_type"):
        raise ExportError(
            f"{source}: the scores of a {type(classifier).__name__} are not one tensor; fit it "
            "with probability=True, or use a classifier that has predict_proba"
        )
    flatten_input(model, shape)
    return model
