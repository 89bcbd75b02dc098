"""Outputs that are no float ``(N, C)``: other axes, bytes, maps, one number for each image.

Each is compared with what ONNX Runtime alone gives and SciPy makes of it, at once
(`inspect_model`'s path) and in bound buffers (a whole run).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy import special

from iaside_onnx import Archive, decompose, inspect_model
from iaside_onnx.errors import ModelError
from iaside_onnx.runtime import (
    Classifier,
    Game,
    Predictor,
    WorthEvaluator,
    load_classifier,
    read_graph,
)
from iaside_onnx.runtime.memory import HostMemory
from iaside_onnx.spectrum import band_index
from tests.runtime.fake_device import FakeDevice, install_fft
from tests.support.onnx_ends import end, run, save
from tests.support.onnx_models import Net, make_model, value

PIXELS = np.random.default_rng(5).integers(0, 256, (7, 8, 8), dtype=np.uint8)
INPUTS = (PIXELS[:, None] / np.float32(255)).astype(np.float32)
LABELS = np.array([0, 1, 1, 0, 1, 0, 0])


def archive(path: Path, **options: Any) -> Archive:
    words: dict[str, Any] = {"bands": 3, "labels": LABELS, "batch_size": 4, **options}
    return decompose(path, PIXELS, path.with_suffix(".h5"), **words)


def check(path: Path, expected: NDArray[np.float64], **options: Any) -> Archive:
    """A run gives these log-probabilities, ``(7, classes)``, for the whole images."""
    made = archive(path, **options)
    whole = expected[np.arange(7), LABELS]
    np.testing.assert_allclose(made["log_probability_whole"], whole, rtol=2e-6, atol=2e-6)
    assert made["predicted"].tolist() == expected.argmax(axis=1).tolist()
    return made


@pytest.mark.parametrize("shape", [(5, 1, 1), (1, 5), (5, 1), (1, 1, 5)])
@pytest.mark.parametrize("declared", [True, False])
def test_axes_of_extent_1_are_dropped(
    shape: tuple[int, ...], declared: bool, tmp_path: Path
) -> None:
    """SqueezeNet's (N, C, 1, 1) would be refused, or its buffer would be too small."""
    reshape = helper.make_node("Reshape", ["raw", "shape"], ["out"])
    axes: list[Any] = [*shape] if declared else ["a", "b", "c"][: len(shape)]
    model = end(Net().model(), [reshape], value("out", ["n", *axes]),
                {"shape": np.array([-1, *shape])})  # fmt: skip
    path = save(model, tmp_path / "net.onnx")
    raw = run(path, INPUTS)
    assert raw.shape == (7, *shape)
    check(path, special.log_softmax(raw.reshape(7, 5).astype(np.float64), axis=1))


@pytest.mark.parametrize("output", [[5], ["c"]])
def test_an_output_without_batch_is_that_of_one_image(output: list[Any], tmp_path: Path) -> None:
    """A model of one image, without an axis for the batch in its output, would be refused."""
    squeeze = helper.make_node("Reshape", ["raw", "shape"], ["out"])
    model = end(Net(batch=1).model(), [squeeze], value("out", output), {"shape": np.array([5])})
    path = save(model, tmp_path / "net.onnx")
    raw = np.stack([run(path, image[None]) for image in INPUTS])
    check(path, special.log_softmax(raw.astype(np.float64), axis=1))
    assert inspect_model(path).classes == 5


def quantised(dtype: Any, ending: Any, scale: Any, tail: bool, tmp_path: Path) -> Path:
    """A model that ends in QuantizeLinear and, with a tail, in Reshape."""
    zero = np.array(3 if dtype == np.int8 else 100, dtype)
    kind = TensorProto.INT8 if dtype == np.int8 else TensorProto.UINT8
    nodes = [helper.make_node("QuantizeLinear", ["raw", "s", "z"], ["q" if tail else "out"])]
    if tail:
        nodes.append(helper.make_node("Reshape", ["q", "shape"], ["out"]))
    model = end(
        Net(ending=ending).model(), nodes, helper.make_tensor_value_info("out", kind, ["n", 5]),
        {"s": np.array(scale, np.float32), "z": zero, "shape": np.array([0, 5])},
    )  # fmt: skip
    return save(model, tmp_path / "net.onnx")


