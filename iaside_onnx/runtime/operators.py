"""What the operators of a graph say of its answers: random, of the whole batch, how far they round.

Nothing is run. What cannot be told from the graph alone, `iaside_onnx.runs` finds by trying.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
)

from iaside_onnx.runtime.constants import constant_values, tensor_values
from iaside_onnx.runtime.nesting import all_nodes, graphs_of, subgraphs, with_subgraphs

__all__ = ["FloatType", "Operators", "read_operators"]

FloatType: TypeAlias = Literal["float64", "float32", "float16", "bfloat16"]

_RANDOM = frozenset(
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike"]
)  # fmt: skip
# ONNX Runtime takes their scale over all of the tensor, and so over all images of a batch.
_WHOLE_TENSOR = frozenset(["DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"])
_RECURRENT = frozenset(["GRU", "LSTM", "RNN"])
# Default axes of operators that work along some; None is all of them.
_DEFAULT_AXES: Mapping[str, tuple[int, ...] | None] = {
    "ArgMax": (0,), "ArgMin": (0,), "CumSum": None, "Hardmax": (-1,), "LayerNormalization": (-1,),
    "LogSoftmax": (-1,), "LpNormalization": (-1,), "MeanVarianceNormalization": (0, 2, 3),
    "Softmax": (-1,), "TopK": (-1,), "Unique": None,
}  # fmt: skip
_FLOAT_TYPES: tuple[tuple[int, FloatType], ...] = (
    (TensorProto.BFLOAT16, "bfloat16"),
    (TensorProto.FLOAT16, "float16"),
    (TensorProto.FLOAT, "float32"),
    (TensorProto.DOUBLE, "float64"),
)
# Constants that say how an operator works, such as axes and ratios, are short.
_SHORT = 64
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Operators:
    """What the operators before one output say; each is named in words, with its node.

    Attributes:
        unfixed: those that make an answer no function of the image, whatever the batch: random
            operators, and operators in training mode.
        whole_batch: those that take a statistic over all images of a batch.
        along_batch: those that may do so, as they work along the first axis or may be random.
        float_type: the least precise type of floating-point numbers.
        quantised: whether activations are rounded to integers.
    """

    unfixed: tuple[str, ...] = ()
    whole_batch: tuple[str, ...] = ()
    along_batch: tuple[str, ...] = ()
    float_type: FloatType = "float32"
    quantised: bool = False


class _Node(NamedTuple):
    """A node, the scope of its names, and the values of the attributes of its function."""

    proto: NodeProto
    scope: _Scope


class _Scope(NamedTuple):
    """What names mean in the graph and its subgraphs, or in one function.

    Attributes:
        constants: what makes each constant, by its name.
        bound: values of the function's attributes, of all its calls, by name.
        where: in words, for messages; empty for the graph.
    """

    constants: Mapping[str, TensorProto | NodeProto]
    bound: Mapping[str, list[Any]]
    where: str


def read_operators(model: ModelProto) -> dict[str, Operators]:
    """What the operators of a model say of each of its outputs, by the name of the output."""
    functions = {(f.domain, f.name): f for f in model.functions}
    scope = _Scope(_constants(model.graph.node, model.graph), {}, "")
    calls = _calls(model)
    scopes = {key: _function_scope(f, calls.get(key, [])) for key, f in functions.items()}
    kind = _float_type(model)
    found = {}
    for output in model.graph.output:
        if output.name not in found:
            nodes = _needed(model.graph, output.name)
            reached = list(_reached(nodes, scope, functions, scopes))
            found[output.name] = _describe(reached, kind)
    return found


def _describe(nodes: Iterable[_Node], kind: FloatType) -> Operators:
    unfixed, whole, along = [], [], []
    quantised = False
    for node in nodes:
        name = node.proto.op_type
        quantised |= name.startswith("QLinear") or name in ("QuantizeLinear", "QGemm", "QAttention")
        training = _is_training(node)
        if name in _RANDOM or training:
            unfixed.append(_named(node))
        elif name in _WHOLE_TENSOR:
            whole.append(_named(node))
        elif training is None or name in _RECURRENT or _is_along_first_axis(node):
            along.append(_named(node))
    return Operators(tuple(unfixed), tuple(whole), tuple(along), kind, quantised)


def _named(node: _Node) -> str:
    proto = node.proto
    name = proto.name or next(iter(proto.output), "")
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(name))
    mode = " in training mode" if proto.op_type in ("BatchNormalization", "Dropout") else ""
    return f"{proto.op_type}{mode}, node {shown[:_SHOWN]!r}{node.scope.where}"


def _is_training(node: _Node) -> bool | None:
    """Whether a node works as in training; None if that is not known before it runs."""
    proto = node.proto
    if proto.op_type == "BatchNormalization":
        return any(value != 0 for value in _attribute(node, "training_mode", [0]))
    if proto.op_type != "Dropout" or len(proto.input) < 3 or not proto.input[2]:
        return False
    mode = _values(node, proto.input[2])
    ratio = _values(node, proto.input[1]) if proto.input[1] else None
    if ratio is not None and not ratio.any():
        return False
    return None if mode is None else bool(mode.any())


def _is_along_first_axis(node: _Node) -> bool:
    """Whether an operator combines values along the first axis, as far as its axes are known."""
    proto = node.proto
    reduces = proto.op_type.startswith("Reduce")
    if not reduces and proto.op_type not in _DEFAULT_AXES:
        return False
    default = None if reduces else _DEFAULT_AXES[proto.op_type]
    given = [*_attribute(node, "axes", []), *_attribute(node, "axis", [])]
    axes: list[int] | None = list(np.ravel(given).astype(int)) if given else None
    if axes is None and (reduces or proto.op_type == "CumSum") and len(proto.input) > 1:
        values = _values(node, proto.input[1])
        if values is None:
            return False
        axes = values.ravel().astype(int).tolist()
    if not axes and reduces:
        return not any(_attribute(node, "noop_with_empty_axes", [0]))
    if axes is None:
        return default is None or 0 in default
    # The rank is not known here: images have four axes.
    return any(axis == 0 or axis <= -4 for axis in axes)


def _attribute(node: _Node, name: str, default: list[Any]) -> list[Any]:
    """The values that an attribute has, of which there may be several within a function."""
    for attribute in node.proto.attribute:
        if attribute.name == name:
            if attribute.ref_attr_name:
                return node.scope.bound.get(attribute.ref_attr_name, default)
            return [*attribute.ints] or [attribute.i]
    return default


def _values(node: _Node, name: str) -> NDArray[Any] | None:
    """The values of a constant; None if it is none, or too long to say how an operator works."""
    source = node.scope.constants.get(name)
    if isinstance(source, NodeProto):
        return constant_values(source, _SHORT)
    return None if source is None else tensor_values(source, _SHORT)


def _needed(graph: GraphProto, output: str) -> list[NodeProto]:
    """The nodes of a graph that an output depends on."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    waiting, found = [output], set()
    while waiting:
        i = makers.get(waiting.pop())
        if i is not None and i not in found:
            found.add(i)
            waiting += _reads(graph.node[i])
    return [node for i, node in enumerate(graph.node) if i in found]


