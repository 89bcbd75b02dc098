"""Keras to ONNX: a file, or code and a file of weights."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import ExportError, OptionError
from iaside_onnx.export.code import (
    Hashes,
    call_factory,
    failure,
    load_code,
    one_line,
    sha256_of,
)
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.extras import quiet, require
from iaside_onnx.export.finishing import Exported, finish
from iaside_onnx.export.target import ExportOptions, Target
from iaside_onnx.export.tensorflow import EXTRA, convert, image_size, import_tensorflow, versions
from iaside_onnx.images import KERAS_MODES, Preprocess
from iaside_onnx.runtime import image_shape

__all__ = ["export_keras"]

# The mode of keras.applications.FAMILY.preprocess_input, by the prefix of the architecture's name.
# Where one prefix begins with another, the longer one is first. Families of "raw" normalise inside.
_FAMILIES = {
    "convnext": "raw",
    "densenet": "torch",
    "efficientnet": "raw",
    "inception": "tf",
    "mobilenetv3": "raw",
    "mobilenet": "tf",
    "nasnet": "tf",
    "resnet50v2": "tf",
    "resnet101v2": "tf",
    "resnet152v2": "tf",
    "resnet": "caffe",
    "vgg": "caffe",
    "xception": "tf",
}
_SUFFIXES = (".keras", ".h5", ".hdf5")


def export_keras(
    source: str | Path,
    output: str | Path,
    *,
    mode: str | None = None,
    weights: str | Path | None = None,
    input_size: tuple[int, int, int] | None = None,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export a Keras model to ONNX, and compare the two.

    Args:
        source: a ``.keras`` or ``.h5`` file; or ``package.module:factory``, a function that returns
            a ``keras.Model``.
        output: the ONNX file to write.
        mode: how images are normalised, ``caffe``, ``tf``, ``torch`` or ``raw``; by default
            derived from the architecture's name.
        weights: a file for ``load_weights``, where the source is code.
        input_size: channels, height and width, where the model leaves them open.
        **options: see `iaside_onnx.export.Target`.

    Raises:
        IasideError: the model cannot be exported, or the two differ; no file is created.
    """
    target = Target.of(output, options)
    target.progress.say(f"loading {source}")
    if mode is not None and (mode not in KERAS_MODES or target.preprocess is not None):
        raise OptionError(
            f"--mode {mode}: one of {', '.join(KERAS_MODES)} was expected, and no --preprocess "
            "beside it"
        )
    import_tensorflow()
    model, hashes = _load(str(source), None if weights is None else Path(weights))
    where = str(source)
    shape = _input_shape(model, where)
    size, layout = image_size(shape, input_size, where)
    spec, note = _preprocess(model, mode, target)
    fixed = image_shape(size, layout)

    def reference(inputs: NDArray[np.float32]) -> NDArray[Any]:
        with quiet():
            return np.asarray(model(inputs, training=False))

    target.progress.say(f"converting to ONNX, opset {target.opset}")
    draft = Draft(
        model=convert(lambda image: model(image, training=False), fixed, "float32", target.opset,
                      where),
        reference=reference,
        framework="Keras",
        versions=versions(),
        source=where if ":" in where else Path(where).name,
        sha256=hashes,
        layout=layout,
        size=size,
        preprocess=spec,
        preprocess_note=note,
    )  # fmt: skip
    return finish(draft, target)


def _load(source: str, weights: Path | None) -> tuple[Any, Hashes]:
    path = Path(source)
    if ":" in source and not path.exists():
        return _from_code(source, weights)
    if weights is not None:
        raise OptionError("--weights goes with code, package.module:factory, not with a file")
    if not path.is_file():
        found = "is a folder; is it a SavedModel?" if path.is_dir() else "does not exist"
        raise ExportError(f"{path} {found}; give a .keras or .h5 file, or package.module:factory")
    if path.suffix.lower() not in _SUFFIXES:
        raise ExportError(
            f"{path} is not a Keras file ({', '.join(_SUFFIXES)}); a pickle is not loaded, as it "
            "runs code from its author"
        )
    keras = require(EXTRA, "keras")
    if path.suffix.lower() == ".keras" and not zipfile.is_zipfile(path):
        raise ExportError(f"{path} is not a Keras model, or a damaged one; save it again")
    try:
        with quiet():
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        text = one_line(error)
        if "ambda" in text or "unsafe" in text:
            raise ExportError(
                f"{path} holds Python code (a Lambda layer), which is not run; give the code that "
                "makes the model, as package.module:factory"
            ) from error
        if any(phrase in text for phrase in ("Could not locate", "could not be deserialized")):
            raise failure(
                f"{path} has custom layers; give the code that makes the model, as "
                "package.module:factory", error,
            ) from error  # fmt: skip
        raise failure(f"{path} is not a Keras model, or a damaged one", error) from error
    return model, {path.name: sha256_of(path)}


