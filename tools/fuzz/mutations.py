"""Hypothesis strategies that damage valid input: bytes, JSON, ONNX graphs, archives."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from hypothesis import strategies as st

from iaside_onnx.archive import digest_of

NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2, 3, 28, 224, 255, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1]),
    st.integers(-(2**70), 2**70),
)
FLOATS = st.one_of(st.floats(width=64), st.sampled_from([0.0, 1e-300, 1e300, 0.5]))
NAMES = st.one_of(
    st.sampled_from(
        ["\x1b[2J", "../../etc/passwd", "/etc/passwd", "\u202e", "<b>", "%s", "", "a" * 5000]
    ),
    st.text(max_size=12),
)
# Attributes by which readers of HDF5 and NetCDF change values.
DECODING = (
    "_Encoding",
    "_FillValue",
    "add_offset",
    "coordinates",
    "dtype",
    "scale_factor",
    "units",
)
STRANGE_TEXTS = (
    "days since 99999-01-01", "nonsuch", '{"a": 1e999}', "[" * 900 + "]" * 900, "[NaN]",
)  # fmt: skip
OPERATORS = (
    "ConstantOfShape", "Conv", "EPContext", "Expand", "Identity", "If", "Loop", "Pad", "Range",
    "Reshape", "Resize", "Softmax", "Tile",
)  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, FLOATS, NAMES),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=8,
)


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Change, delete, repeat or insert some bytes, or truncate the rest."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(out) - 1, 0)))
        length = draw(st.sampled_from([1, 1, 2, 4, 8, 64, 1024]))
        kind = draw(
            st.sampled_from(["set", "set", "set", "flip", "cut", "repeat", "insert", "end"])
        )
        if kind == "set":
            out[place : place + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "flip" and out:
            out[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del out[place : place + length]
        elif kind == "repeat":
            out[place:place] = out[place : place + length] * draw(st.integers(1, 8))
        elif kind == "insert":
            out[place:place] = draw(st.binary(max_size=16))
        elif kind == "end":
            del out[max(place, 1) :]
    return bytes(out)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a JSON value."""
    found = [path]
    if isinstance(value, dict):
        found += [p for key, inner in value.items() for p in _places(inner, (*path, key))]
    if isinstance(value, list):
        found += [p for i, inner in enumerate(value) for p in _places(inner, (*path, i))]
    return found


@st.composite
def damaged_json(draw: st.DrawFn, seeds: list[Any]) -> bytes:
    """Replace or remove values of a valid object, or add members of another one."""
    data = json.loads(json.dumps(draw(st.sampled_from(seeds))))
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from([p for p in _places(data) if p] or [("x",)]))
        holder = data
        for key in parents:
            holder = holder[key]
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "borrow"]))
        if kind == "replace" or isinstance(holder, list):
            holder[last] = draw(JSON)
        elif kind == "remove":
            holder.pop(last, None)
        else:
            other = draw(st.sampled_from(seeds))
            name = draw(st.sampled_from(sorted(other)))
            # A copy, because later steps may change it.
            holder[name] = json.loads(json.dumps(other[name]))
    return json.dumps(data).encode()