def _reads(node: NodeProto) -> Iterator[str]:
    """The names that a node reads, those within its subgraphs included."""
    for inner in with_subgraphs([node]):
        yield from inner.input
    for graph in subgraphs(node):
        yield from (output.name for output in graph.output)


def _reached(
    nodes: Iterable[NodeProto],
    scope: _Scope,
    functions: Mapping[tuple[str, str], FunctionProto],
    scopes: Mapping[tuple[str, str], _Scope],
) -> Iterator[_Node]:
    """Nodes with those of their subgraphs and of the functions that they call, each once."""
    waiting, seen = deque([(scope, nodes)]), set()
    while waiting:
        own, some = waiting.popleft()
        for node in with_subgraphs(some):
            key = (node.domain, node.op_type)
            if key not in functions:
                yield _Node(node, own)
            elif key not in seen:
                seen.add(key)
                waiting.append((scopes[key], functions[key].node))


def _calls(model: ModelProto) -> dict[tuple[str, str], list[AttributeProto]]:
    """The attributes of all nodes of one operator or function, by its domain and name."""
    found: dict[tuple[str, str], list[AttributeProto]] = {}
    for node in all_nodes(model):
        found.setdefault((node.domain, node.op_type), []).extend(node.attribute)
    return found


def _function_scope(function: FunctionProto, given: Iterable[AttributeProto]) -> _Scope:
    bound: dict[str, list[Any]] = {}
    for attribute in [*function.attribute_proto, *given]:
        # One that is handed on from a function to another counts as set.
        values = [1] if attribute.ref_attr_name else [*attribute.ints] or [attribute.i]
        bound.setdefault(attribute.name, []).extend(values)
    where = f" in the function {str(function.name)[:_SHOWN]!r}"
    return _Scope(_constants(function.node), bound, where)


def _constants(
    nodes: Iterable[NodeProto], graph: GraphProto | None = None
) -> dict[str, TensorProto | NodeProto]:
    """What makes each constant of a scope: an initialiser or a Constant node, by its name."""
    found: dict[str, TensorProto | NodeProto] = {}
    every = list(nodes)
    graphs = [] if graph is None else [graph]
    for own in [*graphs, *(inner for node in every for inner in subgraphs(node))]:
        found |= {tensor.name: tensor for tensor in own.initializer}
    for node in with_subgraphs(every):
        if node.op_type == "Constant" and node.output:
            found[node.output[0]] = node
    return found


def _float_type(model: ModelProto) -> FloatType:
    """The least precise type of weights, or of what is cast to."""
    kinds = set()
    inner = (graph for f in model.functions for node in f.node for graph in subgraphs(node))
    for graph in (*graphs_of(model.graph), *inner):
        kinds |= {tensor.data_type for tensor in graph.initializer}
    for node in all_nodes(model):
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                kinds.add(attribute.t.data_type)
            elif node.op_type == "Cast" and attribute.name == "to":
                kinds.add(attribute.i)
    return next((name for kind, name in _FLOAT_TYPES if kind in kinds), "float32")