def _from_code(source: str, weights: Path | None) -> tuple[Any, Hashes]:
    keras = require(EXTRA, "keras")
    found, hashes = load_code(source)
    if not isinstance(found, keras.Model) and callable(found):
        found = call_factory(found, source)
    if not isinstance(found, keras.Model):
        raise ExportError(
            f"{source} returns a {type(found).__name__}, where a keras.Model was expected"
        )
    if weights is None:
        return found, hashes
    try:
        with quiet():
            found.load_weights(weights)
    except Exception as error:
        raise failure(f"{weights} does not fit the model", error) from error
    return found, {**hashes, weights.name: sha256_of(weights)}


def _input_shape(model: Any, where: str) -> tuple[int | None, ...]:
    for ends, what in (("inputs", "inputs"), ("outputs", "outputs")):
        found = getattr(model, ends, None)
        if not found:
            raise ExportError(
                f"{where}: the model has not been built, so its {what} are not known; call it once "
                "on an image in the code that makes it"
            )
        if len(found) != 1:
            names = ", ".join(tensor.name for tensor in found)
            raise ExportError(
                f"{where}: the model has {len(found)} {what} ({names}), where one was expected; "
                "wrap it so that the others are fixed or left out"
            )
    return tuple(model.inputs[0].shape[1:])


def _preprocess(model: Any, mode: str | None, target: Target) -> tuple[Preprocess | None, str]:
    given, note = target.preprocessing()
    if given is not None:
        return given, note
    if mode is not None:
        return KERAS_MODES[mode], f"keras:{mode}, as given"
    keras = require(EXTRA, "keras")
    names, first = _beginning(model, keras)
    if isinstance(first, keras.layers.Rescaling | keras.layers.Normalization):
        if _takes_bytes(first, keras):
            return KERAS_MODES["raw"], f"keras:raw, as the model begins with {first.name}"
    elif isinstance(first, keras.layers.Layer) and model.inputs[0].shape[-1] != 1:
        for name in names:
            family = name.lower().replace("_", "").replace("-", "")
            known = next((m for begin, m in _FAMILIES.items() if family.startswith(begin)), None)
            # Models of raw families begin with a normalising layer, unless the user removed it.
            if known is not None and known != "raw":
                return KERAS_MODES[known], f"keras:{known}, guessed from the name {name!r}"
    return None, (
        "it is not known, so auditing would only scale pixels; give --mode or --preprocess"
    )


def _beginning(model: Any, keras: Any) -> tuple[list[str], Any]:
    """Find the first operation that changes an image.

    It is a layer that normalises or has weights; or an operation that is no layer, such as the
    arithmetic of preprocess_input within a model.

    Returns:
        The names of the nested models that begin before it, outermost first; and the operation,
        None if there is none.
    """
    names = []
    for step in _steps(model, keras):
        if isinstance(step, keras.Model):
            names.append(step.name)
        elif (
            not isinstance(step, keras.layers.Layer)
            or isinstance(step, keras.layers.Rescaling | keras.layers.Normalization)
            or step.weights
        ):
            return names, step
    return names, None


def _takes_bytes(layer: Any, keras: Any) -> bool:
    """Whether a normalising layer expects 0..255: it divides by much, or subtracts much."""
    if isinstance(layer, keras.layers.Rescaling):
        return float(np.max(layer.scale)) < 1 / 64
    return float(np.max(np.asarray(layer.mean))) > 2


def _steps(model: Any, keras: Any) -> Iterator[Any]:
    """A model and its operations in order, with those of nested models in their place."""
    yield model
    for step in getattr(model, "operations", None) or model.layers:
        if isinstance(step, keras.Model):
            yield from _steps(step, keras)
        else:
            yield step