@st.composite
def damaged_graph(draw: st.DrawFn, data: bytes) -> bytes:
    """Change sizes, names, types and edges of the graph of a model."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    for _ in range(draw(st.integers(1, 3))):
        draw(st.sampled_from(_GRAPH))(draw, model, graph)
    return bytes(model.SerializeToString())


def _tensor(draw: st.DrawFn, _model: Any, graph: Any) -> None:
    tensor = draw(st.sampled_from(list(graph.initializer) or [graph.initializer.add()]))
    kind = draw(st.sampled_from(["dims", "type", "data", "name", "external"]))
    if kind == "dims":
        del tensor.dims[:]
        tensor.dims.extend(draw(st.lists(st.integers(-1, 2**45), max_size=4)))
    elif kind == "type":
        tensor.data_type = draw(st.integers(0, 30))
    elif kind == "data":
        tensor.raw_data = draw(st.binary(max_size=64))
    elif kind == "name":
        tensor.name = draw(NAMES)
    else:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for _ in range(draw(st.integers(0, 2))):
            key = draw(st.sampled_from(["location", "offset", "length", "checksum"]))
            tensor.external_data.add(key=key, value=draw(st.one_of(NAMES, NUMBERS.map(str))))


def _node(draw: st.DrawFn, _model: Any, graph: Any) -> None:
    if not graph.node:
        return
    node = draw(st.sampled_from(list(graph.node)))
    kind = draw(st.sampled_from(["op", "domain", "input", "output", "attribute", "swap", "remove"]))
    if kind == "op":
        node.op_type = draw(st.sampled_from(OPERATORS))
    elif kind == "domain":
        node.domain = draw(st.one_of(st.sampled_from(["com.microsoft", "ai.onnx.ml"]), NAMES))
    elif kind == "input" and node.input:
        node.input[draw(st.integers(0, len(node.input) - 1))] = draw(_edges(graph))
    elif kind == "output" and node.output:
        node.output[draw(st.integers(0, len(node.output) - 1))] = draw(_edges(graph))
    elif kind == "attribute" and node.attribute:
        attribute = draw(st.sampled_from(list(node.attribute)))
        attribute.i = draw(st.integers(-(2**63), 2**63 - 1))
        if attribute.ints:
            attribute.ints[0] = draw(st.integers(-(2**63), 2**63 - 1))
    elif kind == "swap":
        other = draw(st.sampled_from(list(graph.node)))
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        node.CopyFrom(other)
        other.CopyFrom(copy)
    elif kind == "remove":
        graph.node.remove(node)


def _edges(graph: Any) -> st.SearchStrategy[str]:
    known = [name for node in graph.node for name in (*node.input, *node.output)]
    return st.one_of(st.sampled_from(known or ["x"]), NAMES)


def _shape(draw: st.DrawFn, _model: Any, graph: Any) -> None:
    value = draw(st.sampled_from([*graph.input, *graph.output] or [graph.input.add()]))
    kind = value.type.tensor_type
    if draw(st.booleans()):
        kind.elem_type = draw(st.integers(0, 30))
    if kind.shape.dim:
        dim = draw(st.sampled_from(list(kind.shape.dim)))
        if draw(st.booleans()):
            dim.dim_value = draw(st.integers(-1, 2**40))
        else:
            dim.dim_param = draw(NAMES)


def _head(draw: st.DrawFn, model: Any, graph: Any) -> None:
    kind = draw(st.sampled_from(["opset", "ir", "metadata", "input", "output", "producer"]))
    if kind == "opset" and model.opset_import:
        model.opset_import[0].version = draw(st.integers(-1, 2**40))
    elif kind == "ir":
        model.ir_version = draw(st.integers(-1, 2**40))
    elif kind == "metadata":
        key = draw(st.one_of(st.just("iaside.preprocess"), st.just("ort_config"), NAMES))
        model.metadata_props.add(key=key, value=draw(st.one_of(NAMES, JSON.map(json.dumps))))
    elif kind == "producer":
        model.producer_name = draw(NAMES)
    else:
        made = getattr(graph, kind).add()
        made.name = draw(_edges(graph))
        made.type.tensor_type.elem_type = draw(st.integers(0, 20))


_GRAPH = [_tensor, _node, _node, _node, _shape, _head]


@st.composite
def damaged_archive(draw: st.DrawFn, data: bytes, scratch: Path) -> bytes:
    """Edit an archive with h5py, as an attacker could, and close it properly."""
    scratch.write_bytes(data)
    # Edits that HDF5 refuses to write are left out.
    refused = contextlib.suppress(OSError, RuntimeError, KeyError, ValueError, TypeError)
    with refused, h5py.File(scratch, "r+") as file:
        for _ in range(draw(st.integers(1, 3))):
            draw(st.sampled_from(_ARCHIVE))(draw, file)
        # An attacker can also update the digest, so that the checks after it are reached.
        if draw(st.booleans()):
            file.attrs["digest"] = digest_of(file)
    return scratch.read_bytes()


def _attribute(draw: st.DrawFn, file: Any) -> None:
    owner = draw(st.sampled_from([file, *file.values()]))
    names = [name for name in owner.attrs if name not in ("DIMENSION_LIST", "REFERENCE_LIST")]
    name = draw(st.sampled_from(names or ["x"]))
    text = st.one_of(NAMES, JSON.map(json.dumps)).filter(lambda value: "\x00" not in value)
    text = st.one_of(text, st.sampled_from(STRANGE_TEXTS))
    number = st.one_of(st.integers(-(2**63), 2**63 - 1), FLOATS)
    name = draw(st.one_of(st.just(name), st.sampled_from(DECODING)))
    owner.attrs[name] = draw(st.one_of(text, number))


def _edit_json(draw: st.DrawFn, file: Any) -> None:
    name = draw(
        st.sampled_from(["options", "preprocess", "notes", "smallest_bands", "model_external"])
    )
    try:
        seed = json.loads(file.attrs[name])
    except (ValueError, TypeError, KeyError):
        return
    if isinstance(seed, dict) and seed:
        file.attrs[name] = draw(damaged_json([seed])).decode()
    else:
        file.attrs[name] = json.dumps(draw(JSON))


def _dataset(draw: st.DrawFn, file: Any) -> None:
    name = draw(st.sampled_from(sorted(file) or ["x"]))
    if name not in file:
        return
    old = file[name]
    if not isinstance(old, h5py.Dataset):
        return
    shape = draw(st.one_of(st.just(old.shape), st.lists(st.integers(0, 7), max_size=3).map(tuple)))
    kind = draw(st.sampled_from([old.dtype, "f4", "f8", "i8", "u8", "S3", "f2", ">f8", "?"]))
    kept = dict(old.attrs) if draw(st.booleans()) else {}
    values = np.resize(np.frombuffer(draw(st.binary(min_size=8, max_size=64)), "u1"), shape)
    scales = old.is_scale
    del file[name]
    file.create_dataset(name, data=values.astype(kind))
    for key, value in kept.items():
        if key in ("units", "long_name", "_Encoding"):
            file[name].attrs[key] = value
    if scales and draw(st.booleans()):
        file[name].make_scale(name)


def _values(draw: st.DrawFn, file: Any) -> None:
    name = draw(st.sampled_from(sorted(file) or ["x"]))
    if name not in file:
        return
    found = file[name]
    if not isinstance(found, h5py.Dataset) or not found.size:
        return
    values = np.atleast_1d(found[()])
    place = draw(st.integers(0, values.size - 1))
    if found.dtype.kind == "S":
        values.reshape(-1)[place] = draw(NAMES).encode()
    else:
        new = np.array(draw(st.one_of(st.floats(width=32), st.integers(0, 2**62))))
        with np.errstate(all="ignore"):
            values.reshape(-1)[place] = new.astype(found.dtype)
    found[...] = values.reshape(found.shape)


def _remove(draw: st.DrawFn, file: Any) -> None:
    if draw(st.booleans()):
        del file[draw(st.sampled_from(sorted(file)))]
    else:
        del file.attrs[draw(st.sampled_from(sorted(file.attrs)))]


_ARCHIVE: list[Callable[..., None]] = [_attribute, _edit_json, _dataset, _values, _values, _remove]
