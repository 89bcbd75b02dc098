"""Checks of an exported file that do not use the package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

__all__ = ["check_file", "metadata", "sha256"]


def check_file(
    path: Path, reference: Callable[[NDArray[np.float32]], Any], shape: tuple[int, ...]
) -> onnx.ModelProto:
    """Assert names, dynamic batch, weights inside, and the framework's outputs on noise.

    Args:
        path: the exported file.
        reference: the framework's own outputs.
        shape: of one image, in the model's layout.
    """
    model = onnx.load(str(path), load_external_data=False)
    onnx.checker.check_model(model)
    assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)
    (image,), (scores,) = model.graph.input, model.graph.output
    assert image.name == "image"
    assert scores.name in ("logits", "probabilities", "log_probabilities", "scores")
    assert [end.type.tensor_type.shape.dim[0].dim_param for end in (image, scores)] == ["batch"] * 2
    # No path of this machine.
    assert str(Path.cwd()).encode() not in path.read_bytes()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for n in (1, 5):
        inputs = np.random.default_rng(n).random((n, *shape), dtype=np.float32)
        (found,) = session.run(None, {"image": inputs})
        np.testing.assert_allclose(found, np.asarray(reference(inputs)), rtol=1e-4, atol=1e-4)
    return model


def metadata(path: Path, key: str) -> Any:
    """A JSON value of the ONNX metadata."""
    model = onnx.load(str(path), load_external_data=False)
    return json.loads({p.key: p.value for p in model.metadata_props}[key])


def sha256(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
