"""Models whose answer about an image depends on the images beside it, or on chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import iaside_onnx
from iaside_onnx.errors import ModelError
from tests.runs.mixing_models import answers, build, save, worths_alone
from tests.support.editing import edited

_QUANTISED = "q, s, z = DynamicQuantizeLinear(image) h = DequantizeLinear(q, s, z)"
_FUNCTION = (
    '<domain: "own", opset_import: ["": 17]> inner (x) => (y) '
    "{q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)}"
)
_BRANCH = (
    "h = If (yes) <then_branch = t () => (float[N,1,8,8] a) "
    "{q, s, z = DynamicQuantizeLinear(image) a = DequantizeLinear(q, s, z)}, "
    "else_branch = e () => (float[N,1,8,8] b) {b = Identity(image)}>"
)
_MEAN = "m = ReduceMean<axes=[0]>(image) w = Mul(m, third) h = Add(image, w)"
_MIXED = {
    "DynamicQuantizeLinear": (_QUANTISED, ""),
    "DynamicQuantizeLinear in a function": ("h = own.inner(image)", _FUNCTION),
    "DynamicQuantizeLinear in a branch": (_BRANCH, ""),
    "ReduceMean over the batch": (_MEAN, ""),
    "Softmax over the batch": ("m = Softmax<axis=0>(image) h = Add(image, m)", ""),
    "the first image": ("m = Gather<axis=0>(image, first) h = Add(image, m)", ""),
}
_TRAINING = "h, m, v = BatchNormalization<training_mode=1>(image, one, nought, nought, one)"
_UNFIXED = {
    "BatchNormalization": _TRAINING,
    "Dropout": "h = Dropout(image, half, yes)",
    "RandomNormalLike": "r = RandomNormalLike<scale=0.1>(image) h = Add(image, r)",
    "RandomUniformLike": "r = RandomUniformLike<seed=1.0>(image) h = Add(image, r)",
    "Bernoulli": "c = Clip(image) r = Bernoulli(c) h = Add(image, r)",
}
# What two pixels come to that are rounded to the next of 255 steps, in nats. The test makes sure
# that batches are further away.
_STEP = 0.015


def _decompose(folder: Path, **options: Any) -> iaside_onnx.Archive:
    words: dict[str, Any] = {"bands": 3, **options}
    return iaside_onnx.decompose(
        folder / "model.onnx", folder / "images.npz", folder / "out.h5", **words
    )


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _recipe(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return dict(json.loads(file.attrs["options"])["resolved"])


@pytest.mark.parametrize("kind", _MIXED)
def test_an_image_is_evaluated_alone_where_others_would_change_its_answer(
    tmp_path: Path, kind: str
) -> None:
    """Worths would be those of a mixture of images, and another batch would give others."""
    body, functions = _MIXED[kind]
    save(tmp_path, build(body, functions=functions))
    expected = worths_alone(tmp_path / "model.onnx")
    together = worths_alone(tmp_path / "model.onnx", batch=24)
    assert np.abs(expected - together).max() > 2 * _STEP
    archive = _decompose(tmp_path)
    np.testing.assert_allclose(archive.worth(), expected, atol=_STEP)
    recipe = _recipe(tmp_path / "out.h5")
    assert (recipe["batch_size"], recipe["batch_rule"]) == (1, "alone")
    (note,) = [note for note in archive.metadata.notes if note.startswith("batch size: 1")]
    assert kind.split()[0] in note or kind == "the first image"


def test_a_model_that_gives_every_image_the_same_alone_is_refused(tmp_path: Path) -> None:
    """An archive of zeros, with a warning that names other causes than the batch."""
    save(tmp_path, build("m = ReduceMean<axes=[0]>(image) h = Sub(image, m)"))
    with pytest.raises(ModelError, match=r"alone, every image gets the same.*ReduceMean"):
        _decompose(tmp_path)
    assert _left(tmp_path) == ["images.npz", "model.onnx"]


@pytest.mark.parametrize("kind", _UNFIXED)
def test_answers_that_no_batch_makes_a_function_of_the_image_are_refused(
    tmp_path: Path, kind: str
) -> None:
    """An archive of such a model would be of chance, and say nothing of it."""
    save(tmp_path, build(_UNFIXED[kind]))
    with pytest.raises(ModelError, match=rf"{kind}.*node 'node_\d'.*`allow_nondeterministic="):
        _decompose(tmp_path)
    assert _left(tmp_path) == ["images.npz", "model.onnx"]
    archive = _decompose(tmp_path, allow_nondeterministic=True)
    assert kind in str(_recipe(tmp_path / "out.h5")["nondeterministic"])
    assert any("no function of the image" in note for note in archive.metadata.notes)
    found = iaside_onnx.verify(tmp_path / "out.h5", sample=16)
    assert not found.problems
    assert any("no function of the image" in line and kind in line for line in found.checked)


@pytest.mark.parametrize(
    ("body", "functions"),
    [
        ("h = own.noisy(image)", '<domain: "own", opset_import: ["": 17]> noisy (x) => (y) '
         "{r = RandomNormalLike(x) y = Add(x, r)}"),
        ("h = own.norm <mode=1> (image, one, nought)",
         '<domain: "own", opset_import: ["": 17]> norm <mode> (x, a, b) => (y) '
         "{y, m, v = BatchNormalization<training_mode: int = @mode>(x, a, b, b, a)}"),
        ("h = If (yes) <then_branch = t () => (float[N,1,8,8] a) "
         "{r = RandomNormalLike(image) a = Add(image, r)}, "
         "else_branch = e () => (float[N,1,8,8] b) {b = Identity(image)}>", ""),
    ],
    ids=["function", "function attribute", "branch"],
)  # fmt: skip
def test_operators_are_found_wherever_they_are(tmp_path: Path, body: str, functions: str) -> None:
    """Exporters put layers into functions, where a list of the graph's nodes does not see them."""
    save(tmp_path, build(body, functions=functions))
    with pytest.raises(ModelError, match=r"RandomNormalLike|BatchNormalization"):
        _decompose(tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        "h = Dropout(image, half)",
        "h = Dropout(image, nought_ratio, yes)",
        "h = BatchNormalization(image, one, nought, nought, one)",
        "m = ReduceMean<axes=[2, 3], keepdims=1>(image) h = Add(image, m)",
        "m = Softmax<axis=-1>(image) h = Add(image, m)",
    ],
)
def test_ordinary_operators_keep_their_batch(tmp_path: Path, body: str) -> None:
    """A sound model would be refused, or run one image at a time."""
    model = build(body.replace("nought_ratio", "half"))
    if "nought_ratio" in body:
        model = build("zero = Constant<value_float = 0.0>() h = Dropout(image, zero, yes)")
    save(tmp_path, model)
    archive = _decompose(tmp_path, batch_size=24)
    recipe = _recipe(tmp_path / "out.h5")
    assert recipe["batch_size"] == 24
    assert not recipe.keys() & {"batch_rule", "nondeterministic"}
    expected = worths_alone(tmp_path / "model.onnx")
    np.testing.assert_allclose(archive.worth(), expected, atol=1e-4)


