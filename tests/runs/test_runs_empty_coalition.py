"""The baseline is evaluated before the work: every image depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import iaside_onnx
from iaside_onnx.errors import ModelError
from tests.runs.mixing_models import PIXELS, answers, build, save

_STRETCHED = (
    "a = ReduceMin<axes=[1, 2, 3]>(image) b = ReduceMax<axes=[1, 2, 3]>(image) "
    "c = Sub(image, a) d = Sub(b, a) h = Div(c, d)"
)
_BY_MEAN = "m = ReduceMean<axes=[1, 2, 3]>(image) h = Div(image, m)"
_BLACK = np.zeros((1, 1, 8, 8), np.float32)
_WHITE = np.ones((1, 1, 8, 8), np.float32)


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("body", "image", "options", "works"),
    [
        (_STRETCHED, _BLACK, {"baseline": "zero"}, "noise or complement"),
        (_STRETCHED, _WHITE, {"baseline": "mean"}, "noise or complement"),
        (_STRETCHED, _BLACK, {"baseline": "zero", "pixel_range": "minmax"}, "noise or complement"),
        (_BY_MEAN, _BLACK, {"baseline": "zero"}, "mean or noise or complement"),
        ("h = Sqrt(image)", -_WHITE, {"baseline": "noise"}, "zero or mean or complement"),
    ],
    ids=["zero", "mean", "minmax", "black alone", "noise"],
)
def test_a_baseline_without_an_answer_is_named_with_those_that_work(
    tmp_path: Path, body: str, image: NDArray[np.float32], options: dict[str, Any], works: str
) -> None:
    """All images would be evaluated, fail, and leave a folder of shards that are of no use."""
    save(tmp_path, build(body))
    assert np.isnan(answers(tmp_path / "model.onnx", image, 1)).all()
    paths = tmp_path / "model.onnx", tmp_path / "images.npz", tmp_path / "out.h5"
    words = rf"baseline '{options['baseline']}'.*NaN.*`baseline={works}`,"
    with pytest.raises(ModelError, match=words):
        iaside_onnx.decompose(*paths, bands=3, **options)
    assert _left(tmp_path) == ["images.npz", "model.onnx"]


def test_the_baseline_that_the_error_names_works(tmp_path: Path) -> None:
    """Advice that leads to the same error is none."""
    save(tmp_path, build(_BY_MEAN))
    archive = iaside_onnx.decompose(
        tmp_path / "model.onnx", tmp_path / "images.npz", tmp_path / "out.h5",
        bands=3, baseline="mean",
    )  # fmt: skip
    color = np.full((1, 1, 8, 8), PIXELS.mean() / 255, np.float32)
    expected = answers(tmp_path / "model.onnx", color, 1)[0, np.arange(9) % 5]
    np.testing.assert_allclose(archive.worth()[:, 0], expected, atol=1e-4)


def test_a_single_bad_partner_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One image that the model cannot take must not stop the others from being evaluated."""
    pixels = PIXELS.copy()
    pixels[0] = 0
    save(tmp_path, build(_BY_MEAN), pixels)
    archive = iaside_onnx.decompose(
        tmp_path / "model.onnx", tmp_path / "images.npz", tmp_path / "out.h5",
        bands=3, baseline="complement", on_bad_image="skip",
    )  # fmt: skip
    assert archive["image"].size > 0
    assert any("1 of 4 images tried" in line for line in caplog.messages)
