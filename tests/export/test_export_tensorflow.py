"""SavedModels and TensorFlow Lite to ONNX with the real TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

import iaside_onnx
from iaside_onnx.errors import ExportError
from tests.export import keras_models
from tests.export.checks import check_file, metadata
from tests.export.twins import SPEC, assert_same_contributions

pytestmark = pytest.mark.filterwarnings("ignore")


def save(folder: Path, function: Any, *inputs: Any) -> Path:
    """A SavedModel of a function."""
    module = tf.Module()
    module.call = tf.function(function, input_signature=list(inputs))
    tf.saved_model.save(
        module, str(folder),
        signatures={"serving_default": module.call.get_concrete_function()},
    )  # fmt: skip
    return folder


def images(dtype: Any = tf.float32) -> Any:
    return tf.TensorSpec((None, 8, 8, 3), dtype, name="images")


def mean_scores(x: Any) -> Any:
    """Five scores of an image."""
    return tf.reduce_mean(tf.cast(x, tf.float32), (1, 2)) @ tf.reshape(tf.range(15.0), (3, 5))


def test_a_saved_model(tmp_path: Path) -> None:
    """The file must give the outputs of the Keras model that was exported for serving."""
    model = keras_models.small()
    model.export(tmp_path / "served", verbose=False)
    path = tmp_path / "net.onnx"
    made = iaside_onnx.export_saved_model(tmp_path / "served", path, preprocess="keras:tf")
    check_file(path, lambda x: np.asarray(model(x, training=False)), (12, 16, 3))
    assert made.preprocess is not None
    assert made.preprocess.value_range == (-1.0, 1.0)
    assert len(metadata(path, "iaside.export")["source_sha256"]["served"]) == 64


def test_a_saved_model_of_bytes_with_class_names(tmp_path: Path) -> None:
    """Models for serving take uint8, and return class names beside their scores."""

    def call(x: Any) -> Any:
        scores = mean_scores(x)
        names = tf.gather(tf.constant(list("abcde")), tf.argmax(scores, 1))
        return {"scores": scores, "names": names}

    path = tmp_path / "net.onnx"
    made = iaside_onnx.export_saved_model(
        save(tmp_path / "m", call, images(tf.uint8)), path, preprocess="keras:raw"
    )
    assert made.signature.dtype == np.uint8
    assert made.signature.output_name == "logits"


def test_twin(tmp_path: Path) -> None:
    """One network must have one decomposition, also by way of a SavedModel."""
    keras_models.twin().export(tmp_path / "served", verbose=False)
    path = tmp_path / "twin.onnx"
    iaside_onnx.export_saved_model(tmp_path / "served", path, preprocess=SPEC)
    assert_same_contributions(path, tmp_path)


def words(x: Any) -> Any:
    return {"names": tf.strings.as_string(tf.argmax(mean_scores(x), 1))}


def two_scores(x: Any) -> Any:
    return {"first": mean_scores(x), "second": mean_scores(x)}


def python(x: Any) -> Any:
    return {"scores": tf.ensure_shape(tf.py_function(mean_scores, [x], tf.float32), (None, 5))}


def features(x: Any) -> Any:
    return {"features": x}


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (words, "no output holds floating-point numbers (names string"),
        (two_scores, "choose one with `output_name=`"),
        (python, "operators that ONNX does not have (EagerPyFunc)"),
        (features, "gives the shape"),
    ],
)
def test_bad_saved_models(function: Any, says: str, tmp_path: Path) -> None:
    """Each must fail with one sentence that names the cause, and create no file."""
    folder = save(tmp_path / "m", function, images())
    with pytest.raises(ExportError) as caught:
        iaside_onnx.export_saved_model(folder, tmp_path / "bad.onnx")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bad.onnx").exists()


def test_saved_models_that_do_not_say_what_they_take(tmp_path: Path) -> None:
    """Without a usable signature, the error must say what to do."""
    path = tmp_path / "bad.onnx"
    bare = tmp_path / "bare"
    tf.saved_model.save(tf.train.Checkpoint(v=tf.Variable(1.0)), str(bare))
    with pytest.raises(ExportError, match="has no signature, so its inputs"):
        iaside_onnx.export_saved_model(bare, path)
    good = save(tmp_path / "good", lambda x: {"s": mean_scores(x)}, images())
    with pytest.raises(ExportError, match="no signature 'other'; choose one of serving_default"):
        iaside_onnx.export_saved_model(good, path, signature="other")
    pair = save(
        tmp_path / "pair", lambda x, y: {"s": mean_scores(x + y)}, images(),
        tf.TensorSpec((None, 8, 8, 3), tf.float32, name="more"),
    )  # fmt: skip
    with pytest.raises(ExportError, match="takes 2 inputs"):
        iaside_onnx.export_saved_model(pair, path)
    with pytest.raises(ExportError, match=r"no saved_model\.pb"):
        iaside_onnx.export_saved_model(tmp_path, path)
    assert not path.exists()


def lite(model: Any, folder: Path, kind: Any = None) -> Path:
    """A TensorFlow Lite file of a Keras model; quantised if an integer type is given."""
    model.export(folder / "served", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "served"))
    if kind is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        shape = model.input_shape[1:]
        converter.representative_dataset = lambda: (
            [2 * keras_models.noise(1, *shape) - 1] for _ in range(20)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = kind
    path = folder / "model.tflite"
    path.write_bytes(converter.convert())
    return path


def test_a_float_lite_model(tmp_path: Path) -> None:
    """One network must have one decomposition, also by way of TensorFlow Lite."""
    path = tmp_path / "twin.onnx"
    iaside_onnx.export_tflite(lite(keras_models.twin(), tmp_path), path, preprocess=SPEC)
    check_file(path, lambda x: np.asarray(keras_models.twin()(x, training=False)), (28, 28, 1))
    assert_same_contributions(path, tmp_path)


@pytest.mark.parametrize("kind", [tf.int8, tf.uint8, tf.float32])
def test_an_integer_lite_model(kind: Any, tmp_path: Path) -> None:
    """Integer input and output must keep their quantisation, with float preprocessing."""
    source, path = lite(keras_models.small(), tmp_path, kind), tmp_path / "int8.onnx"
    made = iaside_onnx.export_tflite(source, path, preprocess="keras:tf", tolerance=0.01)
    assert made.facts.precision == "int8"
    assert made.signature.dtype == np.float32
    assert made.signature.batch is None
    # Of probabilities in steps of 1/256 most are 0, and have no logarithm.
    assert any("in steps of" in note for note in made.notes) == (kind != tf.float32)
    # The interpreter itself.
    interpreter = tf.lite.Interpreter(str(source))
    interpreter.allocate_tensors()
    (image,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    pixels = 2 * keras_models.noise(1, 12, 16, 3) - 1
    scale, zero = image["quantization"]
    fed = pixels if not scale else np.clip(np.round(pixels / scale) + zero, -128, 255)
    if kind == tf.int8:
        fed = np.clip(fed, -128, 127)
    interpreter.set_tensor(image["index"], fed.astype(image["dtype"]))
    interpreter.invoke()
    found = interpreter.get_tensor(scores["index"]).astype(np.float32)
    scale, zero = scores["quantization"]
    theirs = (found - zero) * scale if scale else found
    import onnxruntime

    (mine,) = onnxruntime.InferenceSession(path).run(None, {"image": pixels})
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1.01 * (scale or 1 / 256))


def test_bad_lite_files(tmp_path: Path) -> None:
    """The error must name the file."""
    source = tmp_path / "m.tflite"
    with pytest.raises(ExportError, match="does not exist"):
        iaside_onnx.export_tflite(source, tmp_path / "bad.onnx")
    source.write_bytes(b"no model")
    with pytest.raises(ExportError, match="not a TensorFlow Lite model"):
        iaside_onnx.export_tflite(source, tmp_path / "bad.onnx")
