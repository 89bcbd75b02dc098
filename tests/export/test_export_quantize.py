"""FP16 and INT8 of bundled models, with the real tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

pytest.importorskip("sympy")

import iaside_onnx
from iaside_onnx.errors import ExportError, ImageError, OptionError
from iaside_onnx.export.quantization import split_images
from iaside_onnx.images import open_images
from tests.support.bad_case import graph, save_images, save_model
from tests.support.command import CNN, MODELS, PICTURES, in_process

pytestmark = pytest.mark.filterwarnings("ignore")


def top(path: Path, images: Any, nhwc: bool = False) -> Any:
    """Classes of the model, by the runtime alone; images as the bundled models take them."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    spec = json.loads(path.with_suffix(".preprocess.json").read_text()) if not nhwc else {}
    x = images.astype(np.float32) / 255
    if spec:
        low, high = spec["value_range"]
        x = (low + (high - low) * x - spec["mean"][0]) / spec["std"][0]
    else:
        x = 2 * x - 1
    x = x[..., None] if nhwc else x[:, None]
    return session.run(None, {session.get_inputs()[0].name: x})[0].argmax(1)


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, iaside_onnx.Quantized]:
    path = tmp_path_factory.mktemp("int8") / "cnn-int8.onnx"
    return path, iaside_onnx.quantize(CNN, PICTURES, path, to="int8", calibration=100)


def test_int8_is_static_and_per_channel(int8: tuple[Path, iaside_onnx.Quantized]) -> None:
    """Dynamic quantisation, or one scale for all channels, would be another model."""
    path, made = int8
    model = onnx.load(str(path))
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert "DynamicQuantizeLinear" not in kinds
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = [a for a in arrays.values() if a.dtype == np.int8 and a.ndim == 4]
    assert weights
    scales = {a.size for name, a in arrays.items() if name.endswith("_scale") and a.ndim == 1}
    assert {w.shape[0] for w in weights} <= scales
    assert made.facts.precision == "int8"
    assert made.facts.size < CNN.stat().st_size / 2
    (image,) = onnxruntime.InferenceSession(path).get_inputs()
    assert (image.type, image.shape[0]) == ("tensor(float)", "batch")


def test_agreement_is_that_of_images_held_out(int8: tuple[Path, iaside_onnx.Quantized]) -> None:
    """An agreement on the calibration images, or on a few images, would be too high."""
    path, made = int8
    assert (made.calibration, made.held_out) == (100, 500)
    with np.load(PICTURES) as bundled:
        images = bundled["images"]
    path.with_suffix(".preprocess.json").write_text(CNN.with_suffix(".preprocess.json").read_text())
    same = top(path, images) == top(CNN, images)
    assert made.agreement == pytest.approx(same.mean(), abs=0.02)
    kept = json.loads(made.facts.metadata["iaside.quantize"])
    assert (kept["calibration_images"], kept["held_out_images"]) == (100, 500)
    assert kept["original_sha256"] == made.original.sha256
    assert kept["agreement"] == made.agreement


@pytest.mark.parametrize(("calibration", "first", "second"), [(30, 30, 500), (900, 500, 500)])
@pytest.mark.parametrize("labels", [True, False])
def test_calibration_and_comparison_share_no_image(
    labels: bool, calibration: int, first: int, second: int
) -> None:
    """Compared on images that calibrated it, a model would seem better than it is."""
    with np.load(PICTURES) as bundled:
        images = (bundled["images"], bundled["labels"]) if labels else bundled["images"]
    chosen = split_images(open_images(images), calibration, seed=0)
    assert tuple(len(rows) for rows in chosen) == (first, second)
    assert len(set(np.concatenate(chosen).tolist())) == first + second


def test_fp16_keeps_float32_ends(tmp_path: Path) -> None:
    """Other input types would need another preprocessing; weights must halve in size."""
    path = tmp_path / "half.onnx"
    made = iaside_onnx.quantize(CNN, PICTURES, path, to="fp16")
    session = onnxruntime.InferenceSession(path)
    assert [e.type for e in (*session.get_inputs(), *session.get_outputs())] == [
        "tensor(float)"
    ] * 2
    assert made.facts.precision == "float16"
    assert made.facts.size < 0.65 * CNN.stat().st_size
    assert (made.calibration, made.held_out) == (0, 500)
    assert made.agreement > 0.99


@pytest.mark.parametrize("to", ["int8", "fp16"])
def test_the_quantised_model_can_be_audited(to: Any, tmp_path: Path) -> None:
    """A lost preprocessing or another layout would ruin the accuracy."""
    path = tmp_path / "q.onnx"
    iaside_onnx.quantize(MODELS / "fashion-cnn-keras.onnx", PICTURES, path, to=to, calibration=50)
    archive = iaside_onnx.decompose(path, PICTURES, tmp_path / "q.h5", bands=2, limit=100)
    with np.load(PICTURES) as bundled:
        images, labels = bundled["images"], bundled["labels"]
    rows = [int(i) for i in archive["image_id"]]
    expected = (top(path, images[rows], nhwc=True) == labels[rows]).mean()
    assert archive.metadata.accuracy == pytest.approx(expected)
    assert archive.metadata.accuracy > 0.8
    assert archive.metadata.precision == {"int8": "int8", "fp16": "float16"}[to]


