"""Keras to ONNX with the real Keras and TensorFlow."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

import iaside_onnx
from iaside_onnx.errors import ExportError, OptionError
from iaside_onnx.export.keras import export_keras
from tests.export import keras_models
from tests.export.checks import check_file, metadata, sha256
from tests.export.twins import SPEC, assert_same_contributions

pytestmark = pytest.mark.filterwarnings("ignore")

HERE = "tests.export.keras_models"


def reference(model: Any) -> Any:
    return lambda inputs: np.asarray(model(inputs, training=False))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file(suffix: str, tmp_path: Path) -> None:
    """Another layout, training mode, or a lost softmax would differ."""
    model = keras_models.small()
    source, path = tmp_path / f"mine{suffix}", tmp_path / "net.onnx"
    model.save(source)
    made = iaside_onnx.export_keras(source, path, mode="tf")
    check_file(path, reference(model), (12, 16, 3))
    assert (made.signature.layout, made.output_kind) == ("NHWC", "probabilities")
    assert (made.signature.height, made.signature.width) == (12, 16)
    kept = metadata(path, "iaside.export")
    assert (kept["framework"], kept["versions"]["keras"]) == ("Keras", keras.__version__)
    assert kept["source_sha256"] == {source.name: sha256(source)}
    assert metadata(path, "iaside.preprocess")["value_range"] == [-1.0, 1.0]


def test_code_weights_and_an_open_size(tmp_path: Path) -> None:
    """A model of any size must get the given one, height and width in the right order."""
    model = keras_models.open_size()
    weights, path = tmp_path / "w.weights.h5", tmp_path / "net.onnx"
    model.set_weights([np.random.default_rng(1).random(w.shape) for w in model.get_weights()])
    model.save_weights(weights)
    with pytest.raises(ExportError, match=r"3 x any x any .*give `input_size="):
        iaside_onnx.export_keras(f"{HERE}:open_size", path, weights=weights)
    made = iaside_onnx.export_keras(
        f"{HERE}:open_size", path, weights=weights, input_size=(3, 10, 14)
    )
    check_file(path, reference(model), (10, 14, 3))
    assert made.output_kind == "logits"
    assert set(metadata(path, "iaside.export")["source_sha256"]) == {
        "keras_models.py", "w.weights.h5",
    }  # fmt: skip


def test_twin(tmp_path: Path) -> None:
    """One network must have one decomposition, whatever framework it came from."""
    path = tmp_path / "twin.onnx"
    iaside_onnx.export_keras(f"{HERE}:twin", path, preprocess=SPEC)
    assert_same_contributions(path, tmp_path)


# A network of each mode, with what Keras itself does to its images.
FAMILIES = {
    "MobileNetV2": ("mobilenet_v2", "tf"),
    "ResNet50": ("resnet50", "caffe"),
    "ResNet50V2": ("resnet_v2", "tf"),
    "DenseNet121": ("densenet", "torch"),
    "EfficientNetB0": ("efficientnet", "raw"),
    "MobileNetV3Small": ("mobilenet_v3", "raw"),
    "ConvNeXtTiny": ("convnext", "raw"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_mode_is_guessed_as_keras_has_it(name: str, tmp_path: Path) -> None:
    """Images in another channel order, range or offset would look like a weak model."""
    module, mode = FAMILIES[name]
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 48, 3), classes=4)
    path = tmp_path / "net.onnx"
    made = export_keras_object(model, path, (3, 64, 48))
    assert f"keras:{mode}" in made.preprocess_note
    assert made.preprocess is not None
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 48, 3)).astype(np.float32)
    theirs = getattr(keras.applications, module).preprocess_input(pixels.copy())
    scale, shift = made.preprocess.affine()
    mine = pixels[..., ::-1] if made.preprocess.color_order == "bgr" else pixels
    np.testing.assert_allclose(mine / 255 * scale + shift, theirs, rtol=0, atol=1e-4)


def export_keras_object(model: Any, path: Path, size: tuple[int, int, int]) -> Any:
    """Export a model by way of a file."""
    source = path.with_suffix(".keras")
    model.save(source)
    return export_keras(source, path, input_size=size)


def test_what_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    """A family without its normalising layer, or no family, must give no preprocessing."""
    bare = keras.applications.MobileNetV3Small(
        weights=None, input_shape=(64, 64, 3), classes=4, include_preprocessing=False
    )
    image = keras.Input((64, 64, 3))
    inner = keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), classes=4)
    inside = keras.Model(image, inner(keras.applications.mobilenet_v2.preprocess_input(image)))
    unit = keras.Sequential(
        [keras.Input((64, 64, 3)), keras.layers.Rescaling(2.0, -1.0), inner], name="unit"
    )
    for model in (bare, inside, unit, keras_models.small()):
        made = export_keras_object(model, tmp_path / f"{model.name}.onnx", None)  # type: ignore[arg-type]
        assert made.preprocess is None
        assert "`mode=`" in made.preprocess_note
    # The same network within another that only passes images on is known.
    wrapped = keras.Model(image, inner(image))
    made = export_keras_object(wrapped, tmp_path / "wrapped.onnx", None)  # type: ignore[arg-type]
    assert "keras:tf" in made.preprocess_note


def test_a_layer_says_more_than_a_name(tmp_path: Path) -> None:
    """A normalising layer takes precedence over the name; grey images are not ImageNet's."""
    inside = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.RandomFlip(),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ],
        name="mobilenetv2_mine",
    )
    made = export_keras_object(inside, tmp_path / "a.onnx", None)  # type: ignore[arg-type]
    assert "keras:raw, as the model begins with rescaling" in made.preprocess_note
    grey = keras.Sequential(
        [keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(4)],
        name="resnet50_mine",
    )
    made = export_keras_object(grey, tmp_path / "b.onnx", None)  # type: ignore[arg-type]
    assert made.preprocess is None


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("two_inputs", "has 2 inputs (left, right)"),
        ("two_outputs", "has 2 outputs"),
        ("of_rows", "where (batch, height, width, channels) was expected"),
        ("unbuilt", "has not been built"),
        ("noise", "TypeError"),
        ("np", "returns a module"),
        ("missing", "has no 'missing'"),
    ],
)
def test_bad_code(factory: str, says: str, tmp_path: Path) -> None:
    """Each must fail with one sentence that names the cause, and create no file."""
    with pytest.raises(ExportError) as caught:
        iaside_onnx.export_keras(f"{HERE}:{factory}", tmp_path / "bad.onnx")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("factory", "name", "says"),
    [
        ("with_code", "m.keras", "holds Python code"),
        ("with_code", "m.h5", "holds Python code"),
        ("with_own_layer", "m.keras", "has custom layers"),
        ("pickle", "m.pkl", "is not a Keras file"),
        ("bytes", "m.keras", "not a Keras model, or a damaged one"),
        ("nothing", "m.keras", "does not exist"),
        ("folder", "m", "is it a SavedModel?"),
    ],
)
def test_bad_files(factory: str, name: str, says: str, tmp_path: Path) -> None:
    """Code inside a file must not run; the error must name the file."""
    source, path = tmp_path / name, tmp_path / "bad.onnx"
    if factory == "pickle":
        source.write_bytes(pickle.dumps({"a": 1}))
    elif factory == "bytes":
        source.write_bytes(b"no model")
    elif factory == "folder":
        source.mkdir()
    elif factory != "nothing":
        getattr(keras_models, factory)().save(source)
    with pytest.raises(ExportError) as caught:
        iaside_onnx.export_keras(source, path)
    assert says in str(caught.value)
    assert not path.exists()


def test_bad_options(tmp_path: Path) -> None:
    """Contradictory options must fail: mode beside preprocess, weights beside a file."""
    source, path = tmp_path / "m.keras", tmp_path / "bad.onnx"
    keras_models.small().save(source)
    with pytest.raises(OptionError, match="`mode="):
        iaside_onnx.export_keras(source, path, mode="tf", preprocess="keras:tf")
    with pytest.raises(OptionError, match="`mode="):
        iaside_onnx.export_keras(source, path, mode="torchvision")
    with pytest.raises(OptionError, match="`weights="):
        iaside_onnx.export_keras(source, path, weights=source)
