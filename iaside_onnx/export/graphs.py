"""Edits of ONNX graphs that exporters wrote: plain names, one output, no debug information.

They work on protobuf messages, so that all that they do not name stays as the exporter wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, helper

from iaside_onnx.runtime.nesting import graphs_of, subgraphs

__all__ = [
    "INPUT_NAME",
    "flatten_input",
    "keep_output",
    "name_input_and_output",
    "remove_debug_info",
    "unknown_operators",
]

INPUT_NAME = "image"


def remove_debug_info(model: ModelProto) -> None:
    """Drop doc strings and metadata of all parts: stack traces with paths of this machine."""
    nodes = [node for function in model.functions for node in function.node]
    graphs = [*graphs_of(model.graph), *(graph for node in nodes for graph in subgraphs(node))]
    parts: list[Any] = [*model.functions, *nodes, *graphs]
    for graph in graphs:
        parts += (*graph.node, *graph.initializer)
        parts += (*graph.input, *graph.output, *graph.value_info)
    for part in parts:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.ClearField("doc_string")


def name_input_and_output(model: ModelProto, output: str) -> None:
    """Call the input ``image``, the output ``output``, and an open first axis of both ``batch``."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    (image,) = (value for value in graph.input if value.name not in weights)
    (scores,) = graph.output
    _rename(graph, image.name, INPUT_NAME)
    _rename(graph, scores.name, output)
    for value in (*(v for v in graph.input if v.name == INPUT_NAME), *graph.output):
        for dim in value.type.tensor_type.shape.dim[:1]:
            if dim.WhichOneof("value") != "dim_value":
                dim.dim_param = "batch"


def keep_output(model: ModelProto, name: str) -> None:
    """Drop all outputs but one, and the operators that only they needed."""
    graph = model.graph
    kept = [value for value in graph.output if value.name == name]
    del graph.output[:]
    graph.output.extend(kept)
    needed = {name}
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            for inner in subgraphs(node):
                needed.update(v.name for v in inner.output)
                needed.update(n for below in inner.node for n in below.input)
            nodes.append(node)
    nodes.reverse()
    used = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(used)


def flatten_input(model: ModelProto, shape: tuple[int, int, int]) -> None:
    """Make a model of flat rows take images, ``(batch, *shape)``, flattened in C order."""
    graph = model.graph
    (flat,) = graph.input
    kind = flat.type.tensor_type.elem_type
    image = helper.make_tensor_value_info("image_of_rows", kind, ["batch", *shape])
    node = helper.make_node("Flatten", ["image_of_rows"], [flat.name], axis=1)
    graph.node.insert(0, node)
    del graph.input[:]
    graph.input.append(image)


def unknown_operators(model: ModelProto) -> list[str]:
    """Sorted names of operators of the standard domain that the standard does not have.

    Converters keep the framework's name for an operator that they cannot convert.
    """
    versions = {opset.domain: opset.version for opset in model.opset_import}
    return sorted(
        {
            node.op_type
            for graph in graphs_of(model.graph)
            for node in graph.node
            if node.domain in ("", "ai.onnx")
            and not onnx.defs.has(node.op_type, versions.get(node.domain, 1), "")
        }
    )


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """Rename a tensor; another tensor that already has the new name gets a free one."""
    if old == new:
        return
    taken = set(_names(graph))
    if new in taken:
        free = next(f"{new}_{i}" for i in range(len(taken) + 1) if f"{new}_{i}" not in taken)
        _replace_name(graph, new, free)
    _replace_name(graph, old, new)


def _names(graph: GraphProto) -> Iterator[str]:
    for part in graphs_of(graph):
        yield from (value.name for value in (*part.input, *part.output))
        yield from (tensor.name for tensor in part.initializer)
        for node in part.node:
            yield from node.output


def _replace_name(graph: GraphProto, old: str, new: str) -> None:
    for part in graphs_of(graph):
        for value in (*part.input, *part.output, *part.value_info):
            value.name = new if value.name == old else value.name
        for tensor in part.initializer:
            tensor.name = new if tensor.name == old else tensor.name
        for node in part.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new
