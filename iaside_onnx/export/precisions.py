"""FP16 and INT8 by the tools of ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from iaside_onnx.errors import ExportError, IasideError, ModelError
from iaside_onnx.export.code import failure, one_line
from iaside_onnx.export.extras import quiet, require
from iaside_onnx.runtime import open_session

__all__ = ["INT8_OPSET", "Batches", "to_fp16", "to_int8"]

Batches = Callable[[], Iterator[NDArray[Any]]]
"""Starts the calibration images again: batches of model input."""

INT8_OPSET = 13
"""The first operator set with a scale for each channel of a quantised tensor."""

EXTRA = "quantize"
_SOFTMAX = ("Softmax", "LogSoftmax")


def to_fp16(model: ModelProto, name: str) -> ModelProto:
    """Convert a model to FP16, with inputs and outputs of the types that they have.

    Args:
        model: the model, which may be changed.
        name: its name in error messages.

    Raises:
        ExportError: if the tool of ONNX Runtime fails.
    """
    # Not onnxconverter_common, from which this one is made: told to leave Cast and another operator
    # alone, that one goes on for ever.
    float16 = require("cpu", "onnxruntime.transformers.float16")
    _list_images_only(model)
    try:
        with quiet():
            made: ModelProto = float16.convert_float_to_float16(model, keep_io_types=True)
    except Exception as error:
        raise failure(f"{name}: it cannot be converted to FP16", error) from error
    return made


def _list_images_only(model: ModelProto) -> None:
    """Drop weights from the list of inputs, which keep their type; needs IR version 4."""
    weights = {tensor.name for tensor in model.graph.initializer}
    images = [value for value in model.graph.input if value.name not in weights]
    if len(images) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(images)
        model.ir_version = max(model.ir_version, 4)


def to_int8(
    path: Path, name: str, input_name: str, batches: Batches, scratch: Path
) -> tuple[ModelProto, list[str]]:
    """Quantise a model to INT8: static, QDQ, with a scale for each channel where that works.

    Args:
        path: the model, of opset 13 or later.
        name: its name in error messages.
        input_name: name of its input.
        batches: gives the calibration images.
        scratch: folder for temporary files.

    Returns:
        The model; and notes for the user.

    Raises:
        IasideError: if it cannot be quantised, or the images cannot be read.
    """
    shapes = require(EXTRA, "onnxruntime.quantization.shape_inference", "sympy")
    prepared = scratch / "prepared.onnx"
    with _tools(name, scratch):
        shapes.quant_pre_process(str(path), str(prepared))
        kept = _last_softmax(prepared)
    quantise = partial(_quantised, prepared, name, input_name, batches, scratch, kept)
    try:
        return quantise(per_channel=True), []
    except (ExportError, ModelError) as error:
        cause = one_line(error.__cause__ or error)
    return quantise(per_channel=False), [
        "weights have one scale for a whole tensor, as the tools of ONNX Runtime fail with one for "
        f"each channel ({cause})"
    ]


def _quantised(
    prepared: Path,
    name: str,
    input_name: str,
    batches: Batches,
    scratch: Path,
    kept: Sequence[str],
    *,
    per_channel: bool,
) -> ModelProto:
    """Quantise a prepared model, and check that ONNX Runtime loads the result.

    Raises:
        ExportError: if the tool fails.
        ModelError: if ONNX Runtime refuses the result.
    """
    quantization = require(EXTRA, "onnxruntime.quantization", "sympy")
    made = scratch / "int8.onnx"
    with _tools(name, scratch):
        quantization.quantize_static(
            str(prepared),
            str(made),
            _reader(quantization, input_name, batches()),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=kept,
        )
    try:
        open_session(made, "cpu")
    except ModelError as error:
        raise ModelError(str(error).replace(str(made), f"{name} in INT8")) from error
    return onnx.load(str(made))


@contextmanager
def _tools(name: str, scratch: Path) -> Iterator[None]:
    """Run tools of ONNX Runtime, whose temporary files go into a folder that is removed."""
    before, tempfile.tempdir = tempfile.tempdir, str(scratch)
    try:
        with quiet():
            yield
    except IasideError:
        # From reading images, which the tools do inside.
        raise
    except Exception as error:
        raise failure(f"{name}: it cannot be quantised to INT8", error) from error
    finally:
        tempfile.tempdir = before


def _last_softmax(path: Path) -> list[str]:
    """Names of softmax nodes that make an output; nodes without a name are given one.

    Quantised in steps of 1/256, most probabilities would be exactly 0 and have no logarithm.
    """
    model = onnx.load(str(path))
    makers = {output: node for node in model.graph.node for output in node.output}
    ends = [makers.get(output.name) for output in model.graph.output]
    found = [node for node in ends if node is not None and node.op_type in _SOFTMAX]
    for number, node in enumerate(found):
        node.name = node.name or f"last_softmax_{number}"
    onnx.save(model, str(path))
    return [node.name for node in found]


def _reader(quantization: Any, name: str, batches: Iterator[NDArray[Any]]) -> Any:
    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # untyped base
        """Calibration images in the interface of ONNX Runtime's tools."""

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(batches, None)
            return None if batch is None else {name: batch}

    return Reader()
