"""Pixels to log-probabilities: the right inputs, in any number, and the same in any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from scipy import special

from iaside_onnx.errors import EvaluationError, OptionError
from iaside_onnx.runtime import Classifier, InputTransform, Predictor, load_classifier, read_graph
from iaside_onnx.types import LAYOUTS, Layout
from tests.runtime.failing_session import limited
from tests.support.onnx_models import Net

RNG = np.random.default_rng(4)
SIZE = (3, 5, 6)
PIXELS = RNG.random((7, *SIZE), dtype=np.float32)
SCALE = np.array([2.0, 3.0, 0.5], dtype=np.float32)
SHIFT = np.array([-0.5, 0.25, 0.0], dtype=np.float32)
BYTES = np.full(3, 255.0, dtype=np.float32)


def load(net: Net, folder: Path) -> Classifier:
    return load_classifier(read_graph(net.save(folder / "net.onnx")), device="cpu")


def predictor(classifier: Classifier, **options: Any) -> Predictor:
    settings: dict[str, Any] = {"scale": SCALE, "shift": SHIFT, "image_shape": SIZE}
    return Predictor(classifier, **(settings | options))


def inputs_of(pixels: NDArray[np.float32], layout: Layout, dtype: str) -> NDArray[Any]:
    """What a model should be given, pixel by pixel in float64."""
    if dtype == "uint8":
        values = np.floor(pixels.astype(np.float64) * 255 + 0.5)
    else:
        channels = [pixels[:, c].astype(np.float64) * SCALE[c] + SHIFT[c] for c in range(3)]
        values = np.stack(channels, axis=1)
    return np.ascontiguousarray(np.moveaxis(values, 1, -1) if layout == "NHWC" else values, dtype)


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_are_those_of_the_model_on_normalised_pixels(
    layout: Layout, dtype: str, batch: int | None, tmp_path: Path
) -> None:
    """Attacks and predictions would be of other images than the ones that are divided."""
    net = Net(SIZE, layout=layout, dtype=dtype, batch=batch)
    free = Net(SIZE, layout=layout, dtype=dtype)
    session = onnxruntime.InferenceSession(free.model().SerializeToString())
    (wanted,) = session.run(None, {"image": inputs_of(PIXELS, layout, dtype)})
    words = {"scale": BYTES, "shift": np.zeros(3, np.float32)} if dtype == "uint8" else {}
    made = predictor(load(net, tmp_path), batch_size=2, **words)
    before = PIXELS.copy()
    np.testing.assert_allclose(made.outputs(PIXELS), wanted, rtol=0, atol=2e-3)
    np.testing.assert_array_equal(PIXELS, before)
    values, floored = made.log_probabilities(PIXELS)
    assert values.dtype == np.float64
    assert not floored.any()
    expected = special.log_softmax(wanted.astype(np.float64), axis=1)
    np.testing.assert_allclose(values, expected, rtol=0, atol=2e-3)
    np.testing.assert_array_equal(made(PIXELS), values)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_the_transform_is_one_formula_in_every_layout_and_type(dtype: str, layout: Layout) -> None:
    """Exports would be checked on other inputs than the audit gives."""
    scale, shift = (BYTES, np.zeros(3, np.float32)) if dtype == "uint8" else (SCALE, SHIFT)
    found = InputTransform(scale, shift, layout, np.dtype(dtype))(PIXELS)
    wanted = inputs_of(PIXELS, layout, dtype)
    assert found.dtype == wanted.dtype
    assert found.flags.c_contiguous
    tolerance = 1e-3 if dtype == "float16" else 1e-6
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


def test_bytes_are_rounded_and_clipped_not_wrapped() -> None:
    """A filtered image leaves [0, 1]: 256 would become 0, and 0.9 would become 0."""
    values = np.array([-3.0, -0.4, 0.6, 254.4, 254.6, 300.0], np.float32).reshape(1, 1, 1, 6)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    found = InputTransform(one, zero, "NCHW", np.dtype(np.uint8))(values)
    assert found.ravel().tolist() == [0, 0, 1, 254, 255, 255]


@pytest.mark.parametrize("images", [1, 2, 3, 200])
def test_any_number_of_images_is_taken(images: int, tmp_path: Path) -> None:
    """The last images of an attack would be missing, or an image be answered by its neighbour."""
    made = predictor(load(Net(SIZE), tmp_path), batch_size=2)
    pixels = PIXELS[np.arange(images) % 7]
    alone = np.concatenate([made(pixel[None]) for pixel in PIXELS])
    np.testing.assert_allclose(made(pixels), alone[np.arange(images) % 7], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3, 5, 6), (2, 1, 5, 6), (3, 5, 6), (2, 5, 6, 3)])
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    """One grey channel would be taken for three colours."""
    with pytest.raises(OptionError, match=r"where \(n, 3, 5, 6\) with at least one image was"):
        predictor(load(Net(SIZE), tmp_path))(np.zeros(shape, np.float32))


def test_probabilities_of_zero_are_floored_and_marked(tmp_path: Path) -> None:
    """Minus infinity would spoil every mean."""
    net = Net(SIZE, ending="softmax", gain=60.0)
    made = predictor(load(net, tmp_path), output_kind="probabilities")
    outputs = made.outputs(PIXELS)
    values, floored = made.log_probabilities(PIXELS)
    assert 0 < floored.sum() < floored.size
    np.testing.assert_array_equal(floored, outputs < 2.0**-126)
    assert values[floored] == pytest.approx(np.log(2.0**-126))


def test_nan_is_an_error(tmp_path: Path) -> None:
    """NaN would be a prediction of class 0."""
    pixels = PIXELS.copy()
    pixels[3] = np.nan
    with pytest.raises(EvaluationError, match="NaN"):
        predictor(load(Net(SIZE), tmp_path))(pixels)


@pytest.mark.parametrize("fits", [1, 3, 6])
def test_memory_that_runs_out_halves_the_batch_and_loses_no_image(
    fits: int, tmp_path: Path
) -> None:
    """Images of the batch that did not fit would be lost, or predicted twice."""
    told = list[int]()
    free = load(Net(SIZE), tmp_path)
    wanted = predictor(free, batch_size=16)(PIXELS)
    tight = limited(free, fits, RuntimeError("CUDA error: out of memory"))
    made = predictor(tight, batch_size=16, on_smaller_batch=told.append)
    np.testing.assert_allclose(made(PIXELS), wanted, rtol=0, atol=1e-5)
    assert told == [size for size in (8, 4, 2, 1) if size >= made.batch_size]
    assert fits / 2 < made.batch_size <= fits
