"""The last step of every export, without any framework."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, parser

import iaside_onnx
from iaside_onnx.errors import ExportError, ModelError, OptionError, PreprocessError
from iaside_onnx.export.draft import Draft
from iaside_onnx.export.finishing import finish
from iaside_onnx.export.target import Target

WEIGHTS = np.random.default_rng(0).standard_normal((192, 5), dtype=np.float32)


def graph(
    body: str = "flat = Flatten(x) y = MatMul(flat, weights)", inputs: str = "float[N,3,8,8] x",
    outputs: str = "float[N,5] y", opset: int = 17,
) -> onnx.ModelProto:  # fmt: skip
    """A linear model with the weights of ``reference``."""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => ({outputs}) {{{body}}}'
    model = parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(WEIGHTS, "weights"))
    return model


def in_bfloat16() -> onnx.ModelProto:
    """The same in bfloat16."""
    model = graph()
    (weights,) = model.graph.initializer
    weights.data_type = TensorProto.BFLOAT16
    return model


def reference(inputs: NDArray[np.float32]) -> NDArray[Any]:
    return inputs.reshape(len(inputs), -1) @ WEIGHTS


def not_alone(inputs: NDArray[np.float32]) -> NDArray[Any]:
    """Fails on a batch of one, as batch normalisation in training mode does."""
    if len(inputs) == 1:
        raise ValueError("more than 1 value per channel was expected")
    return reference(inputs)


def draft(**changed: Any) -> Draft:
    """A good draft, or one with some fields replaced."""
    good = Draft(
        model=graph(), reference=reference, framework="Paper", versions={"paper": "1.0"},
        source="a sheet", sha256={"sheet": "ab"}, layout="NCHW", size=(3, 8, 8),
        preprocess=iaside_onnx.Preprocess(mean=(0.5,)), preprocess_note="as given",
    )  # fmt: skip
    return replace(good, **changed)


def test_a_good_export(tmp_path: Path) -> None:
    """Without names, provenance or preprocessing a later audit could not use or trace the file."""
    path = tmp_path / "m.onnx"
    made = finish(draft(), Target(path))
    kept = json.loads(made.facts.metadata["iaside.export"])
    assert kept["source_sha256"] == {"sheet": "ab"}
    assert kept["versions"] == {"paper": "1.0"}
    assert (kept["checked_images"], kept["largest_difference"]) == (16, made.difference)
    assert json.loads(made.facts.metadata["iaside.preprocess"])["input_size"] == [3, 8, 8]
    assert (made.signature.input_name, made.signature.output_name) == ("image", "logits")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_a_difference_over_the_tolerance_leaves_no_file(share: float, tmp_path: Path) -> None:
    """One wrong output of one image must not pass, nor replace an existing file."""

    def off(inputs: NDArray[np.float32]) -> NDArray[Any]:
        outputs = reference(inputs).astype(np.float64)
        outputs[11:12, 3] += share * 1e-2
        return outputs

    path = tmp_path / "m.onnx"
    path.write_bytes(b"what was there, with iaside.export in it")
    target = Target(path, tolerance=1e-2, overwrite=True)
    if share < 1:
        made = finish(draft(reference=off), target)
        assert made.difference == pytest.approx(share * 1e-2, rel=1e-2)
        return
    with pytest.raises(ExportError, match=r"differs from Paper by 1\.5e-02 on 16 images"):
        finish(draft(reference=off), target)
    assert path.read_bytes().startswith(b"what was there")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_comparison_that_says_little_is_noted(tmp_path: Path) -> None:
    """Where outputs hardly depend on the image, any two models would seem to agree."""
    model = graph(
        "k = Constant<value_float=1e-6>() f = Flatten(x) s = MatMul(f, weights) y = Mul(s, k)"
    )
    quiet = draft(model=model, reference=lambda x: reference(x) * np.float32(1e-6))
    made = finish(quiet, Target(tmp_path / "m.onnx"))
    assert any("comparing them says little" in note for note in made.notes)
    assert not finish(draft(), Target(tmp_path / "n.onnx")).notes


def test_images_are_of_all_frequencies(tmp_path: Path) -> None:
    """On smooth grey images, a converter that changes fine detail or colour would pass."""
    seen = []

    def look(inputs: NDArray[np.float32]) -> NDArray[Any]:
        seen.append(inputs)
        return reference(inputs)

    finish(draft(reference=look), Target(tmp_path / "m.onnx"))
    pixels = seen[0] + 0.5
    assert pixels.shape == (16, 3, 8, 8)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    # The first is grey, as it is; the last is noise.
    np.testing.assert_array_equal(pixels[0, 0], pixels[0, 2])
    assert np.abs(np.diff(pixels[15], axis=2)).mean() > 0.25
    assert np.abs(pixels[15, 0] - pixels[15, 2]).mean() > 0.25


def test_own_images(tmp_path: Path) -> None:
    """The images must be spread over the source, as the first ones may be of one class."""
    seen = []

    def look(inputs: NDArray[np.float32]) -> NDArray[Any]:
        seen.append(inputs)
        return reference(inputs)

    images = np.repeat(np.arange(31, dtype=np.uint8), 192).reshape(31, 8, 8, 3)
    finish(draft(reference=look), Target(tmp_path / "m.onnx", images=images))
    values = (seen[0][:, 0, 0, 0] + 0.5) * 255
    np.testing.assert_allclose(values, np.arange(0, 31, 2), atol=1e-3)


def test_channels_last(tmp_path: Path) -> None:
    """Input in another layout than the graph's would compare noise with noise."""
    model = graph(inputs="float[N,8,8,3] x")
    made = finish(draft(model=model, layout="NHWC"), Target(tmp_path / "m.onnx"))
    assert made.signature.layout == "NHWC"
    assert made.difference < 1e-5


