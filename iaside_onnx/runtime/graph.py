"""Facts of an ONNX file, read without running it: hashes, opset, layout and output hints."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from iaside_onnx.errors import ModelError
from iaside_onnx.runtime.operators import Operators, read_operators
from iaside_onnx.types import Layout, OutputKind

__all__ = ["GraphFacts", "output_hint", "read_graph"]

# Operators that pass values on without changing the kind of number.
_PASS_THROUGH = frozenset(
    ["Cast", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze"]
)
_AFFINE = frozenset(["Add", "Div", "Mul", "Sub"])
_QUANTISED = frozenset(
    ["ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QuantizeLinear"]
)
_STANDARD_DOMAINS = frozenset(["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])

# Protobuf's own limit.
_MAX_BYTES = (1 << 31) - 1


class ModelFile(NamedTuple):
    """A file, its hash, and its device, inode, length and times of modification and change."""

    path: Path
    sha256: str
    stamp: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """Facts that can be read from the file.

    Attributes:
        path: the file.
        sha256: hash of the file's bytes.
        size: length of the file and of its external data, in bytes.
        external: SHA-256 of each external data file, by its location relative to the model.
        opset: version of the standard operator set.
        producer: name and version of the program that wrote the file.
        metadata: the model's own key-value pairs.
        precision: ``int8``, or the type that most of the weights have.
        layout_hint: layout that the first operators expect; None if they do not tell.
        output_hints: the kind of each output by the operators before it; outputs of unknown kind
            are absent.
        operators: what the operators before each output say of it, by the name of the output.
        files: the model and its external data, in the state that was hashed.
    """

    path: Path
    sha256: str
    size: int
    external: Mapping[str, str]
    opset: int
    producer: str
    metadata: Mapping[str, str]
    precision: str
    layout_hint: Layout | None
    output_hints: Mapping[str, OutputKind] = field(default_factory=dict)
    operators: Mapping[str, Operators] = field(default_factory=dict)
    files: tuple[ModelFile, ...] = ()

    def changed(self) -> Path | None:
        """The first of the model's files whose content has changed since it was hashed, or None.

        A file is read again only if its stamp has changed, so the check is cheap.
        """
        for file in self.files:
            if _stamp(file.path) != file.stamp and _hash(file.path) != file.sha256:
                return file.path
        return None


def read_graph(path: Path) -> GraphFacts:
    """Read and hash an ONNX file and its external data; nothing is executed.

    Raises:
        ModelError: if the file does not exist, is not an ONNX model, uses an operator of a domain
            that ONNX Runtime does not have built in, or keeps weights outside its own folder.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(f"{path}: {what}; give the path of an .onnx file")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ModelError(
            f"{path}: its path is not UTF-8, as ONNX Runtime needs; rename it"
        ) from error
    stamp = _stamp(path)
    data = _read(path)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{path}: not an ONNX model, or a damaged one; export it again") from error
    graph = model.graph
    if not graph.node or not graph.output:
        raise ModelError(f"{path}: not an ONNX model, or an empty one: it has no graph")
    domains = {_text(node.domain) for node in _nodes(model)}
    foreign = sorted(domains - _STANDARD_DOMAINS - _local_domains(model))
    if foreign:
        raise ModelError(
            f"{path}: uses operators of the domain {foreign[0]!r}, which ONNX Runtime does not "
            "have built in; export the model with standard operators only"
        )
    if any(node.op_type == "EPContext" for node in _nodes(model)):
        raise ModelError(
            f"{path}: holds or names compiled code for one device (EPContext), which is not "
            "loaded; give the model that it was compiled from"
        )
    external = _external_data(path, model)
    own = ModelFile(path, hashlib.sha256(data).hexdigest(), stamp)
    return GraphFacts(
        path=path,
        sha256=own.sha256,
        size=len(data) + sum(file.path.stat().st_size for file in external.values()),
        external={name: file.sha256 for name, file in external.items()},
        opset=max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0
        ),
        producer=" ".join(filter(None, map(_text, [model.producer_name, model.producer_version]))),
        metadata={_text(p.key): _text(p.value) for p in model.metadata_props},
        precision=_precision(model),
        layout_hint=_layout_hint(graph),
        output_hints={o.name: kind for o in graph.output if (kind := output_hint(graph, o.name))},
        operators=read_operators(model),
        files=(own, *external.values()),
    )