@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_bytes_are_scaled_by_the_constants_of_the_graph(
    dtype: Any, tail: bool, tmp_path: Path
) -> None:
    """Bytes as they are would be logits of steps of 1, or be refused."""
    path = quantised(dtype, "logits", 0.04, tail, tmp_path)
    raw = run(path, INPUTS)
    assert raw.dtype == dtype
    scores = (raw.astype(np.float64) - (3 if dtype == np.int8 else 100)) * 0.04
    assert np.unique(scores).size > 5
    check(path, special.log_softmax(scores, axis=1))
    found = inspect_model(path)
    assert (found.output_kind, found.classes) == ("logits", 5)
    assert any("0.04" in note for note in found.notes)


@pytest.mark.parametrize(("dtype", "zero"), [(np.uint8, 0), (np.int8, -128)])
def test_bytes_behind_a_softmax_are_probabilities(dtype: Any, zero: int, tmp_path: Path) -> None:
    """Probabilities of steps of 1/255 would be taken as logits, or be shifted by the zero point."""
    weights: dict[str, Any] = {"s": np.array(1 / 255, np.float32), "z": np.array(zero, dtype)}
    node = helper.make_node("QuantizeLinear", ["raw", "s", "z"], ["out"])
    kind = TensorProto.INT8 if dtype == np.int8 else TensorProto.UINT8
    out = helper.make_tensor_value_info("out", kind, ["n", 5])
    model = end(Net(ending="softmax", gain=0.2).model(), [node], out, weights)
    path = save(model, tmp_path / "net.onnx")
    raw = run(path, INPUTS).astype(np.float64) - zero
    assert raw.min() > 0
    made = check(path, np.log(raw / 255))
    assert made.recipe.output_kind == "probabilities"


def test_bytes_without_a_scale_are_refused(tmp_path: Path) -> None:
    """Nobody knows what such a byte means, so any number would be wrong."""
    node = helper.make_node("Cast", ["raw"], ["out"], to=TensorProto.UINT8)
    out = helper.make_tensor_value_info("out", TensorProto.UINT8, ["n", 5])
    path = save(end(Net(ending="softmax").model(), [node], out), tmp_path / "net.onnx")
    for name in (None, "out"):
        with pytest.raises(ModelError, match=r"scale of its bytes.*DequantizeLinear"):
            inspect_model(path, output_name=name)


def test_one_number_in_half_precision(tmp_path: Path) -> None:
    """1 - p would be of another type than p, and floors those of that type."""
    path = Net(classes=1, weights="float16", dtype="float16", ending="sigmoid").save(
        tmp_path / "net.onnx"
    )
    p = run(path, INPUTS.astype(np.float16))
    assert p.dtype == np.float16
    both = np.concatenate([np.float16(1) - p, p], axis=1).astype(np.float64)
    check(path, np.log(both))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
def test_a_sigmoid_of_one_number_is_two_classes(shape: tuple[int, ...], tmp_path: Path) -> None:
    """A detector of one probability could not be audited, or class 0 would have no worth."""
    reshape = helper.make_node("Reshape", ["raw", "shape"], ["out"])
    model = end(Net(classes=1, ending="sigmoid").model(), [reshape],
                value("out", ["n", *shape]), {"shape": np.array([-1, *shape])})  # fmt: skip
    path = save(model, tmp_path / "net.onnx")
    p = run(path, INPUTS).reshape(7, 1).astype(np.float64)
    made = check(path, np.log(np.concatenate([1 - p, p], axis=1)))
    assert made.recipe.output_kind == "probabilities"
    assert any("[1 - p, p]" in note for note in made.metadata.notes)
    found = inspect_model(path)
    assert (found.classes, found.output_kind) == (2, "probabilities")