def test_names_that_are_taken(tmp_path: Path) -> None:
    """An inner tensor with the name of the new input or output would break the graph."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["inner"])], "branch", [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )  # fmt: skip
    model = graph("image = Flatten(x) logits = MatMul(kept, weights) y = Identity(logits)")
    yes = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(yes)
    condition = helper.make_node("If", ["yes"], ["kept"], then_branch=branch, else_branch=branch)
    model.graph.node.insert(1, condition)
    path = tmp_path / "m.onnx"
    finish(draft(model=model), Target(path))
    inputs = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
    (found,) = onnxruntime.InferenceSession(path).run(["logits"], {"image": inputs})
    np.testing.assert_allclose(found, reference(inputs), atol=1e-4)


def test_debug_information_is_removed(tmp_path: Path) -> None:
    """Stack traces in any part of the file would publish paths of the machine that made it."""
    trace = "/home/somebody/secret.py"
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"], doc_string=trace)], "branch", [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None, doc_string=trace)],
        doc_string=trace,
    )  # fmt: skip
    model = graph("flat = Flatten(kept) y = own.Product(flat, weights)")
    condition = helper.make_node("If", ["yes"], ["kept"], then_branch=branch, else_branch=branch)
    model.graph.node.insert(0, condition)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    product = helper.make_node("MatMul", ["a", "b"], ["c"], doc_string=trace)
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Product", ["a", "b"], ["c"], [product], opsets)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    parts: list[Any] = [*model.functions, model.graph, *model.graph.node, *model.graph.initializer]
    for part in (model, *parts, *model.graph.input, *model.graph.output):
        part.doc_string = trace
        part.metadata_props.add(key="stack_trace", value=trace)
    path = tmp_path / "m.onnx"
    finish(draft(model=model), Target(path))
    assert trace.encode() not in path.read_bytes()
    inputs = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
    (found,) = onnxruntime.InferenceSession(path).run(["logits"], {"image": inputs})
    np.testing.assert_allclose(found, reference(inputs), atol=1e-4)


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"model": graph(inputs="float[2,3,8,8] x", outputs="float[2,5] y")}, ExportError,
         "its batch came out fixed at 2"),
        ({"model": graph(inputs="float[N,3,8,8] x, float[N,5] z",
                         body="f = Flatten(x) s = MatMul(f, weights) y = Add(s, z)")},
         ExportError, "has 2 inputs (x, z)"),
        ({"model": graph("f = Flatten(x) y = MatMul(f, weights) z = Relu(y)",
                         outputs="float[N,5] y, float[N,5] z")},
         ExportError, "has 2 outputs (y, z)"),
        ({"model": graph("f = Flatten(x) y = Secret(f, weights)")}, ExportError,
         "operators that ONNX does not have (Secret)"),
        ({"model": graph("f = Flatten(x) y = com.example.Secret(f, weights)")}, ModelError,
         "'com.example'"),
        ({"reference": lambda x: np.full((len(x), 5), np.nan)}, ExportError, "gives NaN in Paper"),
        ({"reference": lambda x: np.array([["a"] * 5] * len(x))}, ExportError, "values of type"),
        ({"reference": lambda x: reference(x).argmax(1)}, ExportError, "values of type int64"),
        ({"reference": lambda x: reference(x)[:, :1]}, ExportError,
         "gives one number for each image"),
        ({"reference": lambda x: reference(x)[:, :, None]}, ExportError, "at least 2 classes"),
        ({"reference": lambda x: np.array([{"scores": 1}] * len(x))}, ExportError,
         "gives several things"),
        ({"reference": lambda x: reference(x) + np.random.default_rng().random()}, ExportError,
         "for twice the same images"),
        ({"reference": lambda x: reference(x) - x.mean()}, ExportError,
         "for an image alone and among others"),
        ({"model": graph(opset=19)}, ExportError, "opset 18 was asked for"),
        ({"model": in_bfloat16()}, ExportError, "computes in bfloat16"),
        ({"reference": lambda x: len(x) / 0}, ExportError, "fails on a batch of 16 images"),
        ({"reference": not_alone}, ExportError, "fails on a batch of 1 image; any"),
        ({"preprocess": iaside_onnx.Preprocess(input_size=(3, 9, 9))}, PreprocessError, "9"),
    ],
)  # fmt: skip
def test_bad_drafts(changed: Any, error: type[Exception], says: str, tmp_path: Path) -> None:
    """Each must fail with one sentence that names file and cause, and create no file."""
    with pytest.raises(error) as caught:
        finish(draft(**changed), Target(tmp_path / "m.onnx"))
    assert says in str(caught.value)
    assert ".tmp" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_specification_beside_the_output(tmp_path: Path) -> None:
    """It takes precedence over the one inside, so a stale one would silently spoil every audit."""
    beside = tmp_path / "m.preprocess.json"
    beside.write_text('{"mean": [0.25]}')
    with pytest.raises(PreprocessError, match="lies beside"):
        finish(draft(), Target(tmp_path / "m.onnx"))
    beside.write_text('{"mean": [0.5]}')
    finish(draft(), Target(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"output": "m.h5"}, "end its name in .onnx"),
        ({"output": "none/m.onnx"}, "its folder does not exist"),
        ({"output": "there.onnx"}, "already exists; give --overwrite"),
        ({"output": "m.onnx", "tolerance": 0.0}, "the tolerance must be above 0"),
        ({"output": "m.onnx", "tolerance": float("nan")}, "the tolerance must be above 0"),
        ({"output": "m.onnx", "opset": 9}, "opsets 13 to 21"),
    ],
)
def test_bad_targets(
    words: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong options must fail before the work starts."""
    monkeypatch.chdir(tmp_path)
    Path("there.onnx").touch()
    with pytest.raises(OptionError) as caught:
        Target(**{**words, "output": Path(words["output"])})
    assert says in str(caught.value)
