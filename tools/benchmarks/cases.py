"""The models that `bench` measures, their images and numbers of bands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tools.shared.files import write_preprocess
from tools.shared.paths import FASHION_IMAGES, bundled_model
from tools.shared.random_images import write_random_images

SEED = 0
TINY_WIDTHS = (16, 32, 48)
TINY_CLASSES = 10
_MARGIN = 32


@dataclass(frozen=True)
class Case:
    """One model and how it is measured.

    Attributes:
        name: in the table and in `--only`.
        size: channels, height, width of its input.
        classes: number of classes.
        bands: numbers of bands to time.
        long_bands: numbers of bands that `--long` adds.
        drawn: number of random images to make where none are given.
        memory_images: number of images that are evaluated to measure memory.
    """

    name: str
    size: tuple[int, int, int]
    classes: int
    bands: tuple[int, ...]
    long_bands: tuple[int, ...] = ()
    drawn: int = 64
    memory_images: int = 2


CASES = {
    case.name: case
    for case in (
        Case("tiny-cnn", (3, 32, 32), 10, (4, 6, 8, 10, 12), drawn=2000, memory_images=8),
        Case("fashion-cnn", (1, 28, 28), 10, (4, 6, 8, 10, 12), memory_images=8),
        Case("fashion-vit", (1, 28, 28), 10, (4, 8, 12), memory_images=8),
        Case("efficientnet-lite0", (3, 224, 224), 1000, (4, 8), (12,)),
        Case("vit-tiny-16", (3, 224, 224), 1000, (4, 8), (12,)),
    )
}


def bundled(case: Case) -> tuple[Path, Path] | None:
    """The model and images of a case whose model is bundled; None for other cases."""
    model = bundled_model(case.name)
    return (model, FASHION_IMAGES) if model.exists() else None


def draw_images(case: Case, folder: Path) -> Path:
    """Writes random images; for large models they are larger than the input, as photographs are."""
    channels, height, width = case.size
    margin = _MARGIN if height > _MARGIN else 0
    path = folder / f"{case.name}.npz"
    write_random_images(
        path,
        case.drawn,
        height + margin,
        width + margin,
        channels=channels,
        classes=case.classes,
    )
    return path


def tiny_weights() -> dict[str, np.ndarray]:
    """Random weights of the tiny CNN from a fixed seed; the speed does not depend on them."""
    generator = np.random.default_rng(SEED)
    weights: dict[str, np.ndarray] = {}
    channels = 3
    for layer, width in enumerate(TINY_WIDTHS):
        deviation = (2 / (9 * channels)) ** 0.5
        kernel = deviation * generator.standard_normal((width, channels, 3, 3))
        weights[f"conv{layer}.weight"] = kernel.astype(np.float32)
        weights[f"conv{layer}.bias"] = np.zeros(width, np.float32)
        channels = width
    head = channels**-0.5 * generator.standard_normal((TINY_CLASSES, channels))
    weights["head.weight"] = head.astype(np.float32)
    weights["head.bias"] = np.zeros(TINY_CLASSES, np.float32)
    return weights


def write_tiny_cnn(target: Path) -> None:
    """Writes a CNN: three convolutions with two poolings, a global average, logits."""
    nodes, last = [], "image"
    for layer in range(len(TINY_WIDTHS)):
        if layer:
            nodes.append(
                helper.make_node(
                    "MaxPool", [last], [f"pool{layer}"], kernel_shape=[2, 2], strides=[2, 2]
                )
            )
            last = f"pool{layer}"
        conv = [last, f"conv{layer}.weight", f"conv{layer}.bias"]
        nodes.append(helper.make_node("Conv", conv, [f"sum{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"sum{layer}"], [f"relu{layer}"]))
        last = f"relu{layer}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["average"]))
    nodes.append(helper.make_node("Flatten", ["average"], ["flat"]))
    head = ["flat", "head.weight", "head.bias"]
    nodes.append(helper.make_node("Gemm", head, ["logits"], transB=1))
    graph = helper.make_graph(
        nodes,
        "tiny-cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", TINY_CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in tiny_weights().items()],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, producer_name="bench.py", opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, target)
    write_preprocess(target, input_size=(3, 32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)
