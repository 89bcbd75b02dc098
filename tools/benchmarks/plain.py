"""The plain way: I-ASIDE in PyTorch as the paper describes it, one filtered image at a time.

Also the networks that it runs on, with the weights of the ONNX files.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from tools.benchmarks.cases import SEED, TINY_CLASSES, TINY_WIDTHS, tiny_weights
from tools.shared.files import write_preprocess
from tools.training.torch_nets import Block, SmallCNN, SmallViT


class TinyCNN(nn.Module):
    """The network that `cases.write_tiny_cnn` writes."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for layer, width in enumerate(TINY_WIDTHS):
            setattr(self, f"conv{layer}", nn.Conv2d(channels, width, 3, padding=1))
            channels = width
        self.head = nn.Linear(channels, TINY_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images (batch, 3, 32, 32) to logits (batch, 10)."""
        for layer in range(len(TINY_WIDTHS)):
            if layer:
                images = nn.functional.max_pool2d(images, 2)
            images = nn.functional.relu(getattr(self, f"conv{layer}")(images))
        return self.head(images.mean(dim=(2, 3)))


class TinyViT(nn.Module):
    """ViT-Ti/16 at 224 pixels: 12 blocks, width 192, 3 heads, a class token, 5.7 M weights."""

    def __init__(self, width: int = 192, depth: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, stride=16)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 14 * 14 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, widening=4) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images (batch, 3, 224, 224) to logits (batch, 1000)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1)
        return self.head(self.norm(self.blocks(tokens + self.positions))[:, 0])


def tiny_vit() -> TinyViT:
    """Returns the transformer with random weights, the same in each call."""
    torch.manual_seed(SEED)
    net = TinyViT()
    net.eval()
    return net


def write_tiny_vit(target: Path) -> None:
    """Exports the transformer, and writes its preprocessing spec."""
    from tools.training.torch_export import export_onnx

    export_onnx(tiny_vit(), (3, 224, 224), target, opset=20, input_name="image")
    write_preprocess(target, input_size=(3, 224, 224), mean=(0.5,) * 3, std=(0.5,) * 3)


def load_net(name: str, model: Path) -> nn.Module | None:
    """The PyTorch network of a case, with the weights of its ONNX file; None if there is none."""
    if name == "tiny-cnn":
        net: nn.Module = TinyCNN()
        net.load_state_dict({key: torch.from_numpy(v) for key, v in tiny_weights().items()})
    elif name == "fashion-cnn":
        net = _with_weights_of(model, SmallCNN())
    elif name == "fashion-vit":
        net = _with_weights_of(model, SmallViT(patch=4, width=48))
    elif name == "vit-tiny-16":
        net = tiny_vit()
    else:
        try:
            from tools.exports.efficientnet_lite import load

            net = load(name.removeprefix("efficientnet-"))
        except (ImportError, SystemExit):  # the message is printed
            return None
    return net.eval()


def _with_weights_of(model: Path, net: nn.Module) -> nn.Module:
    """Loads the weights of an exported file into its network.

    The exporter keeps names, folds batch normalisation into the convolution before it, and
    transposes the matrices of linear layers into constants without names.
    """
    graph = onnx.load(model).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    products = [node.input[1] for node in graph.node if node.op_type == "MatMul"]
    matrices = iter([held[name].T for name in products if name in held])
    state = net.state_dict()
    folded = ""
    for key, value in state.items():
        last = key.rpartition(".")[2]
        if key in held:
            found = held[key]
            folded = f"{key}_bias" if f"{key}_bias" in held else folded
        elif last == "running_var":
            found = np.full(value.shape, 1 - 1e-5, np.float32)  # plus epsilon is one
        elif folded and last == "bias":
            found = held[folded]
        elif last in ("running_mean", "num_batches_tracked") or folded:
            continue  # zero mean, and a scale of one
        else:
            found = next(matrices)
        state[key] = torch.tensor(found).reshape(value.shape)
    net.load_state_dict(state)
    return net


class Plain:
    """The published method without optimisation: each coalition has its own FFTs and model run."""

    def __init__(
        self, net: nn.Module, scale: np.ndarray, shift: np.ndarray, bands: int, threads: int
    ) -> None:
        logging.getLogger("torch").setLevel(logging.ERROR)
        torch.set_num_threads(threads)
        self._net = net
        self._scale = torch.from_numpy(np.ascontiguousarray(scale)).reshape(-1, 1, 1)
        self._shift = torch.from_numpy(np.ascontiguousarray(shift)).reshape(-1, 1, 1)
        self._bands = bands
        self._rings: Tensor | None = None  # the same for all images

    def worth(self, pixels: np.ndarray, label: int, coalitions: Sequence[int]) -> list[float]:
        """Log-probability of the label under each coalition of bands, by bit mask."""
        image = torch.from_numpy(pixels)
        if self._rings is None:
            self._rings = self._bands_of(*image.shape[-2:])
        worth = []
        with torch.inference_mode():
            for coalition in coalitions:
                present = torch.tensor([coalition >> band & 1 for band in range(self._bands)])
                spectrum = torch.fft.fft2(image) * present[self._rings]
                filtered = torch.fft.ifft2(spectrum).real * self._scale + self._shift
                logits = self._net(filtered[None])
                worth.append(float(torch.log_softmax(logits, dim=1)[0, label]))
        return worth

    def time(self, pixels: np.ndarray, label: int, coalitions: Sequence[int]) -> float:
        """Seconds that these coalitions take."""
        begun = time.perf_counter()
        self.worth(pixels, label, coalitions)
        return time.perf_counter() - begun

    def _bands_of(self, height: int, width: int) -> Tensor:
        """The band of each frequency: rings of equal width in the larger of |fy| and |fx|."""
        fy = torch.fft.fftfreq(height, dtype=torch.float64).abs()
        fx = torch.fft.fftfreq(width, dtype=torch.float64).abs()
        radius = 2 * torch.maximum(fy[:, None], fx[None, :])
        # The small summand makes up for rounding (3/28): an edge belongs to the band above it.
        return (radius * self._bands + 1e-9).long().clamp(max=self._bands - 1)
