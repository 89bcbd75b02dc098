"""TensorFlow functions to ONNX, by tf2onnx."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from onnx import ModelProto

from iaside_onnx.errors import ExportError, IasideError
from iaside_onnx.export.code import failure
from iaside_onnx.export.extras import quiet, require, version_of
from iaside_onnx.export.graphs import INPUT_NAME
from iaside_onnx.types import Layout

__all__ = ["convert", "image_size", "import_tensorflow", "versions"]

EXTRA = "keras"


def import_tensorflow() -> ModuleType:
    """Import TensorFlow and its converter, for the CPU.

    Raises:
        ExtraMissingError: one is not installed, or cannot be imported.
    """
    # TensorFlow and Keras read these once, when they are imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    return require(EXTRA, "tensorflow", "keras", "tf2onnx")


def versions() -> dict[str, str]:
    """Versions of TensorFlow, Keras and the converter."""
    tensorflow = import_tensorflow()
    return {
        "tensorflow": tensorflow.__version__,
        "keras": version_of("keras"),
        "tf2onnx": version_of("tf2onnx"),
    }


def convert(
    call: Callable[[Any], Any], shape: tuple[int, ...], dtype: Any, opset: int, where: str
) -> ModelProto:
    """Convert a function of a batch of images.

    Args:
        call: the function; it returns one tensor.
        shape: of one image, in the layout of the function.
        dtype: TensorFlow's data type of the input.
        opset: version of the ONNX operator set.
        where: the model, for the error message.

    Raises:
        ExportError: the function cannot be converted.
    """
    tf2onnx = require(EXTRA, "tf2onnx")
    try:
        with quiet():
            frozen = _frozen(call, (None, *shape), dtype)
            model, _ = tf2onnx.convert.from_graph_def(
                frozen.graph.as_graph_def(),
                input_names=[tensor.name for tensor in frozen.inputs],
                output_names=[tensor.name for tensor in frozen.outputs],
                opset=opset,
                custom_op_handlers={"Erfc": (_erfc, [])},
            )
    except IasideError:
        raise
    except Exception as error:
        raise failure(f"{where}: it cannot be converted to ONNX", error) from error
    proto: ModelProto = model
    return proto


def _frozen(call: Callable[[Any], Any], shape: tuple[int | None, ...], dtype: Any) -> Any:
    """A function with its variables and captured tensors frozen to constants.

    tf2onnx alone turns captured tensors, such as those of a Normalization layer, into inputs.
    """
    tensorflow = import_tensorflow()
    freezing = require(EXTRA, "tensorflow.python.framework.convert_to_constants")
    spec = tensorflow.TensorSpec(shape, dtype, name=INPUT_NAME)
    eagerly = tensorflow.config.functions_run_eagerly()
    # This inlines nested functions, also those that Keras would compile (grouped convolutions),
    # which no converter handles.
    tensorflow.config.run_functions_eagerly(True)
    try:
        concrete = tensorflow.function(call).get_concrete_function(spec)
    finally:
        tensorflow.config.run_functions_eagerly(eagerly)
    return freezing.convert_variables_to_constants_v2(concrete, lower_control_flow=False)


def _erfc(context: Any, node: Any, _name: str, _arguments: Any) -> None:
    """Convert Erfc, a part of GELU that ONNX does not have, to 1 - Erf."""
    one = context.make_const(f"{node.name}_one", np.array(1, np.float32))
    node.type = "Erf"
    (erf,) = node.output
    rest = context.insert_new_node_on_output("Sub", erf, name=f"{node.name}_sub")
    context.replace_inputs(rest, [one.output[0], erf])


def image_size(
    shape: tuple[int | None, ...], given: tuple[int, int, int] | None, where: str
) -> tuple[tuple[int, int, int], Layout]:
    """Size and layout of a model's input.

    Args:
        shape: of one image, as the model declares it; None for a side of any length.
        given: channels, height and width that the user asked for, if any.
        where: the model, for the error message.

    Returns:
        Channels, height and width; and the layout.

    Raises:
        ExportError: the input is not an image, its size is open and was not given, or it does not
            fit the given one.
    """
    if len(shape) != 3:
        raise ExportError(
            f"{where}: takes inputs of shape {('batch', *shape)}, where (batch, height, width, "
            "channels) was expected; wrap the model so that it takes images"
        )
    last = shape[2] in (1, 3) or shape[0] not in (1, 3)
    layout: Layout = "NHWC" if last else "NCHW"
    found = (shape[2], shape[0], shape[1]) if last else (shape[0], shape[1], shape[2])
    if given is not None and all(f in (None, g) for f, g in zip(found, given, strict=True)):
        return given, layout
    channels, height, width = found
    if given is not None or channels is None or height is None or width is None:
        sides = " x ".join("any" if side is None else str(side) for side in found)
        raise ExportError(
            f"{where}: takes images of {sides} (channels, height, width); give "
            "`input_size=(C, H, W)` that fits"
        )
    return (channels, height, width), layout
