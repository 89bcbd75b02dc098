"""The worth of coalitions on an offset and any components, and runs that must not differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from iaside_onnx import Archive, all_coalitions, decompose
from iaside_onnx.errors import EvaluationError
from iaside_onnx.runtime import Answer, Game, Predictor, WorthEvaluator, load_classifier, read_graph
from iaside_onnx.spectrum import band_index
from iaside_onnx.types import LAYOUTS, PIXEL_RANGES, Coalitions, Layout, PixelRange, Pixels
from tests.runtime.filtering import bands_of
from tests.support.onnx_models import Net
from tests.support.oracle import Setting, solve

MODELS = Path(__file__).parents[2] / "models"
RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (4, 9, 14, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 5, 4)


def run(net: Net, folder: Path, name: str = "out", **options: Any) -> Archive:
    """A run over the four images, three bands unless told."""
    settings: dict[str, Any] = {"labels": LABELS, "bands": 3} | options
    path = net.save(folder / f"{name}.onnx")
    return decompose(path, IMAGES, folder / f"{name}.h5", **settings)


BANDS = 3


def evaluator(net: Net, folder: Path, pixel_range: PixelRange = "none") -> WorthEvaluator:
    """Of three bands, with another normalisation for each channel."""
    classifier = load_classifier(read_graph(net.save(folder / "net.onnx")), device="cpu")
    channels, height, width = net.size
    predictor = Predictor(
        classifier,
        image_shape=net.size,
        scale=np.linspace(1, 2, channels, dtype=np.float32),
        shift=np.linspace(-0.5, 0.5, channels, dtype=np.float32),
    )
    return WorthEvaluator(predictor, band_index(height, width, BANDS), BANDS, pixel_range)


def play(
    made: WorthEvaluator, offset: Pixels, difference: Pixels, coalitions: Coalitions, label: int
) -> Answer:
    (answer,) = made.evaluate([Game(offset, difference, coalitions, label=label)])
    return answer


@pytest.mark.parametrize("pixel_range", PIXEL_RANGES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_difference_can_be_divided(
    layout: Layout, pixel_range: PixelRange, tmp_path: Path
) -> None:
    """It need not be an image over a baseline: a perturbation is divided over what it damages."""
    net = Net((3, 5, 6), layout=layout)
    offset = RNG.random((3, 5, 6), dtype=np.float32)
    difference = RNG.normal(size=(3, 5, 6)).astype(np.float32)
    bands = bands_of(difference, band_index(5, 6, BANDS), BANDS)
    wanted = []
    session = onnxruntime.InferenceSession(net.model().SerializeToString())
    scale, shift = np.linspace(1, 2, 3)[:, None, None], np.linspace(-0.5, 0.5, 3)[:, None, None]
    for coalition in (5, 0, 6):
        image = offset + bands[[b for b in range(BANDS) if coalition >> b & 1]].sum(axis=0)
        if pixel_range == "minmax":
            image = (image - image.min()) / np.ptp(image)
        if pixel_range == "clip":
            image = image.clip(0, 1)
        inputs = image * scale + shift
        inputs = inputs.transpose(1, 2, 0) if layout == "NHWC" else inputs
        (logits,) = session.run(None, {"image": inputs[None].astype(np.float32)})
        z = logits[0].astype(np.float64)
        wanted.append(z[2] - np.log(np.exp(z).sum()))
    coalitions = np.array([5, 0, 6], dtype=np.uint64)
    answer = play(evaluator(net, tmp_path, pixel_range), offset, difference, coalitions, 2)
    assert answer.values.dtype == np.float64
    assert not answer.floored.any()
    np.testing.assert_allclose(answer.values, wanted, rtol=0, atol=1e-5)


def test_an_image_of_nan_is_an_error_and_the_next_is_not(tmp_path: Path) -> None:
    """Buffers are used again: rows that an earlier image left must not reach the next."""
    made = evaluator(Net((1, 8, 8), batch=3), tmp_path)
    difference = RNG.random((1, 8, 8), dtype=np.float32)
    good = RNG.random((1, 8, 8), dtype=np.float32)
    wanted = play(made, good, difference, all_coalitions(2), 1)
    failed = play(made, np.full_like(good, np.nan), difference, all_coalitions(2), 1)
    assert isinstance(failed.error, EvaluationError)
    assert "NaN" in str(failed.error)
    again = play(made, good, difference, all_coalitions(2), 1)
    np.testing.assert_array_equal(again.values, wanted.values)


def test_worths_and_predictions_go_through_the_same_normalisation(tmp_path: Path) -> None:
    """`predicted` and accuracy would be those of other inputs than the worths."""
    made = evaluator(Net((3, 5, 6)), tmp_path)
    images = RNG.random((5, 3, 5, 6), dtype=np.float32)
    for image, row in zip(images, made.predictor(images), strict=True):
        none = np.zeros((3, 5, 6), np.float32)
        answer = play(made, image, none, np.array([0], dtype=np.uint64), 3)
        assert answer.values[0] == pytest.approx(row[3], abs=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 5, 64])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_a_static_batch_changes_nothing(batch: int, dtype: str, tmp_path: Path) -> None:
    """What pads the last batch would get into the results, or rows would be shifted."""
    options: dict[str, Any] = {"baseline": "mean", "bands": 4}
    free = run(Net((3, 9, 14), dtype=dtype), tmp_path, "free", **options)
    fixed = run(Net((3, 9, 14), dtype=dtype, batch=batch), tmp_path, "fixed", **options)
    assert fixed.metadata.options["resolved"]["batch_size"] == batch
    np.testing.assert_allclose(fixed["worth"], free["worth"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(fixed["predicted"], free["predicted"])


def test_batch_size_and_threads_change_rounding_alone(tmp_path: Path) -> None:
    """By less than 1e-5 nats, on a real network; worths reach -20 there."""
    archives = [
        decompose(
            MODELS / "fashion-cnn.onnx", MODELS / "fashion-mnist-1000.npz",
            tmp_path / f"{size}-{threads}.h5", bands=5, limit=6, batch_size=size, threads=threads,
        )
        for size, threads in ((32, 1), (1, 1), (7, 2), (100, 1))
    ]  # fmt: skip
    for other in archives[1:]:
        np.testing.assert_allclose(other["worth"], archives[0]["worth"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(other["phi_image"], archives[0]["phi_image"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("baseline", ["zero", "noise"])
def test_limit_changes_no_image_that_both_runs_hold(baseline: str, tmp_path: Path) -> None:
    """An image's result would depend on its company."""
    few, many = (
        decompose(
            MODELS / "fashion-cnn.onnx", MODELS / "fashion-mnist-1000.npz", tmp_path / f"{n}.h5",
            bands=3, limit=n, baseline=baseline,  # type: ignore[arg-type]  # a word each
        )
        for n in (60, 400)
    )  # fmt: skip
    common, a, b = np.intersect1d(few["image"], many["image"], return_indices=True)
    assert common.size > 10
    np.testing.assert_allclose(few["worth"][a], many["worth"][b], rtol=0, atol=1e-5)
    assert few["image_sha256"][a].tolist() == many["image_sha256"][b].tolist()


