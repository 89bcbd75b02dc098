"""Facts of an ONNX file, read without running it: hashes, opset, layout and output hints."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from iaside_onnx.errors import ModelError
from iaside_onnx.files import stamp_of
from iaside_onnx.runtime.external import ModelFile, external_data, hash_of
from iaside_onnx.runtime.foreign import name_export
from iaside_onnx.runtime.hints import (
    OutputHint,
    Quantisation,
    ZippedOutput,
    input_scale,
    layout_hint,
    output_hint,
    output_quantisation,
    zipped_outputs,
)
from iaside_onnx.runtime.nesting import all_nodes, graphs_of
from iaside_onnx.runtime.operators import Operators, read_operators
from iaside_onnx.runtime.ortfile import describe_ort, is_ort
from iaside_onnx.types import Layout

__all__ = ["GraphFacts", "read_graph"]

_QUANTISED = frozenset(
    ["ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QuantizeLinear"]
)
# The domains that ONNX Runtime has built in; it writes the last two into files that it optimises.
_STANDARD_DOMAINS = frozenset(
    ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"]
)

# Protobuf's own limit.
_MAX_BYTES = (1 << 31) - 1


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
        quantised: scale and zero point of the integer outputs whose graph tells them.
        zipped: the outputs that ZipMap makes, and of what.
        input_scale: the factor, about 1/255, by which the graph scales pixels of 0..255; None if
            it does not.
        is_ort: whether the file has ONNX Runtime's own format; hints and opset are then unknown.
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
    output_hints: Mapping[str, OutputHint] = field(default_factory=dict)
    quantised: Mapping[str, Quantisation] = field(default_factory=dict)
    zipped: Mapping[str, ZippedOutput] = field(default_factory=dict)
    input_scale: float | None = None
    is_ort: bool = False
    operators: Mapping[str, Operators] = field(default_factory=dict)
    files: tuple[ModelFile, ...] = ()

    def changed(self) -> Path | None:
        """The first of the model's files whose content has changed since it was hashed, or None.

        A file is read again only if its stamp has changed, so the check is cheap.
        """
        for file in self.files:
            if stamp_of(file.path) != file.stamp and hash_of(file.path) != file.sha256:
                return file.path
        return None


@name_export
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
    stamp = stamp_of(path)
    data = _read(path)
    if is_ort(data):
        return _ort_facts(path, data, stamp)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{path}: not an ONNX model, or a damaged one; export it again") from error
    graph = model.graph
    if not graph.node or not graph.output:
        raise ModelError(f"{path}: not an ONNX model, or an empty one: it has no graph")
    _check_operators(path, model)
    external = external_data(path, _tensors(model))
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
        layout_hint=layout_hint(graph),
        **_outputs(model),
        input_scale=input_scale(graph),
        files=(own, *external.values()),
    )


def _check_operators(path: Path, model: ModelProto) -> None:
    """Refuse operators that ONNX Runtime has not built in, or that name files of their own."""
    domains = {_text(node.domain) for node in all_nodes(model)}
    foreign = sorted(domains - _STANDARD_DOMAINS - _local_domains(model))
    if foreign:
        raise ModelError(
            f"{path}: uses operators of the domain {foreign[0]!r}, which ONNX Runtime does not "
            "have built in; export the model with standard operators only"
        )
    if any(node.op_type == "EPContext" for node in all_nodes(model)):
        raise ModelError(
            f"{path}: holds or names compiled code for one device (EPContext), which is not "
            "loaded; give the model that it was compiled from"
        )


def _outputs(model: ModelProto) -> dict[str, Any]:
    """What the graph tells of its outputs; that of ZipMap has the name of the tensor of scores."""
    graph = model.graph
    zipped, operators = zipped_outputs(graph), read_operators(model)
    names = [output.name for output in graph.output]
    names += [one.tensor for one in zipped.values()]
    return {
        "output_hints": {name: kind for name in names if (kind := output_hint(graph, name))},
        "quantised": {name: q for name in names if (q := output_quantisation(graph, name))},
        "zipped": zipped,
        "operators": {
            **operators,
            **{one.tensor: operators[name] for name, one in zipped.items() if name in operators},
        },
    }


def _ort_facts(path: Path, data: bytes, stamp: tuple[int, ...] | None) -> GraphFacts:
    """Facts of a file in ONNX Runtime's own format, which only the runtime reads."""
    producer, metadata = describe_ort(path, data)
    own = ModelFile(path, hashlib.sha256(data).hexdigest(), stamp)
    return GraphFacts(
        path=path,
        sha256=own.sha256,
        size=len(data),
        external={},
        opset=0,
        producer=_text(producer),
        metadata={_text(key): _text(value) for key, value in metadata.items()},
        precision="unknown",
        layout_hint=None,
        is_ort=True,
        files=(own,),
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


def _local_domains(model: ModelProto) -> set[str]:
    return {_text(function.domain) for function in model.functions}


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    for graph in graphs_of(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
    attributes = [a for node in all_nodes(model) for a in node.attribute]
    attributes += [a for function in model.functions for a in function.attribute_proto]
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
            yield sparse.values
            yield sparse.indices


def _precision(model: ModelProto) -> str:
    if any(node.op_type in _QUANTISED for node in all_nodes(model)):
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
