"""Facts of a file: hashes, external data, precision, layout."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from iaside_onnx import decompose
from iaside_onnx.runtime import read_graph
from tests.support.onnx_models import Net, make_model, value


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_outside(net: Net, path: Path, *, one_file: bool) -> Path:
    """The model with its weights in files beside it."""
    onnx.save(
        net.model(), path, save_as_external_data=True, all_tensors_to_one_file=one_file,
        location="weights.bin" if one_file else None, size_threshold=0,
    )  # fmt: skip
    return path


def test_the_file_is_hashed_and_described(tmp_path: Path) -> None:
    path = Net().save(tmp_path / "net.onnx")
    facts = read_graph(path)
    assert (facts.sha256, facts.size) == (sha256(path), path.stat().st_size)
    assert (facts.opset, facts.producer, facts.external) == (17, "tests", {})


@pytest.mark.parametrize("one_file", [True, False])
def test_external_data_is_hashed_too(one_file: bool, tmp_path: Path) -> None:
    """Other weights under the same graph would pass for the model that was audited."""
    path = save_outside(Net(), tmp_path / "net.onnx", one_file=one_file)
    beside = {p.name: sha256(p) for p in tmp_path.iterdir() if p != path}
    assert len(beside) == (1 if one_file else 4)
    facts = read_graph(path)
    assert facts.external == beside
    assert facts.size == sum(p.stat().st_size for p in tmp_path.iterdir())
    weights = tmp_path / next(iter(beside))
    data = bytearray(weights.read_bytes())
    data[0] ^= 1
    weights.write_bytes(data)
    again = read_graph(path)
    assert again.sha256 == facts.sha256
    assert again.external[weights.name] == sha256(weights) != beside[weights.name]


def test_weights_inside_and_beside_give_the_same_archive(tmp_path: Path) -> None:
    """The external files would be left out of the session, or out of the archive."""
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    labels = np.array([0, 1])
    inside = decompose(
        Net().save(tmp_path / "in.onnx"), images, tmp_path / "in.h5", labels=labels, bands=3
    )
    path = save_outside(Net(), tmp_path / "out.onnx", one_file=True)
    outside = decompose(path, images, tmp_path / "out.h5", labels=labels, bands=3)
    np.testing.assert_array_equal(inside["worth"], outside["worth"])
    assert outside.metadata.model_external == {"weights.bin": sha256(tmp_path / "weights.bin")}
    assert outside.metadata.options["resolved"]["model_external"] == outside.metadata.model_external


def net_with(weights: dict[str, NDArray[Any]], nodes: list[NodeProto] | None = None) -> bytes:
    """A model that sums up weights of several types."""
    made: list[NodeProto] = list(nodes or [])
    for name in weights:
        made.append(helper.make_node("Cast", [name], [f"{name}_"], to=TensorProto.FLOAT))
        made.append(helper.make_node("ReduceSum", [f"{name}_"], [f"{name}__"]))
    made.append(helper.make_node("Sum", ["image", *(f"{name}__" for name in weights)], ["sum"]))
    made.append(helper.make_node("Flatten", ["sum"], ["out"]))
    model = make_model(made, [value("image", ["n", 1, 2, 2])], [value("out", ["n", 4])], weights)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("sizes", "precision"),
    [
        ({"float32": 10, "float16": 4, "float64": 1}, "float32"),
        ({"float32": 4, "float16": 10}, "float16"),
        ({"float32": 2, "float64": 10}, "float64"),
        ({"int64": 100, "float16": 3}, "float16"),
        ({}, "float32"),
    ],
)
def test_precision_is_that_of_most_weights(
    sizes: dict[str, int], precision: str, tmp_path: Path
) -> None:
    """A comparison of precisions would have the wrong labels."""
    path = tmp_path / "net.onnx"
    path.write_bytes(net_with({f"w{t}": np.ones(n, dtype=t) for t, n in sizes.items()}))
    assert read_graph(path).precision == precision


def test_quantised_models_are_int8(tmp_path: Path) -> None:
    """Most weights of a quantised model are float32 until they are quantised at run time."""
    nodes = [
        helper.make_node("QuantizeLinear", ["wide", "scale"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["used"]),
    ]
    weights = {"wide": np.ones(8, np.float32), "scale": np.array(0.1, np.float32)}
    path = tmp_path / "net.onnx"
    path.write_bytes(net_with(weights, nodes))
    assert read_graph(path).precision == "int8"


def first(op: str, **attributes: Any) -> list[NodeProto]:
    """A graph that begins with one operator on the image."""
    inputs = {"Conv": ["image", "filters"], "Mul": ["image", "two"]}.get(op, ["image"])
    return [helper.make_node(op, inputs, ["first"], **attributes)]


@pytest.mark.parametrize(
    ("nodes", "hint"),
    [
        (first("Conv"), "NCHW"),
        (first("MaxPool", kernel_shape=[2, 2]), "NCHW"),
        (first("Transpose", perm=[0, 3, 1, 2]), "NHWC"),
        (first("Transpose", perm=[0, 2, 3, 1]), None),
        (first("Flatten"), None),
        (first("Relu"), None),
        ([*first("Mul"), helper.make_node("Conv", ["first", "filters"], ["second"])], "NCHW"),
        (
            [
                *first("Identity"),
                helper.make_node("Transpose", ["first"], ["second"], perm=[0, 3, 1, 2]),
                helper.make_node("Conv", ["second", "filters"], ["third"]),
            ],
            "NHWC",
        ),
    ],
    ids=["conv", "pool", "to-first", "to-last", "flatten", "relu", "scaled-conv", "keras"],
)
def test_the_first_operator_that_knows_tells_the_layout(
    nodes: list[NodeProto], hint: str | None, tmp_path: Path
) -> None:
    """Images would go in with channels for columns."""
    last = nodes[-1].output[0]
    end = [
        helper.make_node("Flatten", [last], ["flat"]),
        helper.make_node("ReduceMax", ["flat"], ["out"]),
    ]
    weights = {"filters": np.ones((2, 3, 1, 1), np.float32), "two": np.array(2, np.float32)}
    model = make_model(
        [*nodes, *end], [value("image", ["n", 3, 3, 3])], [value("out", [])], weights
    )
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    assert read_graph(path).layout_hint == hint
