"""ONNX graphs as they leave: plain names, one output, no traces of where they were written."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import GraphProto, ModelProto, helper

__all__ = ["INPUT_NAME", "flatten_input", "keep_output", "name_ends", "tidy", "unknown_operators"]

INPUT_NAME = "image"


def tidy(model: ModelProto) -> None:
    """Drop what an exporter notes about its own run: stack traces, with paths of this machine."""
    model.doc_string = ""
    for graph in _graphs(model.graph):
        graph.ClearField("metadata_props")
        graph.doc_string = ""
        values = (*graph.value_info, *graph.input, *graph.output)
        for part in (*graph.node, *values, *graph.initializer):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")


def name_ends(model: ModelProto, output: str) -> None:
    """Call the input ``image`` and the output as said, and the first axis of both ``batch``."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    (image,) = (value for value in graph.input if value.name not in weights)
    (scores,) = graph.output
    _rename(graph, image.name, INPUT_NAME)
    _rename(graph, scores.name, output)
    for end in (*(v for v in graph.input if v.name == INPUT_NAME), *graph.output):
        first = end.type.tensor_type.shape.dim[:1]
        for dim in first:
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
            for inner in _inner(node):
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
    """Let a model of flat rows take images: ``(batch, *shape)``, flattened in C order."""
    graph = model.graph
    (flat,) = graph.input
    kind = flat.type.tensor_type.elem_type
    image = helper.make_tensor_value_info("image_of_rows", kind, ["batch", *shape])
    node = helper.make_node("Flatten", ["image_of_rows"], [flat.name], axis=1)
    graph.node.insert(0, node)
    del graph.input[:]
    graph.input.append(image)


def unknown_operators(model: ModelProto) -> list[str]:
    """Operators of the standard domain that the standard does not have, as names.

    Converters leave an operator that they do not know under its own name.
    """
    versions = {opset.domain: opset.version for opset in model.opset_import}
    return sorted(
        {
            node.op_type
            for graph in _graphs(model.graph)
            for node in graph.node
            if node.domain in ("", "ai.onnx")
            and not onnx.defs.has(node.op_type, versions.get(node.domain, 1), "")
        }
    )


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """Give a tensor another name; one that has that name already makes way."""
    if old == new:
        return
    taken = set(_names(graph))
    if new in taken:
        free = next(f"{new}_{i}" for i in range(len(taken) + 1) if f"{new}_{i}" not in taken)
        _replace(graph, new, free)
    _replace(graph, old, new)


def _names(graph: GraphProto) -> Iterator[str]:
    for part in _graphs(graph):
        yield from (value.name for value in (*part.input, *part.output))
        yield from (tensor.name for tensor in part.initializer)
        for node in part.node:
            yield from node.output


def _replace(graph: GraphProto, old: str, new: str) -> None:
    for part in _graphs(graph):
        for value in (*part.input, *part.output, *part.value_info):
            value.name = new if value.name == old else value.name
        for tensor in part.initializer:
            tensor.name = new if tensor.name == old else tensor.name
        for node in part.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == old:
                        names[place] = new


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        yield from _inner(node)


def _inner(node: onnx.NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            if graph.node or graph.initializer:
                yield from _graphs(graph)
