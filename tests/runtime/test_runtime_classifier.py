"""The input that a model takes, and the output that holds the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper

from iaside_onnx import Preprocess, decompose, inspect_model
from iaside_onnx.errors import EvaluationError, ModelError
from iaside_onnx.runtime import Classifier, load_classifier, read_graph
from tests.support.onnx_models import Net, make_model, value

Axes = list[int | str | None]
Nodes = list[NodeProto]

TO_FIRST = helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2])
CONV = helper.make_node("Conv", ["image", "filters"], ["x"])
NEITHER = helper.make_node("Relu", ["image"], ["x"])


def save(path: Path, axes: Axes, head: NodeProto = NEITHER, dtype: str = "float32") -> Path:
    """A model of which only the head matters: two numbers for each image."""
    nodes = [
        head,
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Mul", ["column", "row"], ["out"]),
    ]
    weights = {
        "one": np.array([1]),
        "row": np.array([[1.0, -1.0]], dtype=dtype),
        "filters": np.ones((2, 3, 1, 1), dtype=dtype),
    }
    model = make_model(
        nodes, [value("image", axes, dtype)], [value("out", ["n", 2], dtype)], weights
    )
    onnx.save(model, path)
    return path


def load(path: Path, **options: Any) -> Classifier:
    return load_classifier(read_graph(path), device="cpu", **options)


@pytest.mark.parametrize(
    ("axes", "head", "input_size", "layout", "size"),
    [
        (["n", 3, 8, 9], NEITHER, None, "NCHW", (3, 8, 9)),
        (["n", 1, 8, 9], NEITHER, None, "NCHW", (1, 8, 9)),
        (["n", 8, 9, 3], NEITHER, None, "NHWC", (3, 8, 9)),
        (["n", 8, 9, 1], NEITHER, None, "NHWC", (1, 8, 9)),
        ([None, 3, None, None], NEITHER, None, "NCHW", (3, None, None)),
        (["n", "h", "w", 3], NEITHER, None, "NHWC", (3, None, None)),
        # Either may be meant: the first operators tell, or the spec.
        (["n", 3, 8, 3], CONV, None, "NCHW", (3, 8, 3)),
        (["n", 3, 8, 3], TO_FIRST, None, "NHWC", (3, 3, 8)),
        (["n", 3, 8, 3], NEITHER, (3, 8, 3), "NCHW", (3, 8, 3)),
        (["n", 3, 8, 3], NEITHER, (3, 3, 8), "NHWC", (3, 3, 8)),
        (["n", "a", "b", "c"], CONV, (1, 5, 6), "NCHW", (1, None, None)),
        (["n", "a", "b", "c"], TO_FIRST, (3, 5, 6), "NHWC", (3, None, None)),
        ([2, "a", "b", 3], NEITHER, (3, 5, 6), "NHWC", (3, None, None)),
    ],
)
def test_layout_and_size(
    axes: Axes, head: NodeProto, input_size: Any, layout: str, size: Any, tmp_path: Path
) -> None:
    """Height for channels, or rows for columns, gives a model that answers at random."""
    signature = load(save(tmp_path / "net.onnx", axes, head), input_size=input_size).signature
    assert signature.layout == layout
    assert (signature.channels, signature.height, signature.width) == size
    assert signature.batch == (axes[0] if isinstance(axes[0], int) else None)
    assert signature.dtype == np.float32


@pytest.mark.parametrize(
    ("axes", "input_size", "words"),
    [
        (["n", 3, 8, 3], None, ["may be NCHW or NHWC", "input_size"]),
        (["n", "a", "b", "c"], (3, 5, 5), ["may be NCHW or NHWC"]),
        (["n", "a", "b", "c"], None, ["1 or 3 channels"]),
        (["n", 4, 8, 8], None, ["1 or 3 channels", "4, 8, 8"]),
        (["n", 3, 8, 9], (3, 9, 8), ["(3, 9, 8)"]),
    ],
)
def test_a_layout_that_nothing_tells_is_asked_for(
    axes: Axes, input_size: Any, words: list[str], tmp_path: Path
) -> None:
    """A guess would be wrong half of the time, without any sign of it."""
    path = save(tmp_path / "net.onnx", axes)
    with pytest.raises(ModelError) as caught:
        load(path, input_size=input_size)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_open_channels_are_asked_for(tmp_path: Path) -> None:
    """If a grey model were taken for a colour model, the error would not say what to do."""
    path = save(tmp_path / "net.onnx", ["n", "a", "b", "c"], CONV)
    with pytest.raises(ModelError, match="how many channels it takes; give `input_size="):
        load(path, input_size=None)


def test_models_of_no_images_are_refused(tmp_path: Path) -> None:
    """Text, tables and several inputs: each with what was expected."""
    row = helper.make_node("Flatten", ["image"], ["x"])
    flat = make_model([row], [value("image", ["n", 6])], [value("x", ["n", 6])])
    onnx.save(flat, tmp_path / "flat.onnx")
    with pytest.raises(ModelError, match=r"fits no image.*`input_size="):
        load(tmp_path / "flat.onnx")
    add = helper.make_node("Add", ["image", "other"], ["sum"])
    inputs = [value("image", ["n", 3, 8, 8]), value("other", ["n", 3, 8, 8])]
    two = make_model([add, helper.make_node("Flatten", ["sum"], ["out"])], inputs, [
        value("out", ["n", 192])
    ])  # fmt: skip
    onnx.save(two, tmp_path / "two.onnx")
    with pytest.raises(ModelError, match=r"2 inputs .*'image', 'other'"):
        load(tmp_path / "two.onnx")
    number = helper.make_tensor_value_info("image", TensorProto.INT64, ["n", 3, 8, 8])
    cast = helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT)
    whole = make_model([cast, helper.make_node("Flatten", ["real"], ["out"])], [number], [
        value("out", ["n", 192])
    ])  # fmt: skip
    onnx.save(whole, tmp_path / "whole.onnx")
    with pytest.raises(ModelError, match=r"int64.*uint8 was expected"):
        load(tmp_path / "whole.onnx")


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8"])
def test_input_types(dtype: str, tmp_path: Path) -> None:
    signature = load(Net(dtype=dtype).save(tmp_path / "net.onnx")).signature
    assert signature.dtype == np.dtype(dtype)
    assert (signature.classes, signature.output_name) == (5, "out")


def several(path: Path, *names: str) -> Path:
    """Outputs of every kind behind one image; those named are declared."""
    nodes = [
        helper.make_node("Relu", ["image"], ["map"]),
        helper.make_node("Flatten", ["map"], ["features"]),
        helper.make_node("Gemm", ["features", "matrix"], ["logits"]),
        helper.make_node("ReduceMax", ["features"], ["score"], axes=[1]),
        helper.make_node("ArgMax", ["logits"], ["answer"], axis=1),
    ]
    outputs = {
        "map": value("map", ["n", 1, 4, 4]),
        "features": value("features", ["n", 16]),
        "logits": value("logits", ["n", 5]),
        "score": value("score", ["n", 1]),
        "answer": helper.make_tensor_value_info("answer", TensorProto.INT64, ["n", 1]),
    }
    weights = {"matrix": np.random.default_rng(0).random((16, 5), dtype=np.float32)}
    declared = [outputs[name] for name in names]
    onnx.save(make_model(nodes, [value("image", ["n", 1, 4, 4])], declared, weights), path)
    return path


def test_the_one_output_that_can_be_the_classes_is_taken(tmp_path: Path) -> None:
    """Feature maps, scores and class indices are other outputs, and may come first."""
    path = several(tmp_path / "net.onnx", "map", "score", "answer", "logits")
    assert load(path).signature.output_name == "logits"


def test_several_candidates_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    """The first output would be taken, which may hold features."""
    path = several(tmp_path / "net.onnx", "features", "logits", "map")
    with pytest.raises(ModelError) as caught:
        load(path)
    for word in ("'features'", "'logits'", "`output_name=NAME`"):
        assert word in str(caught.value)
    assert load(path, output="logits").signature.classes == 5
    assert load(path, output="features").signature.classes == 16
    images = np.random.default_rng(1).integers(0, 256, (2, 4, 4), dtype=np.uint8)
    options: Any = {"labels": np.array([0, 1]), "bands": 2}
    chosen = decompose(path, images, tmp_path / "a.h5", output_name="logits", **options)
    alone = several(tmp_path / "alone.onnx", "logits")
    np.testing.assert_array_equal(
        chosen["worth"], decompose(alone, images, tmp_path / "b.h5", **options)["worth"]
    )
    assert chosen.metadata.options["resolved"]["output"] == "logits"


def test_outputs_that_cannot_be_the_classes_are_named(tmp_path: Path) -> None:
    path = several(tmp_path / "net.onnx", "map", "answer")
    with pytest.raises(ModelError, match=r"no output of shape .*'map'.*'answer'"):
        load(path)
    with pytest.raises(ModelError, match=r"no output 'probs'; it has 'map'"):
        load(path, output="probs")
    with pytest.raises(ModelError, match=r"'answer' is a tensor\(int64\)"):
        load(path, output="answer")
    # A declared output of a wrong shape is found at the first batch.
    with pytest.raises(ModelError, match=r"shape \(2, 1, 4, 4\).*\(2, classes\)"):
        load(path, output="map").run(np.zeros((2, 1, 4, 4), np.float32))


def test_a_batch_that_the_model_cannot_take_is_an_evaluation_error(tmp_path: Path) -> None:
    """The runtime's exceptions have no common base, and would end the run with a traceback."""
    classifier = load(Net(batch=3).save(tmp_path / "net.onnx"))
    with pytest.raises(EvaluationError, match=r"\(2, 1, 8, 8\)"):
        classifier.run(np.zeros((2, 1, 8, 8), np.float32))


def test_inspection_of_a_model_that_leaves_its_size_open(tmp_path: Path) -> None:
    """An unknown number of channels is reported, and a given one is used."""
    path = Net((3, 9, 14), open_size=True, ending="softmax").save(tmp_path / "net.onnx")
    found = inspect_model(path)
    assert found.preprocess is None
    assert found.output_kind is None
    assert "`input_size=" in found.preprocess_note
    assert found.classes == 5
    found = inspect_model(path, input_size=(3, 12, 7), device="cpu")
    assert found.preprocess == Preprocess(input_size=(3, 12, 7))
    assert found.output_kind == "probabilities"
    assert found.provider == "CPUExecutionProvider"
    assert found.provider in found.providers