def test_probabilities_that_underflow_are_floored_and_counted(tmp_path: Path) -> None:
    """-inf would fail the image; a floor in silence would pass for a measurement."""
    net = Net((3, 9, 14), ending="softmax", gain=25.0)
    archive = run(net, tmp_path)
    pixels = IMAGES.transpose(0, 3, 1, 2) / 255
    # From the logits of the same weights there is no floor.
    free = solve(net, Setting(3), pixels, LABELS).worth
    floor = np.log(2.0**-126)
    below = (free < floor).sum(axis=1)
    assert 0 < below.sum() < free.size
    assert archive["floored"].tolist() == below.tolist()
    np.testing.assert_allclose(archive["worth"], np.maximum(free, floor), rtol=0, atol=2e-3)
    (note,) = [note for note in archive.metadata.notes if "probabilities were below" in note]
    assert note.startswith(f"{below.sum()} ")


def test_without_underflow_nothing_is_counted(bundled_archive: Archive) -> None:
    assert not bundled_archive["floored"].any()
    assert not [note for note in bundled_archive.metadata.notes if "below" in note]


def test_the_mean_baseline_is_the_data_sets_colour(tmp_path: Path) -> None:
    """The mean of all images of the run, channel by channel, in the model's order."""
    archive = run(Net((3, 9, 14)), tmp_path, baseline="mean")
    wanted: NDArray[np.float64] = IMAGES.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(
        archive.metadata.options["resolved"]["mean_color"], wanted, rtol=0, atol=1e-6
    )
    # With no band present every image is this colour, so what differs is the label.
    empty = archive["worth"][:, 0]
    for label in np.unique(LABELS):
        assert np.ptp(empty[label == LABELS]) < 1e-6