@pytest.mark.parametrize("gain", [1.0, 60.0])
def test_a_logit_of_one_number_is_a_log_sigmoid(gain: float, tmp_path: Path) -> None:
    """Large logits would overflow, or saturate at a probability of 1 and a worth of -infinity."""
    path = Net(classes=1, gain=gain).save(tmp_path / "net.onnx")
    z = run(path, INPUTS).astype(np.float64)
    assert (np.abs(z).max() > 40) == (gain > 1)
    expected = special.log_expit(np.concatenate([-z, z], axis=1))
    made = check(path, expected, output_kind="logits")
    assert made["floored"].sum() == 0


def test_one_number_of_unknown_meaning_is_asked_about(tmp_path: Path) -> None:
    """A regression would pass for a classifier."""
    path = Net(classes=1).save(tmp_path / "net.onnx")
    for kind in ("auto", "log-probabilities"):
        with pytest.raises(ModelError, match="one number for each image: give `output_kind="):
            inspect_model(path, output_kind=kind)
    path = Net(classes=1, ending="softmax").save(tmp_path / "one.onnx")
    with pytest.raises(ModelError, match="softmax over one class"):
        inspect_model(path, output_kind="probabilities")


def test_probabilities_of_several_labels_are_asked_about(tmp_path: Path) -> None:
    """Sigmoids would be taken as logits: their softmax is nearly the same for any image."""
    path = Net(ending="sigmoid").save(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"sigmoids.*`output_kind=`: probabilities.*or logits"):
        archive(path)
    raw = run(path, INPUTS).astype(np.float64)
    made = check(path, np.log(raw), output_kind="probabilities")
    assert any("do not sum to 1" in note for note in made.metadata.notes)
    again = Net(ending="sigmoid").save(tmp_path / "again.onnx")
    check(again, special.log_softmax(raw, axis=1), output_kind="logits")


def test_a_scaled_tanh_is_no_logit_by_its_last_addition(tmp_path: Path) -> None:
    """The last operator adds, as a bias does, but the values are probabilities of labels."""
    nodes = [
        helper.make_node("Tanh", ["raw"], ["t"]),
        helper.make_node("Mul", ["t", "half"], ["h"]),
        helper.make_node("Add", ["h", "half"], ["out"]),
    ]
    half = {"half": np.array(0.5, np.float32)}
    path = save(end(Net().model(), nodes, value("out", ["n", 5]), half), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="`output_kind="):
        archive(path)


def zipped(tmp_path: Path, names: list[int] | list[str]) -> Path:
    """What skl2onnx writes by default: a label, and a map from class to probability."""
    key = "classlabels_int64s" if isinstance(names[0], int) else "classlabels_strings"
    labels: dict[str, Any] = {key: names}
    nodes = [
        helper.make_node("ArgMax", ["raw"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["raw"], ["out"], domain="ai.onnx.ml", **labels),
    ]
    kind = TensorProto.INT64 if isinstance(names[0], int) else TensorProto.STRING
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(kind, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    )
    model = end(Net(ending="softmax").model(), nodes, helper.make_value_info("out", maps),
                domains={"ai.onnx.ml": 1})  # fmt: skip
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["n"])
    model.graph.output.insert(0, label)
    return save(model, tmp_path / "zip.onnx")


@pytest.mark.parametrize("names", [[0, 1, 2, 3, 4], ["e", "d", "c", "b", "a"]])
@pytest.mark.parametrize("name", [None, "out"])
def test_the_scores_of_zipmap_are_those_of_its_tensor(
    names: Any, name: str | None, tmp_path: Path
) -> None:
    """Every scikit-learn model that was converted with the default options would be refused."""
    path = zipped(tmp_path, names)
    data = path.read_bytes()
    maps = run(path, INPUTS)
    raw = np.array([[row[key] for key in names] for row in maps], dtype=np.float64)
    made = check(path, np.log(raw), output_name=name)
    assert path.read_bytes() == data
    assert made.metadata.model_sha256 == read_graph(path).sha256
    (note,) = [note for note in made.metadata.notes if "ZipMap" in note]
    assert ("e, d, c, b, a" in note) == (names[0] == "e")


