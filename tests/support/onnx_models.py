"""Tiny random classifiers, written with onnx.helper: every layout, type and ending that exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Ending: TypeAlias = Literal["logits", "softmax", "log-softmax", "log-of-softmax", "sigmoid"]

_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
}
_FILTERS = 4


@dataclass(frozen=True)
class Net:
    """A convolution of 3 x 3, ReLU, and one linear layer over positions or over their average.

    Attributes:
        size: channels, height and width of an image.
        classes: number of classes.
        layout: of the input.
        dtype: of the input; uint8 inputs are divided by 255 inside.
        weights: float32, or float16 for arithmetic and output of 16 bits.
        batch: images a call; None is any.
        open_size: height and width are left open, and positions are averaged.
        ending: what is made of the logits.
        tail: operators that hand the output on.
        gain: factor of the logits.
        seed: of the weights.
    """

    size: tuple[int, int, int] = (1, 8, 8)
    classes: int = 5
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: str = "float32"
    weights: str = "float32"
    batch: int | None = None
    open_size: bool = False
    ending: Ending = "logits"
    tail: tuple[Literal["Identity", "Cast", "Reshape"], ...] = ()
    gain: float = 1.0
    seed: int = 0

    def model(self) -> onnx.ModelProto:
        """The whole model."""
        nodes = [*self._head(), *self._body(), *_end(self.ending, self.tail)]
        channels, height, width = self.size
        sides: list[int | str] = ["h", "w"] if self.open_size else [height, width]
        axes = [channels, *sides] if self.layout == "NCHW" else [*sides, channels]
        image = helper.make_tensor_value_info(
            "image", _TYPES[self.dtype], [self.batch or "n", *axes]
        )
        out = helper.make_tensor_value_info(
            "out", _TYPES[self.weights], [self.batch or "n", self.classes]
        )
        return make_model(nodes, [image], [out], self._weights())

    def save(self, path: Path) -> Path:
        """Write the model to a file."""
        onnx.save(self.model(), path)
        return path

    def _head(self) -> list[NodeProto]:
        nodes, name = [], "image"
        if self.dtype != self.weights:
            nodes.append(helper.make_node("Cast", [name], ["cast"], to=_TYPES[self.weights]))
            name = "cast"
        if self.dtype == "uint8":
            nodes.append(helper.make_node("Div", [name, "top"], ["unit"]))
            name = "unit"
        if self.layout == "NHWC":
            nodes.append(helper.make_node("Transpose", [name], ["first"], perm=[0, 3, 1, 2]))
            name = "first"
        return [*nodes, helper.make_node("Identity", [name], ["x"])]

    def _body(self) -> list[NodeProto]:
        nodes = [
            helper.make_node("Conv", ["x", "filters", "bias"], ["conv"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["conv"], ["relu"]),
        ]
        name = "relu"
        if self.open_size:
            nodes.append(helper.make_node("GlobalAveragePool", [name], ["pool"]))
            name = "pool"
        nodes.append(helper.make_node("Flatten", [name], ["flat"]))
        return [*nodes, helper.make_node("Gemm", ["flat", "matrix", "offset"], ["logits"])]

    def _weights(self) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng([self.seed, 77])
        channels, height, width = self.size
        inputs = _FILTERS if self.open_size else _FILTERS * height * width
        # Averaging over positions shrinks the differences between images.
        gain = self.gain * (6.0 if self.open_size else 2.0 / np.sqrt(inputs))
        values = {
            "filters": rng.standard_normal((_FILTERS, channels, 3, 3)),
            "bias": rng.standard_normal(_FILTERS) * 0.3,
            "matrix": rng.standard_normal((inputs, self.classes)) * gain,
            "offset": rng.standard_normal(self.classes) * 0.5,
        }
        if self.dtype == "uint8":
            values["top"] = np.array(255.0)
        return {name: value.astype(self.weights) for name, value in values.items()}


def _end(ending: Ending, tail: Sequence[str]) -> list[NodeProto]:
    made: dict[Ending, list[tuple[str, dict[str, Any]]]] = {
        "logits": [],
        "softmax": [("Softmax", {"axis": 1})],
        "log-softmax": [("LogSoftmax", {"axis": 1})],
        "log-of-softmax": [("Softmax", {"axis": 1}), ("Log", {})],
        "sigmoid": [("Sigmoid", {})],
    }
    extra: dict[str, dict[str, Any]] = {"Cast": {"to": TensorProto.FLOAT}}
    steps = [*made[ending], *((op, extra.get(op, {})) for op in tail)]
    names = ["logits", *(f"end{i}" for i in range(len(steps)))]
    nodes = []
    for (op, attributes), before, after in zip(steps, names, names[1:], strict=False):
        inputs = [before, "same"] if op == "Reshape" else [before]
        if op == "Reshape":
            same = numpy_helper.from_array(np.array([0, -1], dtype=np.int64))
            nodes.append(helper.make_node("Constant", [], ["same"], value=same))
        nodes.append(helper.make_node(op, inputs, [after], **attributes))
    if not steps:
        # The last operator of plain logits is Gemm itself, as exporters leave it.
        return []
    nodes[-1].output[0] = "out"
    return nodes


def make_model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, NDArray[Any]] | None = None,
) -> onnx.ModelProto:
    """A checked model; an output named ``out`` that no node makes is that of the last node."""
    if all("out" not in node.output for node in nodes) and any(o.name == "out" for o in outputs):
        nodes[-1].output[0] = "out"
    tensors = [numpy_helper.from_array(v, name) for name, v in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), tensors)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="tests"
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def value(name: str, shape: Sequence[int | str | None], dtype: str = "float32") -> Any:
    """Name, type and shape of an input or output."""
    return helper.make_tensor_value_info(name, _TYPES[dtype], list(shape))
