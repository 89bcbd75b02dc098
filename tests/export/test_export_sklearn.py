"""scikit-learn to ONNX with the real scikit-learn and skl2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")

import iaside_onnx
from iaside_onnx.errors import ExportError
from tests.export import sklearn_models
from tests.export.checks import check_file, metadata

pytestmark = pytest.mark.filterwarnings("ignore")

HERE = "tests.export.sklearn_models"


@pytest.mark.parametrize("factory", ["pipeline", "named", "forest"])
def test_probabilities(factory: str, tmp_path: Path) -> None:
    """Another order of pixels or classes, or classes in place of scores, would differ."""
    model, path = getattr(sklearn_models, factory)(), tmp_path / "net.onnx"
    made = iaside_onnx.export_sklearn(f"{HERE}:{factory}", path, input_size=(1, 8, 8))
    check_file(path, lambda x: model.predict_proba(x.reshape(len(x), -1)), (8, 8, 1))
    assert made.output_kind == "probabilities"
    assert metadata(path, "iaside.export")["framework"] == "scikit-learn"


def test_scores_without_probabilities(tmp_path: Path) -> None:
    """Margins must come out unchanged, as a classifier may have no probabilities."""
    model, path = sklearn_models.margins(), tmp_path / "net.onnx"
    iaside_onnx.export_sklearn(f"{HERE}:margins", path, input_size=(1, 8, 8))
    check_file(path, lambda x: model.decision_function(x.reshape(len(x), -1)), (8, 8, 1))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_order_of_pixels(layout: Literal["NHWC", "NCHW"], tmp_path: Path) -> None:
    """The wrong order, by pixel or by channel, would permute the features."""
    model, path = sklearn_models.colours(), tmp_path / "net.onnx"
    iaside_onnx.export_sklearn(f"{HERE}:colours", path, input_size=(3, 4, 3), layout=layout)
    shape = (4, 3, 3) if layout == "NHWC" else (3, 4, 3)
    image = np.random.default_rng(1).random((1, *shape), dtype=np.float32)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"image": image})
    np.testing.assert_allclose(found, model.predict_proba(image.reshape(1, 36)), atol=1e-5)


def test_a_decomposition_of_digits(tmp_path: Path) -> None:
    """An audit of the export must find the accuracy of the pipeline itself."""
    rows, labels = sklearn_models.digits()
    path = tmp_path / "net.onnx"
    iaside_onnx.export_sklearn(
        f"{HERE}:pipeline", path, input_size=(1, 8, 8), preprocess=iaside_onnx.Preprocess()
    )
    images = rows[:40].reshape(-1, 8, 8)
    archive = iaside_onnx.decompose(path, images, tmp_path / "a.h5", bands=3, labels=labels[:40])
    expected = (sklearn_models.pipeline().predict(rows[:40]) == labels[:40]).mean()
    assert archive.metadata.accuracy == pytest.approx(expected)


@pytest.mark.parametrize(
    ("source", "size", "says"),
    [
        (f"{HERE}:unfitted", (1, 8, 8), "has not been fitted"),
        (f"{HERE}:regression", (1, 8, 8), "returns a LinearRegression"),
        (f"{HERE}:np", (1, 8, 8), "returns a module"),
        (f"{HERE}:pipeline", (1, 8, 9), "takes rows of 64 values, but 1 x 8 x 9 pixels are 72"),
        (f"{HERE}:missing", (1, 8, 8), "has no 'missing'"),
        ("model.pkl", (1, 8, 8), "loading a pickle runs code"),
        ("model.joblib", (1, 8, 8), "loading a pickle runs code"),
        ("nowhere:model", (1, 8, 8), "there is no module 'nowhere'"),
    ],
)
def test_bad_models(source: str, size: Any, says: str, tmp_path: Path) -> None:
    """Each must fail with one sentence that names the cause, and create no file."""
    with pytest.raises(ExportError) as caught:
        iaside_onnx.export_sklearn(source, tmp_path / "bad.onnx", input_size=size)
    assert says in str(caught.value)
    assert not list(tmp_path.iterdir())
