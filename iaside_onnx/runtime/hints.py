"""What the operators at both ends of a graph say of its input and its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto

from iaside_onnx.runtime.constants import constant_values, tensor_values
from iaside_onnx.types import Layout, OutputKind

__all__ = [
    "OutputHint",
    "Quantisation",
    "ZippedOutput",
    "input_scale",
    "layout_hint",
    "output_hint",
    "output_quantisation",
    "zipped_outputs",
]

OutputHint: TypeAlias = OutputKind | Literal["sigmoid"]
"""The kind of an output by the operators before it; ``sigmoid`` is one probability a number."""

# Operators that pass values on, at most in another shape.
_SHAPING = frozenset(["Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"])
# Operators that pass values on without changing the kind of number.
_PASS_THROUGH = _SHAPING | {"Cast", "DequantizeLinear", "QuantizeLinear"}
_AFFINE = frozenset(["Add", "Div", "Mul", "Sub"])
_LINEAR = frozenset(
    ["Conv", "ConvInteger", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul",
     "MatMulInteger", "QGemm", "QLinearConv", "QLinearMatMul"]
)  # fmt: skip
# Where quantised operators have the scale of their output; the zero point follows.
_SCALE_AT = {
    "QuantizeLinear": 1,
    "QLinearSigmoid": 3,
    "QLinearSoftmax": 3,
    "QLinearGlobalAveragePool": 3,
    "QLinearAdd": 6,
    "QLinearConv": 6,
    "QLinearMatMul": 6,
    "QGemm": 7,
}
# A graph that takes pixels of 0..255 multiplies them by a factor in this range: by 1/255, 1/256 or
# 1/127.5, or by that over a standard deviation.
_PIXEL_FACTORS = (1 / 300, 1 / 40)
_MAX_CONSTANT = 4096


class Quantisation(NamedTuple):
    """How the integers of an output become numbers: ``(q - zero_point) * scale``."""

    scale: float
    zero_point: int


class ZippedOutput(NamedTuple):
    """An output that ZipMap makes: a map from class to score for each image.

    Attributes:
        tensor: name of the tensor of scores that it is made from.
        classes: names of the columns of that tensor, as text.
    """

    tensor: str
    classes: tuple[str, ...]


def output_hint(graph: GraphProto, name: str) -> OutputHint | None:
    """The kind that the operators at the end of a graph make of an output; None if unclear."""
    makers = _makers(graph)
    node = _maker(graph, makers, name, _PASS_THROUGH)
    if node is None:
        return None
    if node.op_type in ("Sigmoid", "QLinearSigmoid"):
        return "sigmoid"
    if node.op_type in ("Softmax", "QLinearSoftmax"):
        return "probabilities"
    if node.op_type == "LogSoftmax":
        return "log-probabilities"
    if node.op_type == "Log":
        before = makers.get(node.input[0]) if node.input else None
        return "log-probabilities" if before is not None and before.op_type == "Softmax" else None
    if node.op_type == "Add":
        # A bias; a sum such as 0.5 + 0.5 tanh(x) may be a probability.
        return "logits" if _follows_linear(graph, makers, node) else None
    return "logits" if node.op_type in _LINEAR else None


def output_quantisation(graph: GraphProto, name: str) -> Quantisation | None:
    """The scale and zero point of an integer output, where constants of the graph tell."""
    node = _maker(graph, _makers(graph), name, _SHAPING)
    at = _SCALE_AT.get(node.op_type) if node is not None else None
    if node is None or at is None or len(node.input) <= at:
        return None
    constants = _Constants(graph)
    scale = constants.get(node.input[at])
    zero = constants.get(node.input[at + 1]) if len(node.input) > at + 1 else np.zeros(1, np.uint8)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    if scale.dtype.kind != "f" or zero.dtype.kind not in "iu":
        return None
    value = float(scale.item())
    return Quantisation(value, int(zero.item())) if 0 < value < np.inf else None


def zipped_outputs(graph: GraphProto) -> dict[str, ZippedOutput]:
    """The outputs that ZipMap makes, by name."""
    makers = _makers(graph)
    found = {}
    for output in graph.output:
        node = makers.get(output.name)
        if node is None or (node.domain, node.op_type) != ("ai.onnx.ml", "ZipMap"):
            continue
        words: list[str] = []
        for attribute in node.attribute:
            words += [str(number) for number in attribute.ints]
            words += [text.decode(errors="replace") for text in attribute.strings]
        if len(node.input) == 1:
            found[output.name] = ZippedOutput(node.input[0], tuple(words))
    return found


def layout_hint(graph: GraphProto) -> Layout | None:
    """The layout by the first operator after the input that depends on it; None if unclear."""
    for node in _first_nodes(graph):
        if node.op_type in {"Conv", "ConvInteger", "MaxPool", "AveragePool"}:
            return "NCHW"
        if node.op_type == "Transpose":
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
            return "NHWC" if order == [0, 3, 1, 2] else None
        if node.op_type not in _PASS_THROUGH - _SHAPING | _AFFINE | {"Identity"}:
            return None
    return None


def input_scale(graph: GraphProto) -> float | None:
    """The factor, about 1/255, by which the first operators scale pixels of 0..255.

    None if they do nothing like it. Per channel, the factor of the first channel is given.
    """
    constants = _Constants(graph)
    before = _input_name(graph)
    for node in _first_nodes(graph):
        factors = None
        if node.op_type in ("Mul", "Div") and len(node.input) == 2:
            other = node.input[1] if node.input[0] == before else node.input[0]
            factors = constants.get(other)
            # A product of tensors, or a constant divided by the input.
            if factors is None or (node.op_type == "Div" and node.input[0] != before):
                return None
        elif node.op_type not in _PASS_THROUGH | {"Add", "Sub", "Transpose"}:
            return None
        if factors is not None and factors.size and factors.dtype.kind in "fiu":
            with np.errstate(divide="ignore"):
                values = np.abs(factors.astype(np.float64).ravel())
                values = values if node.op_type == "Mul" else 1 / values
            low, high = _PIXEL_FACTORS
            if ((values >= low) & (values <= high)).all():
                return float(values[0])
        before = node.output[0]
    return None


def _makers(graph: GraphProto) -> dict[str, NodeProto]:
    return {output: node for node in graph.node for output in node.output}


def _maker(
    graph: GraphProto, makers: dict[str, NodeProto], name: str, through: frozenset[str]
) -> NodeProto | None:
    """The node that makes a tensor, looking through operators of some types."""
    node = makers.get(name)
    # At most as many steps as nodes: the graph of an untrusted file may have a cycle.
    for _ in graph.node:
        if node is None or node.op_type not in through or not node.input:
            break
        node = makers.get(node.input[0])
    return node


def _follows_linear(graph: GraphProto, makers: dict[str, NodeProto], node: NodeProto) -> bool:
    """Whether an affine node gets its input from a matrix product or a convolution."""
    waiting, seen = [node], set[str]()
    for _ in graph.node:
        if not waiting:
            break
        for name in waiting.pop().input:
            before = makers.get(name)
            if before is None or name in seen:
                continue
            seen.add(name)
            if before.op_type in _LINEAR:
                return True
            if before.op_type in _PASS_THROUGH | _AFFINE:
                waiting.append(before)
    return False


def _input_name(graph: GraphProto) -> str | None:
    constants = {i.name for i in graph.initializer}
    names = [i.name for i in graph.input if i.name not in constants]
    return names[0] if len(names) == 1 else None


def _first_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes that the one input passes through, one after the other.

    Where several nodes read it, the first of them in the order of the graph goes on.
    """
    name = _input_name(graph)
    if name is None:
        return
    for node in graph.node:
        if name in node.input and node.output:
            yield node
            name = node.output[0]


class _Constants:
    """Small constants of a graph: initialisers and Constant nodes, also through a Cast."""

    def __init__(self, graph: GraphProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = _makers(graph)

    def get(self, name: str) -> NDArray[np.generic] | None:
        """The values of a constant; None if it is none, or a large one."""
        for _ in range(8):
            tensor = self._tensors.get(name)
            node = self._makers.get(name)
            if tensor is not None:
                return _filled(tensor_values(tensor, _MAX_CONSTANT))
            if node is None:
                return None
            if node.op_type == "Constant":
                return _filled(constant_values(node, _MAX_CONSTANT))
            if node.op_type not in _SHAPING | {"Cast"} or not node.input:
                return None
            name = node.input[0]
        return None


def _filled(values: NDArray[np.generic] | None) -> NDArray[np.generic] | None:
    return values if values is not None and values.size else None
