"""Tiny graphs whose answer about an image may depend on the images beside it, or on chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

__all__ = ["HEAD", "PIXELS", "answers", "build", "save", "worths_alone"]

Array = NDArray[np.float64]

HEAD = "flat = Flatten(h) scores = MatMul(flat, weights)"
_BANDS = 3
_rng = np.random.default_rng(3)
# Dim and bright in turn, so that a scale over the batch is never that of one image.
PIXELS = (
    _rng.integers(0, 256, (9, 8, 8)) * np.array([0.2, 1.0, 0.5])[np.arange(9) % 3, None, None]
).astype(np.uint8)
_CONSTANTS: dict[str, NDArray[Any]] = {
    "weights": _rng.standard_normal((64, 5), dtype=np.float32),
    "one": np.ones(1, np.float32),
    "nought": np.zeros(1, np.float32),
    "half": np.array(0.5, np.float32),
    "third": np.array(3.0, np.float32),
    "yes": np.array(True),
    "first": np.array([0], np.int64),
}


def build(
    body: str, *, batch: int | str = "N", out: int | str = "N", functions: str = ""
) -> onnx.ModelProto:
    """A model from ONNX's textual syntax: ``body`` makes ``h``, ``(N, 1, 8, 8)``, of ``image``."""
    text = (
        '<ir_version: 8, opset_import: ["": 17, "own": 1]> '
        f"g (float[{batch},1,8,8] image) => (float[{out},5] scores) {{{body} {HEAD}}} {functions}"
    )
    model = parser.parse_model(text)
    for name, value in _CONSTANTS.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    for function in model.functions:
        function.opset_import.extend([helper.make_opsetid("own", 1)])
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{i}"
    return model


def save(folder: Path, model: onnx.ModelProto, pixels: NDArray[np.uint8] = PIXELS) -> None:
    """Write ``model.onnx`` and ``images.npz``."""
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "images.npz", images=pixels, labels=np.arange(len(pixels)) % 5)


def answers(path: Path, images: NDArray[np.float32], batch: int) -> Array:
    """Log-probabilities, ``(n, 5)``, by plain ONNX Runtime, so many images a call."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    rows = [
        session.run(["scores"], {"image": images[i : i + batch]})[0]
        for i in range(0, len(images), batch)
    ]
    scores = np.concatenate(rows).astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def filtered(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Every coalition of three bands of every image over black, ``(images * 8, 1, 8, 8)``."""
    frequency = np.abs(np.fft.fftfreq(8)) / 0.5
    radius = np.maximum(frequency[:, None], frequency[None])
    bands = np.minimum((radius * _BANDS).astype(int), _BANDS - 1)
    spectra = np.fft.fft2(pixels / 255.0)
    made = [
        np.fft.ifft2(spectrum * np.isin(bands, [b for b in range(_BANDS) if s >> b & 1])).real
        for spectrum in spectra
        for s in range(2**_BANDS)
    ]
    return np.stack(made)[:, None].astype(np.float32)


def worths_alone(path: Path, pixels: NDArray[np.uint8] = PIXELS, batch: int = 1) -> Array:
    """Worth of every coalition, ``(n, 8)``, each image in a call of its own by default."""
    found = answers(path, filtered(pixels), batch).reshape(len(pixels), 2**_BANDS, 5)
    rows = np.arange(len(pixels))
    return np.asarray(found[rows, :, rows % 5])
