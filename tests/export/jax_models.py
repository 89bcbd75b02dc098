"""JAX functions and modules to export, good and bad."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.export.twins import WIDTHS, weights

NUMBER = 3


class Twin(nnx.Module):  # type: ignore[misc]  # untyped base
    """The twin network in Flax."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        channels = (1, *WIDTHS)
        self.convs = nnx.List(
            [nnx.Conv(channels[i], channels[i + 1], (3, 3), rngs=rngs) for i in range(3)]
        )
        self.head = nnx.Linear(WIDTHS[-1], 10, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        for index, conv in enumerate(self.convs):
            if index:
                x = nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))
            x = nnx.relu(conv(x))
        return self.head(x.mean((1, 2)))


def twin() -> Any:
    """The twin with its weights."""
    model = Twin()
    layers, (head, bias) = weights()
    for conv, (kernel, offset) in zip(model.convs, layers, strict=True):
        conv.kernel.set_value(jnp.asarray(kernel.transpose(2, 3, 1, 0)))
        conv.bias.set_value(jnp.asarray(offset))
    model.head.kernel.set_value(jnp.asarray(head.T))
    model.head.bias.set_value(jnp.asarray(bias))
    return model


class Normalised(nnx.Module):  # type: ignore[misc]  # untyped base
    """A network with batch normalisation whose statistics are not the initial ones."""

    def __init__(self) -> None:
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
        self.norm = nnx.BatchNorm(4, rngs=nnx.Rngs(0))
        self.head = nnx.Linear(4, 5, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        return self.head(nnx.relu(self.norm(self.conv(x))).mean((1, 2)))


def normalised() -> Any:
    model = Normalised()
    for seed in range(3):
        model(jnp.asarray(np.random.default_rng(seed).random((8, 10, 14, 3), dtype=np.float32)))
    model.eval()
    return model


_KERNEL = np.random.default_rng(0).standard_normal((3, 5), dtype=np.float32)


def direct(images: Any) -> Any:
    """A function of images itself: channels first, probabilities."""
    return jax.nn.softmax(images.mean((2, 3)) @ _KERNEL)


def with_weights(arrays: Any) -> Any:
    """A factory that is given weights."""
    return lambda images: images.mean((1, 2)) @ arrays["kernel"]


def two(first: Any, second: Any) -> Any:
    return first + second


def of_two() -> Any:
    return two


def gives_number() -> Any:
    return 3


def broken() -> Any:
    raise KeyError("kernel")


def labels(images: Any) -> Any:
    return images.mean((1, 2)).argmax(1)


def features(images: Any) -> Any:
    return images * 2