def test_command_line(tmp_path: Path) -> None:
    """The text and --json must report the same agreement."""
    words: list[str | Path] = [
        "quantize",
        CNN,
        "--images",
        PICTURES,
        "--calibration",
        "20",
        "--overwrite",
    ]
    outcome = in_process(*words, "-o", tmp_path / "q.onnx")
    outcome.succeeds()
    assert "calibrated on 20 images" in outcome.out
    assert "of 500 held-out images in the same class" in outcome.out
    outcome = in_process(*words, "-o", tmp_path / "q.onnx", "--json")
    found = json.loads(outcome.out)
    assert found["to"] == "int8"
    assert f"{found['agreement']:.3f} of 500" in in_process(*words, "-o", tmp_path / "q.onnx").out


def test_the_last_softmax_is_not_quantised(tmp_path: Path) -> None:
    """In steps of 1/256 most probabilities are 0, and an audit would measure the steps."""
    path = tmp_path / "q.onnx"
    iaside_onnx.quantize(MODELS / "fashion-cnn-keras.onnx", PICTURES, path, calibration=50)
    with np.load(PICTURES) as bundled:
        images = 2 * bundled["images"][:50, :, :, None].astype(np.float32) / 255 - 1
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    assert 0 < found.min() < 1e-3
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_original_is_kept(tmp_path: Path) -> None:
    """Quantising in place would destroy the model that the new one is compared with."""
    save_model(tmp_path)
    save_images(tmp_path)
    model = tmp_path / "model.onnx"
    data = model.read_bytes()
    with pytest.raises(OptionError, match="is the model itself"):
        iaside_onnx.quantize(model, tmp_path / "images.npz", model, overwrite=True)
    assert model.read_bytes() == data


def test_a_guessed_preprocessing_is_not_stored(tmp_path: Path) -> None:
    """Stored, it would look like one that a user gave, and no audit would warn."""
    save_model(tmp_path)
    save_images(tmp_path)
    path = tmp_path / "q.onnx"
    iaside_onnx.quantize(tmp_path / "model.onnx", tmp_path / "images.npz", path, to="fp16")
    assert "as a guess" in iaside_onnx.inspect_model(path).preprocess_note


def test_fp16_of_a_model_of_bytes(tmp_path: Path) -> None:
    """The converter handles the first Cast of such a model wrongly."""
    body = "cast = Cast<to=1>(image) flat = Flatten(cast) scores = MatMul(flat, weights)"
    save_model(tmp_path, graph(body, inputs="uint8[N,1,8,8] image"))
    save_images(tmp_path)
    path = tmp_path / "q.onnx"
    made = iaside_onnx.quantize(tmp_path / "model.onnx", tmp_path / "images.npz", path, to="fp16")
    assert made.facts.precision == "float16"


def test_a_static_batch(tmp_path: Path) -> None:
    """A last batch of fewer images than the graph's batch size would fail."""
    save_model(tmp_path, graph(inputs="float[4,1,8,8] image", outputs="float[4,5] scores"))
    save_images(tmp_path)
    made = iaside_onnx.quantize(
        tmp_path / "model.onnx", tmp_path / "images.npz", tmp_path / "q.onnx", calibration=1
    )
    assert made.held_out == 5


# The scores times a million and back: over the 65504 of FP16 in Concat, which ONNX Runtime computes
# in FP16 on a CPU too.
OVERFLOWS = """
    flat = Flatten(image) raw = MatMul(flat, weights)
    k = Constant<value = float {1000}>() a = Mul(raw, k) b = Mul(a, k)
    zero = Constant<value = int64[1] {0}>() five = Constant<value = int64[1] {5}>()
    axis = Constant<value = int64[1] {1}>()
    both = Concat<axis=1>(b, raw) first = Slice(both, zero, five, axis)
    c = Div(first, k) scores = Div(c, k)
"""


def test_values_that_do_not_fit_are_found(tmp_path: Path) -> None:
    """A model that overflows gives NaN or infinity, which no agreement would show."""
    save_model(tmp_path, graph(OVERFLOWS))
    save_images(tmp_path)
    path = tmp_path / "q.onnx"
    with pytest.raises(ExportError, match="gives NaN or infinite outputs"):
        iaside_onnx.quantize(tmp_path / "model.onnx", tmp_path / "images.npz", path, to="fp16")
    assert not path.exists()


def test_bad_input(int8: tuple[Path, iaside_onnx.Quantized], tmp_path: Path) -> None:
    """Each must fail with one sentence, and create no file."""
    path = tmp_path / "q.onnx"
    in_process("quantize", CNN, "-o", path).fails("needs images", "--images SRC", code=2)
    in_process("quantize", CNN, "--images", tmp_path, "-o", path).fails("holds no images")
    in_process("quantize", int8[0], "--images", PICTURES, "-o", path).fails("is already int8")
    in_process("quantize", CNN, "--images", PICTURES, "-o", path, "--calibration", "0").fails(
        "at least 1 calibration image", code=2
    )
    with pytest.raises(ExportError, match="at least 2 images"):
        iaside_onnx.quantize(CNN, np.zeros((1, 28, 28), np.uint8), path)
    with pytest.raises(ImageError, match="not in"):
        iaside_onnx.quantize(CNN, np.full((4, 28, 28), 7.0), path)
    with pytest.raises(OptionError, match="unknown precision"):
        iaside_onnx.quantize(CNN, PICTURES, path, to="int4")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