def _text(value: str | bytes) -> str:
    """A string of the model as valid text; Protobuf gives bytes where it is not UTF-8."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ModelError(
                f"{path}: is {size} bytes long, and no ONNX file is longer than {_MAX_BYTES}; "
                "export it with its weights in a file beside it"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check it") from error


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Values that change when a file does; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _hash(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        yield from _subgraphs(node)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from _graphs(attribute.g)
        for graph in attribute.graphs:
            yield from _graphs(graph)


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for graph in _graphs(model.graph):
        yield from graph.node
    for function in model.functions:
        for node in function.node:
            yield node
            for graph in _subgraphs(node):
                yield from graph.node


def _local_domains(model: ModelProto) -> set[str]:
    return {_text(function.domain) for function in model.functions}


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    for graph in _graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
    attributes = [a for node in _nodes(model) for a in node.attribute]
    attributes += [a for function in model.functions for a in function.attribute_proto]
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
            yield sparse.values
            yield sparse.indices


def _external_data(path: Path, model: ModelProto) -> dict[str, ModelFile]:
    """Hash every external data file, after checking that it is in the model's folder."""
    files: dict[str, ModelFile] = {}
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        locations = [entry.value for entry in tensor.external_data if entry.key == "location"]
        if not all(isinstance(location, str) for location in locations):
            raise ModelError(f"{path}: the name of a file of weights is not UTF-8; export it again")
        # Of several, some readers take the first and others the last.
        if len(locations) != 1:
            raise ModelError(
                f"{path}: names {len(locations)} places for the values of one tensor, where one "
                "was expected; export it again"
            )
        if locations[0] not in files:
            target = _inside(path, locations[0])
            stamp = _stamp(target)
            digest = _hash(target)
            if digest is None:
                raise ModelError(
                    f"{path}: its weights in {locations[0]!r} cannot be read; check it"
                )
            files[locations[0]] = ModelFile(target, digest, stamp)
    return files


def _inside(path: Path, location: str) -> Path:
    """The path of a model's external data, in the model's own folder.

    Raises:
        ModelError: if the path is elsewhere, or there is no file.
    """
    try:
        folder = path.parent.resolve()
        target = (folder / location).resolve()
        if not location or Path(location).is_absolute() or folder not in target.parents:
            link = f", a link to {target}" if (folder / location).is_symlink() else ""
            raise ModelError(
                f"{path}: keeps weights in {location!r}{link}, outside of its own folder; put the "
                "data file beside the model, or export with the weights inside"
            )
        is_there = target.is_file()
    except ModelError:
        raise
    # Circular links, or names that no file can have.
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path}: keeps weights in {location[:80]!r}, which is not a file name; export it again"
        ) from error
    if not is_there:
        raise ModelError(
            f"{path}: its weights are in {location!r}, which does not exist; copy that file "
            "beside the model"
        )
    return target


def _precision(model: ModelProto) -> str:
    if any(node.op_type in _QUANTISED for node in _nodes(model)):
        return "int8"
    sizes: Counter[int] = Counter()
    for tensor in _tensors(model):
        count = 1
        for extent in tensor.dims:
            count *= extent
        sizes[tensor.data_type] += count
    names: dict[int, str] = {
        TensorProto.FLOAT: "float32",
        TensorProto.FLOAT16: "float16",
        TensorProto.BFLOAT16: "bfloat16",
        TensorProto.DOUBLE: "float64",
    }
    known = [(count, names[kind]) for kind, count in sizes.items() if kind in names]
    return max(known)[1] if known else "float32"


def output_hint(graph: GraphProto, name: str) -> OutputKind | None:
    """The kind that the operators at the end of a graph make of an output; None if unclear."""
    makers = {output: node for node in graph.node for output in node.output}
    node = makers.get(name)
    # At most as many steps as nodes: the graph of an untrusted file may have a cycle.
    for _ in graph.node:
        if node is None or node.op_type not in _PASS_THROUGH or not node.input:
            break
        node = makers.get(node.input[0])
    if node is None:
        return None
    if node.op_type == "Softmax":
        return "probabilities"
    if node.op_type == "LogSoftmax":
        return "log-probabilities"
    if node.op_type == "Log":
        before = makers.get(node.input[0])
        return "log-probabilities" if before is not None and before.op_type == "Softmax" else None
    return "logits" if node.op_type in {"Gemm", "MatMul", "Add", "Conv"} else None


def _layout_hint(graph: GraphProto) -> Layout | None:
    """The layout by the first operator after the input that depends on it; None if unclear."""
    constants = {i.name for i in graph.initializer}
    inputs = [i.name for i in graph.input if i.name not in constants]
    if len(inputs) != 1:
        return None
    name = inputs[0]
    for node in graph.node:
        if name not in node.input:
            continue
        if node.op_type in {"Conv", "ConvInteger", "MaxPool", "AveragePool"}:
            return "NCHW"
        if node.op_type == "Transpose":
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
            return "NHWC" if order == [0, 3, 1, 2] else None
        if node.op_type not in _PASS_THROUGH - {"Flatten", "Reshape", "Squeeze"} | _AFFINE:
            return None
        name = node.output[0]
    return None
