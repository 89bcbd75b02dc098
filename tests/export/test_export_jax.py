"""JAX to ONNX with the real JAX, Flax and jax2onnx."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("flax")
pytest.importorskip("jax2onnx")

import iaside_onnx
from iaside_onnx.errors import ExportError, OptionError
from tests.export import jax_models
from tests.export.checks import check_file, metadata, sha256
from tests.export.twins import SPEC, assert_same_contributions

pytestmark = pytest.mark.filterwarnings("ignore")

HERE = "tests.export.jax_models"


def test_a_factory_of_a_flax_module(tmp_path: Path) -> None:
    """Statistics of the batch instead of the trained ones, or another layout, would differ."""
    path = tmp_path / "net.onnx"
    made = iaside_onnx.export_jax(f"{HERE}:normalised", path, input_size=(3, 10, 14), opset=20)
    check_file(path, jax_models.normalised(), (10, 14, 3))
    assert (made.signature.layout, made.output_kind) == ("NHWC", "logits")
    assert made.facts.opset == 20
    kept = metadata(path, "iaside.export")
    assert (kept["framework"], "jax" in kept["versions"]) == ("JAX", True)


def test_a_function_itself(tmp_path: Path) -> None:
    """A function of images must not be called as a factory; its channels may come first."""
    path = tmp_path / "net.onnx"
    made = iaside_onnx.export_jax(f"{HERE}:direct", path, input_size=(3, 9, 7), layout="NCHW")
    check_file(path, jax_models.direct, (3, 9, 7))
    assert (made.signature.layout, made.output_kind) == ("NCHW", "probabilities")


def test_weights(tmp_path: Path) -> None:
    """A factory must get the arrays of the file by their names."""
    safetensors = pytest.importorskip("safetensors.numpy")
    weights, path = tmp_path / "w.safetensors", tmp_path / "net.onnx"
    kernel = np.random.default_rng(5).standard_normal((3, 6), dtype=np.float32)
    safetensors.save_file({"kernel": kernel}, weights)
    iaside_onnx.export_jax(f"{HERE}:with_weights", path, weights=weights, input_size=(3, 8, 8))
    check_file(path, lambda x: x.mean((1, 2)) @ kernel, (8, 8, 3))
    assert metadata(path, "iaside.export")["source_sha256"]["w.safetensors"] == sha256(weights)


def test_twin(tmp_path: Path) -> None:
    """One network must have one decomposition, whatever framework it came from."""
    path = tmp_path / "twin.onnx"
    iaside_onnx.export_jax(f"{HERE}:twin", path, preprocess=SPEC)
    assert_same_contributions(path, tmp_path)


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("missing", "has no 'missing'"),
        ("NUMBER", "is of type int"),
        ("gives_number", "returns a int"),
        ("two", "takes 2 inputs"),
        ("of_two", "takes 2 inputs"),
        ("broken", "KeyError: 'kernel'"),
        ("labels", "values of type int32"),
        ("features", "gives the shape (16, 8, 8, 3)"),
        ("direct", "it fails on a batch of shape (2, 8, 8, 3)"),
    ],
)
def test_bad_code(factory: str, says: str, tmp_path: Path) -> None:
    """Each must fail with one sentence that names the cause, and create no file."""
    with pytest.raises(ExportError) as caught:
        iaside_onnx.export_jax(f"{HERE}:{factory}", tmp_path / "bad.onnx", input_size=(3, 8, 8))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_bad_weights(tmp_path: Path) -> None:
    """A pickle must never be loaded; the error must name a damaged file."""
    source, path = f"{HERE}:with_weights", tmp_path / "bad.onnx"
    pickled, damaged = tmp_path / "w.pkl", tmp_path / "w.safetensors"
    pickled.write_bytes(pickle.dumps({"kernel": 1}))
    damaged.write_bytes(b"no weights")
    with pytest.raises(ExportError, match="not a safetensors file, the only kind that is read"):
        iaside_onnx.export_jax(source, path, weights=pickled, input_size=(3, 8, 8))
    with pytest.raises(ExportError, match="or a damaged one"):
        iaside_onnx.export_jax(source, path, weights=damaged, input_size=(3, 8, 8))
    with pytest.raises(OptionError, match="`input_size="):
        iaside_onnx.export_jax(f"{HERE}:normalised", path)
