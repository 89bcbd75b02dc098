"""A signature of a TensorFlow SavedModel to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ExportError
from iaside_onnx.export.code import failure, sha256_of
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.extras import quiet
from iaside_onnx.export.finishing import Exported, finish
from iaside_onnx.export.target import ExportOptions, Target
from iaside_onnx.export.tensorflow import convert, image_size, import_tensorflow, versions
from iaside_onnx.runtime import image_shape

__all__ = ["export_saved_model"]


def export_saved_model(
    folder: str | Path,
    output: str | Path,
    *,
    signature: str = "serving_default",
    output_name: str | None = None,
    input_size: tuple[int, int, int] | None = None,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export a SavedModel to ONNX, and compare the two.

    Args:
        folder: the folder that holds ``saved_model.pb``.
        output: the ONNX file to write.
        signature: name of the model's function to export.
        output_name: name of its output to export, if it has several.
        input_size: channels, height and width, where the model leaves them open.
        **options: see `iaside_onnx.export.Target`.

    Raises:
        IasideError: the model cannot be exported, or the two differ; no file is created.
    """
    target = Target.of(output, options)
    target.progress.say(f"loading {folder}")
    path = Path(folder)
    if not (path / "saved_model.pb").is_file():
        raise ExportError(f"{path}: there is no saved_model.pb; give the folder of a SavedModel")
    tensorflow = import_tensorflow()
    try:
        with quiet():
            loaded = tensorflow.saved_model.load(str(path))
    except Exception as error:
        raise failure(f"{path}: it cannot be loaded as a SavedModel", error) from error
    function = _signature(loaded, signature, path)
    name, spec = _input(function, path)
    chosen = _output(function, output_name, path)
    size, layout = image_size(tuple(spec.shape[1:]), input_size, str(path))
    fixed = image_shape(size, layout)
    preprocess, note = target.preprocessing()

    def call(image: Any) -> Any:
        return function(**{name: image})[chosen]

    def reference(inputs: NDArray[np.float32]) -> NDArray[Any]:
        with quiet():
            values = inputs.round() if spec.dtype == tensorflow.uint8 else inputs
            return np.asarray(call(tensorflow.cast(values, spec.dtype)))

    target.progress.say(f"converting to ONNX, opset {target.opset}")
    draft = Draft(
        model=convert(call, fixed, spec.dtype, target.opset, str(path)),
        reference=reference,
        framework="TensorFlow",
        versions=versions(),
        source=path.resolve().name,
        sha256={path.resolve().name: sha256_of(path)},
        layout=layout,
        size=size,
        preprocess=preprocess,
        preprocess_note=note,
        notes=[f"signature: {signature}, output {chosen}"],
    )  # fmt: skip
    return finish(draft, target)


def _signature(loaded: Any, name: str, path: Path) -> Any:
    signatures = dict(getattr(loaded, "signatures", {}))
    if name in signatures:
        return signatures[name]
    if not signatures:
        raise ExportError(
            f"{path}: has no signature, so its inputs and outputs are not known; save it again "
            "with signatures, or with model.export() of Keras"
        )
    raise ExportError(
        f"{path}: has no signature {name!r}; choose one of {', '.join(signatures)} with --signature"
    )


def _input(function: Any, path: Path) -> tuple[str, Any]:
    _, inputs = function.structured_input_signature
    if len(inputs) != 1:
        raise ExportError(
            f"{path}: the signature takes {len(inputs)} inputs ({', '.join(inputs)}), where one "
            "batch of images was expected; choose another with --signature"
        )
    ((name, spec),) = inputs.items()
    if spec.shape.rank is None:
        raise ExportError(
            f"{path}: the signature has no shape for its input {name!r}; save it with one"
        )
    return name, spec


def _output(function: Any, name: str | None, path: Path) -> str:
    outputs = function.structured_outputs
    listed = ", ".join(f"{n} {s.dtype.name} {tuple(s.shape)}" for n, s in outputs.items())
    if name is not None:
        if name not in outputs:
            raise ExportError(f"{path}: has no output {name!r}; it has {listed}")
        return name
    scores = [n for n, spec in outputs.items() if spec.dtype.is_floating]
    if not scores:
        raise ExportError(
            f"{path}: no output holds floating-point numbers ({listed}), where one score for each "
            "class was expected; save the model with its scores as an output"
        )
    if len(scores) > 1:
        raise ExportError(
            f"{path}: several outputs may be the classes ({listed}); choose one with --output-name"
        )
    return str(scores[0])
