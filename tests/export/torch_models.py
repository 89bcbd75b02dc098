"""PyTorch models to export, good and bad."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from tests.export.twins import WIDTHS, weights

NOT_A_MODEL = 3


class Net(nn.Module):  # type: ignore[misc]  # untyped base
    """Images to ten logits; dropout and normalisation depend on the mode."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.norm(self.conv(images)).relu().mean((2, 3))))


def trained() -> Any:
    """A module in training mode, whose normalisation statistics are not the initial ones."""
    torch.manual_seed(0)
    net = Net().train()
    for _ in range(3):
        net(torch.rand(8, 3, 16, 16) * 3)
    return net


class Twin(nn.Module):  # type: ignore[misc]  # untyped base
    """The twin network in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        channels = (1, *WIDTHS)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 3, padding=1) for i in range(3)
        )
        self.head = nn.Linear(WIDTHS[-1], 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, conv in enumerate(self.convs):
            x = conv(nn.functional.max_pool2d(x, 2) if index else x).relu()
        return self.head(x.mean((2, 3)))


def twin_state() -> dict[str, torch.Tensor]:
    """The twin's weights by name."""
    layers, (head, bias) = weights()
    state = {"head.weight": head, "head.bias": bias}
    for index, (kernel, offset) in enumerate(layers):
        state |= {f"convs.{index}.weight": kernel, f"convs.{index}.bias": offset}
    return {name: torch.from_numpy(array.copy()) for name, array in state.items()}


class WithLogits(Net):
    """Returns an object with logits, as models of the hub do."""

    def forward(self, images: torch.Tensor) -> Any:
        return SimpleNamespace(logits=super().forward(images), hidden=None)


class TwoInputs(Net):
    def forward(self, images: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(images) * scale


class TwoOutputs(Net):
    def forward(self, images: torch.Tensor) -> Any:
        scores = super().forward(images)
        return scores, scores


class Indices(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).argmax(1)


class Batch(Net):
    """Takes batches of two images only."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.reshape(2, 3, 16, 16))


class Nan(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * float("nan")


@torch.library.custom_op("iaside_tests::twist", mutates_args=())  # type: ignore[untyped-decorator]
def twist(x: torch.Tensor) -> torch.Tensor:
    """An operator that ONNX does not know."""
    return x.flip(1)


@twist.register_fake  # type: ignore[untyped-decorator]
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Custom(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return twist(super().forward(images))


def broken() -> Net:
    raise FileNotFoundError("no such config")


def on_meta() -> Any:
    """On the meta device, without memory, as large models are made."""
    with torch.device("meta"):
        return Net()


def script() -> Any:
    return torch.jit.trace(trained().eval(), torch.zeros(1, 3, 16, 16))


def leaves() -> Any:
    raise SystemExit(0)


def prints() -> Any:
    print("loading")  # noqa: T201  # as the code of users does
    return trained()


class Always(Net):
    """Draws at random in evaluation mode too."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(super().forward(images), 0.5, training=True)


def number() -> int:
    return 3
