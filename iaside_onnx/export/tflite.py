"""TensorFlow Lite to ONNX: float models, and integer ones with their quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from iaside_onnx.errors import ExportError
from iaside_onnx.export.code import failure, sha256_of
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.extras import quiet, require
from iaside_onnx.export.finishing import Exported, finish
from iaside_onnx.export.target import ExportOptions, Target
from iaside_onnx.export.tensorflow import EXTRA, image_size, import_tensorflow, versions

__all__ = ["export_tflite"]

_INTEGERS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


def export_tflite(
    source: str | Path,
    output: str | Path,
    *,
    input_size: tuple[int, int, int] | None = None,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export a TensorFlow Lite model to ONNX, and compare the two.

    Integer inputs and outputs become float32; the graph quantises and dequantises them with the
    model's own scales. So preprocessing is the same as for the float model.

    Args:
        source: a ``.tflite`` file.
        output: the ONNX file to write.
        input_size: channels, height and width, to check the model's own.
        **options: see `iaside_onnx.export.Target`.

    Raises:
        IasideError: the model cannot be exported, or the two differ; no file is created.
    """
    target = Target.of(output, options)
    target.progress.say(f"loading {source}")
    path = Path(source)
    hashes = {path.name: sha256_of(path)}
    tensorflow = import_tensorflow()
    interpreter = _interpreter(tensorflow, path)
    image = _tensor(interpreter.get_input_details(), "input", path)
    scores = _tensor(interpreter.get_output_details(), "output", path)
    size, layout = image_size(image.shape[1:], input_size, str(path))
    preprocess, note = target.preprocessing()
    target.progress.say(f"converting to ONNX, opset {target.opset}")
    draft = Draft(
        model=_converted(path, image, scores, target.opset),
        reference=lambda inputs: _run(tensorflow, path, image, scores, inputs),
        framework="TensorFlow Lite",
        versions=versions(),
        source=path.name,
        sha256=hashes,
        layout=layout,
        size=size,
        preprocess=preprocess,
        preprocess_note=note,
        step=scores.scale if scores.dtype in _INTEGERS else 0.0,
        notes=[*image.notes("input"), *scores.notes("output")],
    )
    return finish(draft, target)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An input or output: its index in the interpreter, shape, data type and quantisation."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    def quantised(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Quantise as QuantizeLinear does: round half to even, saturate."""
        if self.dtype not in _INTEGERS:
            return values.astype(self.dtype)
        dtype = np.dtype(self.dtype)
        steps = np.rint(values / np.float32(self.scale)) + self.zero_point
        return np.asarray(steps.clip(np.iinfo(dtype).min, np.iinfo(dtype).max), dtype=dtype)

    def notes(self, what: str) -> list[str]:
        """A note for the user about the quantisation, if there is one."""
        if self.dtype not in _INTEGERS:
            return []
        return [f"{what}: {self.dtype} inside, scale {self.scale:g}, zero point {self.zero_point}"]

    def dequantised(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.dtype not in _INTEGERS:
            return values
        steps = values.astype(np.float32) - np.float32(self.zero_point)
        return np.asarray(steps * np.float32(self.scale))


def _interpreter(tensorflow: Any, path: Path) -> Any:
    try:
        with quiet():
            return tensorflow.lite.Interpreter(
                str(path),
                # Delegates fuse operators, and round differently from the reference kernels.
                experimental_op_resolver_type=tensorflow.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
    except Exception as error:
        # TensorFlow's message quotes the bytes that it found.
        raise ExportError(f"{path} is not a TensorFlow Lite model, or a damaged one") from error


def _tensor(details: list[dict[str, Any]], what: str, path: Path) -> _Tensor:
    if len(details) != 1:
        names = ", ".join(str(detail["name"]) for detail in details)
        raise ExportError(
            f"{path}: the model has {len(details)} {what}s ({names}), where one was expected"
        )
    (detail,) = details
    kind = np.dtype(detail["dtype"]).name if detail["dtype"] is not np.bytes_ else "string"
    if kind not in ("float32", *_INTEGERS):
        raise ExportError(f"{path}: its {what} is of type {kind}, where numbers were expected")
    scale, zero = detail["quantization"]
    if kind in _INTEGERS and not scale:
        # No quantisation: plain bytes of an image.
        scale, zero = 1.0, 0
    shape = tuple(int(side) for side in detail["shape"])
    return _Tensor(int(detail["index"]), shape, kind, float(scale), int(zero))


def _converted(path: Path, image: _Tensor, scores: _Tensor, opset: int) -> ModelProto:
    tf2onnx = require(EXTRA, "tf2onnx")
    try:
        with quiet():
            model, _ = tf2onnx.convert.from_tflite(str(path), opset=opset)
    except Exception as error:
        raise failure(f"{path}: it cannot be converted to ONNX", error) from error
    proto: ModelProto = model
    graph = proto.graph
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    if image.dtype in _INTEGERS:
        _quantise_input(proto, image)
    if scores.dtype in _INTEGERS:
        _dequantise_output(proto, scores)
    return proto


def _quantise_input(model: ModelProto, tensor: _Tensor) -> None:
    graph = model.graph
    inner, free = graph.input[0].name, "float_image"
    graph.input[0].name = free
    graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    node = helper.make_node(
        "QuantizeLinear",
        [free, *_constants(graph, tensor, "image")],
        [inner],
        name="quantise_image",
    )
    graph.node.insert(0, node)


def _dequantise_output(model: ModelProto, tensor: _Tensor) -> None:
    graph = model.graph
    inner, free = graph.output[0].name, "float_scores"
    graph.output[0].name = free
    graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    graph.node.append(
        helper.make_node(
            "DequantizeLinear", [inner, *_constants(graph, tensor, "scores")], [free],
            name="dequantise_scores",
        )
    )  # fmt: skip


def _constants(graph: Any, tensor: _Tensor, what: str) -> list[str]:
    scale, zero = f"{what}_scale", f"{what}_zero_point"
    graph.initializer.append(helper.make_tensor(scale, TensorProto.FLOAT, [], [tensor.scale]))
    graph.initializer.append(
        helper.make_tensor(zero, _INTEGERS[tensor.dtype], [], [tensor.zero_point])
    )
    return [scale, zero]


def _run(
    tensorflow: Any, path: Path, image: _Tensor, scores: _Tensor, inputs: NDArray[np.float32]
) -> NDArray[Any]:
    """Run image by image, as the batch size may be fixed to one."""
    interpreter = _interpreter(tensorflow, path)
    outputs = []
    with quiet():
        interpreter.allocate_tensors()
        for row in image.quantised(inputs):
            interpreter.set_tensor(image.index, row[None])
            interpreter.invoke()
            outputs.append(scores.dequantised(interpreter.get_tensor(scores.index)))
    return np.concatenate(outputs)
