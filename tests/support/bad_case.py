"""One row of the table of bad input, and the good input that each row spoils."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper, parser

__all__ = [
    "LINEAR",
    "Case",
    "graph",
    "keep_outside",
    "pixels",
    "save_images",
    "save_model",
    "save_wide",
]

LINEAR = "flat = Flatten(image) scores = MatMul(flat, weights)"


def _nothing(_: Path) -> None:
    """Leave the good input as it is."""


@dataclass(frozen=True)
class Case:
    """One kind of bad input; names are relative to a folder with good input.

    Attributes:
        name: what is bad.
        says: what the error must contain.
        model: the model to audit.
        images: the images to take.
        output: the archive to write.
        options: further words of the command line.
        command: the whole command line instead, where it is not ``decompose``.
        make: makes the bad files in the folder.
        code: the exit status.
    """

    name: str
    says: str
    model: str = "model.onnx"
    images: str = "images.npz"
    output: str = "out.h5"
    options: str = ""
    command: str = ""
    make: Callable[[Path], object] = _nothing
    code: int = 1

    @property
    def words(self) -> list[str]:
        """The command line."""
        if self.command:
            return shlex.split(self.command)
        begin = ["decompose", self.model, "--images", self.images, "-o", self.output]
        return [*begin, "--bands", "3", *shlex.split(self.options)]


def graph(
    body: str = LINEAR,
    inputs: str = "float[N,1,8,8] image",
    outputs: str = "float[N,5] scores",
    domains: str = "",
) -> onnx.ModelProto:
    """A model from ONNX's textual syntax, with ``weights``, ``(64, 5)``, to use."""
    text = (
        f'<ir_version: 8, opset_import: ["": 17{domains}]> g ({inputs}) => ({outputs}) {{{body}}}'
    )
    model = parser.parse_model(text)
    weights = np.random.default_rng(0).standard_normal((64, 5), dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    return model


def save_model(folder: Path, model: onnx.ModelProto | None = None) -> None:
    """Write ``model.onnx``, a good one by default."""
    (folder / "model.onnx").write_bytes((model or graph()).SerializeToString())


def keep_outside(location: str) -> onnx.ModelProto:
    """A model whose weights are said to be in another file."""
    model = graph()
    (weights,) = model.graph.initializer
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return model


def pixels(n: int = 6, *shape: int) -> NDArray[np.uint8]:
    """Noise, ``(n, 8, 8)`` unless a shape is given."""
    return np.random.default_rng(1).integers(0, 256, (n, *(shape or (8, 8))), dtype=np.uint8)


def save_images(folder: Path, **arrays: NDArray[np.generic]) -> None:
    """Write ``images.npz``, six good images with labels unless others are given."""
    good: dict[str, Any] = {"images": pixels(), "labels": np.arange(6) % 5}
    np.savez(folder / "images.npz", **{**good, **arrays})


def save_wide(folder: Path, n: int = 40) -> None:
    """Write a quick ``model.onnx`` of 28 x 28 pixels and ``n`` images: room for many bands."""
    pool = "pool = AveragePool<kernel_shape=[7,7], strides=[3,3]>(image) flat = Flatten(pool)"
    body = f"{pool} scores = MatMul(flat, weights)"
    save_model(folder, graph(body, "float[N,1,28,28] image"))
    save_images(folder, images=pixels(n, 28, 28), labels=np.arange(n) % 5)