def test_operators_of_other_outputs_do_not_count(tmp_path: Path) -> None:
    """A model with a random output for training beside its classes would be refused."""
    model = build("r = RandomNormalLike(image) noise = Flatten(r) h = Identity(image)")
    other = model.graph.output.add()
    other.CopyFrom(model.graph.output[0])
    other.name = "noise"
    other.type.tensor_type.shape.dim[1].dim_value = 64
    save(tmp_path, model)
    archive = _decompose(tmp_path, output_name="scores")
    expected = worths_alone(tmp_path / "model.onnx")
    np.testing.assert_allclose(archive.worth(), expected, atol=1e-4)
    with pytest.raises(ModelError, match="RandomNormalLike"):
        iaside_onnx.decompose(
            tmp_path / "model.onnx", tmp_path / "images.npz", tmp_path / "b.h5",
            bands=3, output_name="noise", labels="predicted",
        )  # fmt: skip


@pytest.mark.parametrize("body", [_QUANTISED, _MEAN])
def test_a_fixed_batch_that_mixes_images_is_refused(tmp_path: Path, body: str) -> None:
    """The graph leaves no way to evaluate an image alone: the padding would be in its answer."""
    save(tmp_path, build(body, batch=3, out=3))
    with pytest.raises(ModelError, match=r"(DynamicQuantizeLinear|ReduceMean).*fixed at 3"):
        _decompose(tmp_path)
    assert _left(tmp_path) == ["images.npz", "model.onnx"]
    _decompose(tmp_path, allow_nondeterministic=True)
    assert "batch of 3" in str(_recipe(tmp_path / "out.h5")["nondeterministic"])