def test_an_output_that_is_listed_twice_is_one(tmp_path: Path) -> None:
    """The user would be told to choose between an output and itself."""
    model = Net().model()
    model.graph.output.append(model.graph.output[0])
    path = save(model, tmp_path / "twice.onnx")
    assert inspect_model(path).signature.output_name == "out"


def test_maps_of_features_are_no_classes(tmp_path: Path) -> None:
    """An axis that is not 1 would be dropped, and pixels would pass for classes."""
    flat = helper.make_node("Flatten", ["image"], ["f"])
    four = helper.make_node("Reshape", ["f", "shape"], ["out"])
    outputs = [value("out", ["n", "a", "b", "c"])]
    model = make_model([flat, four], [value("image", ["n", 1, 8, 8])], outputs,
                       {"shape": np.array([-1, 2, 1, 32])})  # fmt: skip
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"no output of shape \(batch, classes\)"):
        inspect_model(tmp_path / "net.onnx")


@pytest.mark.parametrize("kind", ["bytes", "sigmoid", "logit", "squeezed"])
def test_scores_are_made_in_the_memory_of_the_model(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU an array of the host would be mixed with its own, which only a GPU shows."""
    install_fft(monkeypatch)
    if kind == "bytes":
        path = quantised(np.uint8, "logits", 0.04, True, tmp_path)
    elif kind == "squeezed":
        reshape = helper.make_node("Reshape", ["raw", "shape"], ["out"])
        model = end(Net().model(), [reshape], value("out", ["n", 5, 1, 1]),
                    {"shape": np.array([-1, 5, 1, 1])})  # fmt: skip
        path = save(model, tmp_path / "net.onnx")
    else:
        ending: Any = "sigmoid" if kind == "sigmoid" else "logits"
        path = Net(classes=1, ending=ending).save(tmp_path / "net.onnx")
    asked: Any = "logits" if kind == "logit" else "auto"
    loaded = load_classifier(read_graph(path), output_kind=asked, device="cpu")
    found = []
    for memory in (HostMemory(), FakeDevice()):
        model_here = Classifier(
            loaded.facts, loaded.signature, loaded.execution, memory, loaded.scores
        )
        predictor = Predictor(
            model_here, image_shape=(1, 8, 8), scale=np.ones(1, np.float32),
            shift=np.zeros(1, np.float32), batch_size=3,
            output_kind="probabilities" if kind == "sigmoid" else "logits",
        )  # fmt: skip
        evaluator = WorthEvaluator(predictor, band_index(8, 8, 3), 3)
        game = Game(INPUTS[0], INPUTS[1] - INPUTS[0], np.arange(8, dtype=np.uint64), None, 1)
        (answer,) = evaluator.evaluate([game])
        assert answer.error is None
        found.append(answer.values)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-6)
    # All bands make the second image.
    raw = run(path, INPUTS[1:2]).astype(np.float64)
    if kind == "bytes":
        rows = (raw - 100) * 0.04
    elif kind == "squeezed":
        rows = raw.reshape(1, 5)
    else:
        rows = raw * [[0, 1]] if kind == "logit" else np.log([[1 - raw.item(), raw.item()]])
    whole = special.log_softmax(rows, axis=1)[0, 1]
    np.testing.assert_allclose(found[0][7], whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"), [("squeezenet", "probabilities"), ("densenet121", "logits")]
)
def test_models_of_the_onnx_package(name: str, kind: str) -> None:
    """Real graphs, with generated weights, whose outputs are (1, 1000, 1, 1)."""
    path = Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"
    if not path.exists():
        pytest.skip("this onnx package has no test data")
    found = inspect_model(path)
    assert (found.classes, found.output_kind) == (1000, kind)
    image = np.random.default_rng(8).random((1, 3, 224, 224), dtype=np.float32)
    raw = run(path, image, found.signature.output_name)
    assert raw.shape == (1, 1000, 1, 1)
    scores = load_classifier(read_graph(path)).run(image)
    np.testing.assert_array_equal(scores, raw[:, :, 0, 0])
