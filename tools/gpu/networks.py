"""Networks with random weights from a fixed seed, which `check` runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tools.shared.files import write_preprocess

SEED = 0
OPSET = 18
SMALL_SIZE = 32
SMALL_CLASSES = 10
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Resnet:
    """The shape of a ResNet with bottlenecks.

    Attributes:
        size: pixels of a side of the input.
        width: channels of the first convolution; the last bottleneck has 32 times as many.
        blocks: bottlenecks of each stage.
        classes: number of classes.
    """

    size: int = 224
    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    classes: int = 1000

    @property
    def first_bytes(self) -> int:
        """Size of the output of the first convolution for one image, in float32."""
        return 4 * self.width * (self.size // 2) ** 2


FULL = Resnet()
REDUCED = Resnet(size=96, width=16, blocks=(1, 1, 1, 1))


class Net:
    """Builds a graph with one input ``image`` of 3 channels."""

    def __init__(self, size: int, *, half: bool = False) -> None:
        """Start an empty graph.

        Args:
            size: pixels of a side of the input.
            half: weights and sums in float16, input and output in float32.
        """
        self._size = size
        self._half = half
        self._generator = np.random.default_rng(SEED)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self.last = "image"
        if half:
            self.add("Cast", to=TensorProto.FLOAT16)

    def add(self, kind: str, *more: str, domain: str = "", **attributes: Any) -> str:
        """Add a node that takes the last value and ``more``; returns the new last value."""
        name = f"{kind.lower()}{len(self._nodes)}"
        node = helper.make_node(kind, [self.last, *more], [name], domain=domain, **attributes)
        self._nodes.append(node)
        self.last = name
        return name

    def _weight(self, shape: tuple[int, ...], deviation: float) -> str:
        values = deviation * self._generator.standard_normal(shape, np.float32)
        name = f"weight{len(self._weights)}"
        kind = np.float16 if self._half else np.float32
        self._weights.append(numpy_helper.from_array(values.astype(kind), name))
        return name

    def conv(self, before: int, after: int, kernel: int, stride: int = 1, gain: float = 2.0) -> str:
        """Add a convolution with a bias, as after folding a batch normalisation.

        Args:
            before: channels in.
            after: channels out.
            kernel: pixels of a side.
            stride: in pixels.
            gain: of the variance; 2 makes up for a ReLU before it (He et al., 2015).
        """
        weight = self._weight((after, before, kernel, kernel), (gain / (before * kernel**2)) ** 0.5)
        bias = self._weight((after,), 0.05)
        edge = kernel // 2
        return self.add("Conv", weight, bias, strides=[stride] * 2, pads=[edge] * 4)

    def head(self, features: int, classes: int) -> None:
        """Add the average of each channel, and logits."""
        self.add("GlobalAveragePool")
        self.add("Flatten", axis=1)
        weight = self._weight((classes, features), 0.2 * features**-0.5)
        self.add("Gemm", weight, self._weight((classes,), 0.05), transB=1)

    def save(self, target: Path, classes: int) -> None:
        """Write the model, with dynamic batch size, and its preprocessing spec."""
        if self._half:
            self.add("Cast", to=TensorProto.FLOAT)
        size = self._size
        graph = helper.make_graph(
            self._nodes,
            target.stem,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, ["batch", classes])],
            self._weights,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(
            graph, producer_name="gpu_check.py", opset_imports=opsets, ir_version=8
        )
        onnx.checker.check_model(model)
        onnx.save(model, target)
        write_preprocess(target, input_size=(3, size, size), mean=_MEAN, std=_STD)


def write_resnet(target: Path, shape: Resnet, *, half: bool = False) -> None:
    """Write a ResNet, for the full shape ResNet-50: images (3, size, size) to logits (classes,)."""
    net = Net(shape.size, half=half)
    net.conv(3, shape.width, 7, 2)
    net.add("Relu")
    net.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    before = shape.width
    for stage, blocks in enumerate(shape.blocks):
        inner = shape.width << stage
        for block in range(blocks):
            _bottleneck(net, before, inner, 2 if stage and not block else 1)
            before = 4 * inner
    net.head(before, shape.classes)
    net.save(target, shape.classes)


def _bottleneck(net: Net, before: int, inner: int, stride: int) -> None:
    start = net.last
    net.conv(before, inner, 1)
    net.add("Relu")
    net.conv(inner, inner, 3, stride)
    net.add("Relu")
    # A small gain: otherwise values would double with each block and overflow float16.
    branch = net.conv(inner, 4 * inner, 1, gain=0.2)
    net.last = start
    if before != 4 * inner or stride > 1:
        net.conv(before, 4 * inner, 1, stride)
    net.add("Add", branch)
    net.add("Relu")


def write_small(target: Path, *, normalised: bool = False) -> None:
    """Write a network of two convolutions for images of 32 pixels.

    Args:
        target: the ONNX file.
        normalised: end in ``Normalizer`` of ai.onnx.ml, which only the CPU provider implements.
    """
    net = Net(SMALL_SIZE)
    net.conv(3, 16, 3, 2)
    net.add("Relu")
    net.conv(16, 32, 3, 2)
    net.add("Relu")
    net.head(32, SMALL_CLASSES)
    if normalised:
        net.add("Normalizer", domain="ai.onnx.ml", norm="L2")
    net.save(target, SMALL_CLASSES)
