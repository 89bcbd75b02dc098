"""Small classifiers of images of many operator sets, made with onnx alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["GRAPHS", "WRONG", "save_graph"]

CLASSES = 5
SIDE = 8


class Builder:
    """Collects the nodes and weights of a graph.

    Attributes:
        outputs: shapes, without the batch, of outputs besides the scores.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.outputs: dict[str, list[int]] = {}
        self.kind = TensorProto.FLOAT
        self._rng = np.random.default_rng(0)

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node without a name, as many exporters do, and return its output."""
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def array(self, values: NDArray[Any] | np.generic) -> str:
        """Add a constant."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def random(self, *shape: int) -> str:
        """Add weights that keep the size of activations."""
        fan = int(np.prod(shape[1:])) or 1
        values = self._rng.normal(0, 1 / np.sqrt(fan), shape)
        return self.array(values.astype(np.float32))

    def floats(self, *values: float) -> str:
        """Add a constant of float32."""
        return self.array(np.array(values, np.float32))

    def whole(self, *values: int) -> str:
        """Add a constant of int64."""
        return self.array(np.array(values, np.int64))

    def conv(self, x: str, before: int, after: int, group: int = 1) -> str:
        """Add a convolution of 3 x 3 that keeps the size."""
        w = self.random(after, before // group, 3, 3)
        b = self.array(np.linspace(-0.1, 0.1, after, dtype=np.float32))
        return self("Conv", x, w, b, kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=group)

    def norm(self, x: str, channels: int) -> str:
        """Add a batch normalisation."""
        ones = self.array(np.linspace(0.5, 1.5, channels, dtype=np.float32))
        zeros = self.array(np.linspace(-0.2, 0.2, channels, dtype=np.float32))
        return self("BatchNormalization", x, ones, zeros, zeros, ones)

    def gemm(self, x: str, before: int) -> str:
        """Add the scores, of flat rows."""
        # Scores that are spread, and that brightness alone does not decide.
        w = self._rng.normal(0, 1 / np.sqrt(before), (CLASSES, before))
        w = (w - w.mean(axis=1, keepdims=True)).astype(np.float32)
        b = self.array(np.linspace(-0.1, 0.1, CLASSES, dtype=np.float32))
        return self("Gemm", x, self.array(w), b, transB=1, alpha=8.0)


def plain(b: Builder) -> str:
    x = b("Relu", b.norm(b.conv("image", 1, 8), 8))
    x = b("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return b.gemm(b("Flatten", x), 8 * 16)


def extremes(b: Builder) -> str:
    x = b.conv("image", 1, 6)
    x = b("Min", b("Max", x, b.floats(-0.3)), b.floats(0.8))
    x = b("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return b.gemm(b("Flatten", x), 6 * 16)


def upsample(b: Builder) -> str:
    x = b("Upsample", b.conv("image", 1, 4), b.floats(1, 1, 2, 2), mode="nearest")
    x = b("MaxPool", b("Relu", b.conv(x, 4, 8)), kernel_shape=[4, 4], strides=[4, 4])
    return b.gemm(b("Flatten", x), 8 * 16)


def resize_10(b: Builder) -> str:
    x = b("Resize", b.conv("image", 1, 4), b.floats(1, 1, 2, 2), mode="nearest")
    x = b("MaxPool", b("Relu", b.conv(x, 4, 8)), kernel_shape=[4, 4], strides=[4, 4])
    return b.gemm(b("Flatten", x), 8 * 16)


def resize_linear(b: Builder) -> str:
    x = b("Resize", b.conv("image", 1, 4), b.floats(1, 1, 2, 2), mode="linear")
    x = b("Relu", b.conv(x, 4, 8))
    return b.gemm(b("Flatten", x), 8 * 256)


def hardmax(b: Builder) -> str:
    """What onnx converts wrongly: Hardmax was of all axes from one on, and became of one."""
    x = b("Hardmax", b.conv("image", 1, 4), axis=1)
    return b.gemm(b("Flatten", x), 4 * 64)


def depthwise(b: Builder) -> str:
    x = b("Clip", b.conv("image", 1, 8), b.array(np.float32(0)), b.array(np.float32(6)))
    x = b("Relu", b.conv(x, 8, 8, group=8))
    x = b("CumSum", x, b.array(np.int64(3)))
    x = b("MaxPool", b.conv(x, 8, 6), kernel_shape=[2, 2], strides=[2, 2])
    return b("Softmax", b.gemm(b("Flatten", x), 6 * 16))


def residual(b: Builder) -> str:
    x = b("Relu", b.norm(b.conv("image", 1, 8), 8))
    x = b("Relu", b("Add", x, b.conv(x, 8, 8)))
    features = b("Flatten", b("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    scores = b.gemm(features, 8 * 16)
    # Tensors in the middle of the graph that are outputs too.
    b.outputs = {features: [8 * 16], x: [8, SIDE, SIDE]}
    return scores


def resize_13(b: Builder) -> str:
    x = b.conv("image", 1, 4)
    x = b("Resize", x, "", b.floats(1, 1, 2, 2), mode="linear")
    x = b("Resize", b("Relu", b.conv(x, 4, 6)), "", "", b("Concat", b("Slice", b("Shape", x),
          b.whole(0), b.whole(1)), b.whole(6, 4, 4), axis=0), mode="linear")  # fmt: skip
    return b("LogSoftmax", b.gemm(b("Flatten", x), 6 * 16), axis=1)


def casts(b: Builder) -> str:
    x = b.conv("image", 1, 6)
    signs = b("Cast", b("Greater", x, b.array(np.float32(0))), to=TensorProto.FLOAT)
    x = b("Max", b("Mul", x, signs), b("Cast", b.array(np.float64(0.1)), to=TensorProto.FLOAT))
    x = b("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    return b.gemm(b("Flatten", x), 6 * 16)


def bytes_in(b: Builder) -> str:
    b.kind = TensorProto.UINT8
    x = b("Mul", b("Cast", "image", to=TensorProto.FLOAT), b.array(np.float32(1 / 255)))
    x = b("MaxPool", b("Relu", b.conv(x, 1, 8)), kernel_shape=[2, 2], strides=[2, 2])
    return b.gemm(b("Flatten", x), 8 * 16)


def pooled(b: Builder) -> str:
    x = b.conv(b("Sub", "image", b.floats(0.5)), 1, 8)
    x = b("PRelu", b.norm(x, 8), b.random(8, 1, 1))
    x = b("GlobalAveragePool", b("Relu", b.conv(x, 8, 32)))
    return b("LogSoftmax", b.gemm(b("Flatten", x), 32), axis=-1)


def layer_norm(b: Builder) -> str:
    x = b("Flatten", b.conv("image", 1, 4))
    x = b("LayerNormalization", x, b.random(4 * 64), b.random(4 * 64), axis=-1)
    return b("Softmax", b.gemm(b("HardSwish", x), 4 * 64), axis=-1)


def reduced(b: Builder) -> str:
    x = b.conv(b("Sub", "image", b.floats(0.5)), 1, 4)
    x = b("Resize", x, "", b.floats(1, 1, 2, 2), mode="cubic")
    x = b("Min", b("Max", b.conv(x, 4, 32), b.array(np.float32(-1))), b.array(np.float32(1)))
    x = b("ReduceMean", x, b.whole(2, 3), keepdims=0)
    return b.gemm(x, 32)


def gelu(b: Builder) -> str:
    x = b("Gelu", b.conv("image", 1, 8))
    x = b("CumSum", b("Gelu", b.conv(x, 8, 8, group=8)), b.array(np.int64(2)))
    x = b("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return b("Softmax", b.gemm(b("Flatten", x), 8 * 16), axis=1)


def old_gemm(b: Builder) -> str:
    """Gemm and Add of opset 6, which say by an attribute that they broadcast."""
    x = b("MaxPool", b("Relu", b.conv("image", 1, 8)), kernel_shape=[2, 2], strides=[2, 2])
    x = b("Gemm", b("Flatten", x), b.random(CLASSES, 128), b.random(CLASSES), transB=1, broadcast=1)
    return b("Mul", x, b.floats(*[8.0] * CLASSES), axis=1, broadcast=1)


GRAPHS: dict[str, tuple[int, Callable[[Builder], str]]] = {
    "6-gemm": (6, old_gemm),
    "7-plain": (7, plain),
    "8-max-min": (8, extremes),
    "9-upsample": (9, upsample),
    "10-resize": (10, resize_10),
    "10-resize-linear": (10, resize_linear),
    "11-depthwise-cumsum": (11, depthwise),
    "12-residual-outputs": (12, residual),
    "13-resize": (13, resize_13),
    "13-casts": (13, casts),
    "13-bytes": (13, bytes_in),
    "15-pooled": (15, pooled),
    "17-layer-norm": (17, layer_norm),
    "18-resize-reduce": (18, reduced),
    "20-gelu-cumsum": (20, gelu),
}
"""Name of each graph, its operator set, and what builds it."""

WRONG: dict[str, tuple[int, Callable[[Builder], str]]] = {"11-hardmax": (11, hardmax)}
"""Graphs that onnx does not raise to opset 13 as they are."""

_IR = {6: 3, 7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 15: 8, 17: 8, 18: 8, 20: 9}


def save_graph(name: str, path: Path) -> None:
    """Write one of the graphs as a file, with a batch of any size."""
    opset, build = {**GRAPHS, **WRONG}[name]
    builder = Builder()
    scores = build(builder)
    builder.nodes[[list(n.output) for n in builder.nodes].index([scores])].output[0] = "scores"
    image = helper.make_tensor_value_info("image", builder.kind, ["N", 1, SIDE, SIDE])
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])]
    outputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        for name, shape in builder.outputs.items()
    ]
    # Before IR version 4 weights must be listed as inputs too.
    listed = [
        helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in builder.weights
    ]
    graph = helper.make_graph(
        builder.nodes, name, [image, *(listed if _IR[opset] < 4 else [])], outputs, builder.weights
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR[opset]
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