def test_a_dynamic_scale_is_known_from_the_graph_alone(tmp_path: Path) -> None:
    """The images tried may show no difference by chance, where filtered images do."""
    tiny = "t = Constant<value_float = 0.0001>()"
    dynamic = "q, s, z = DynamicQuantizeLinear(image) d = DequantizeLinear(q, s, z)"
    save(tmp_path, build(f"{tiny} {dynamic} e = Mul(d, t) h = Add(image, e)"))
    expected = worths_alone(tmp_path / "model.onnx")
    together = worths_alone(tmp_path / "model.onnx", batch=24)
    # No trial can tell this from rounding.
    assert np.abs(expected - together).max() < 1e-4
    archive = _decompose(tmp_path)
    np.testing.assert_allclose(archive.worth(), expected, atol=1e-4)
    assert _recipe(tmp_path / "out.h5")["batch_rule"] == "alone"


@pytest.mark.parametrize("body", [_QUANTISED, _MEAN])
def test_workers_merging_and_verifying_follow_the_recipe(tmp_path: Path, body: str) -> None:
    """Parts, workers and later evaluations would each mix other images."""
    save(tmp_path, build(body))
    whole = _decompose(tmp_path)
    model, paths = tmp_path / "model.onnx", []
    with np.load(tmp_path / "images.npz") as file:
        images, labels = file["images"], file["labels"]
    for name, part in (("a", slice(0, 4)), ("b", slice(4, 9))):
        np.savez(tmp_path / f"{name}.npz", images=images[part], labels=labels[part])
        paths.append(tmp_path / f"{name}.h5")
        iaside_onnx.decompose(model, tmp_path / f"{name}.npz", paths[-1], bands=3, workers=2,
                              threads=1)  # fmt: skip
    merged = iaside_onnx.merge(paths, tmp_path / "merged.h5")
    np.testing.assert_allclose(merged.worth(), whole.worth(), atol=1e-6)
    assert _recipe(tmp_path / "merged.h5")["batch_rule"] == "alone"
    found = iaside_onnx.verify(tmp_path / "out.h5", sample=72)
    assert not found.problems


def test_an_extension_evaluates_alone_too(tmp_path: Path) -> None:
    """Later pairs would be of mixtures, and the first of single images."""
    save(tmp_path, build(_MEAN))
    path = tmp_path / "model.onnx", tmp_path / "images.npz"
    short = iaside_onnx.decompose(*path, tmp_path / "s.h5", bands=3, method="sampled", budget=60)
    iaside_onnx.decompose(*path, tmp_path / "l.h5", bands=3, method="sampled", budget=200)
    longer = iaside_onnx.extend(tmp_path / "s.h5", budget=200)
    direct = iaside_onnx.open_archive(tmp_path / "l.h5")
    assert short.recipe.batch_rule == longer.recipe.batch_rule == "alone"
    np.testing.assert_allclose(longer.worth(), direct.worth(), atol=1e-6)


def test_outputs_that_do_not_respond_are_said_before_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hours of evaluation would end in the news that nothing was divided."""
    save(tmp_path, build("h = Mul(image, nought)"))
    noise = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    assert np.ptp(answers(tmp_path / "model.onnx", noise, 4), axis=0).max() == 0
    with caplog.at_level("INFO", "iaside_onnx"):
        _decompose(tmp_path)
    lines = caplog.messages
    begun = next(i for i, line in enumerate(lines) if line.startswith("9 images, 0 finished"))
    assert any("the same outputs for all" in line for line in lines[:begun])


def test_integers_do_not_excuse_other_worths(tmp_path: Path) -> None:
    """A shift of 0.06 nats was taken for the rounding of INT8, which on one runtime is none."""
    steps = "t = Constant<value_float = 0.004>() n = Constant<value = uint8 {0}>()"
    body = "q = QuantizeLinear(image, t, n) d = DequantizeLinear(q, t, n) h = Mul(d, tenth)"
    save(tmp_path, build(f"{steps} tenth = Constant<value_float = 0.1>() {body}"))
    archive = _decompose(tmp_path)
    assert archive.metadata.precision == "int8"
    assert not iaside_onnx.verify(tmp_path / "out.h5", sample=72).problems

    def shift(file: Any) -> None:
        # All alike and without rounding, so that contributions are what they were.
        for name in ("worth", "log_probability_whole", "log_probability_empty"):
            file[name][...] = file[name][()] + np.float32(0.0625)

    forged = edited(tmp_path / "out.h5", tmp_path, shift, sign=True)
    assert not iaside_onnx.verify(forged).problems
    (problem,) = iaside_onnx.verify(forged, sample=72).problems
    assert "72 of 72 worths are not what they were" in problem
