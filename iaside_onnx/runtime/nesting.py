"""Graphs within graphs, such as the branches of If and the bodies of Loop and Scan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["all_nodes", "graphs_of", "subgraphs", "with_subgraphs"]


def graphs_of(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph, and all graphs within it at any depth."""
    yield graph
    for node in graph.node:
        yield from subgraphs(node)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs within a node at any depth."""
    # Protobuf reads no message that is nested so deep that this recursion fails.
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from graphs_of(attribute.g)
        for graph in attribute.graphs:
            yield from graphs_of(graph)


def with_subgraphs(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes, each followed by those within it at any depth."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from graph.node


def all_nodes(model: ModelProto) -> Iterator[NodeProto]:
    """The nodes of the graph and of the model's own functions, at any depth."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from with_subgraphs(nodes)
