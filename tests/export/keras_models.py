"""Keras models to export, good and bad."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tests.export.twins import WIDTHS, weights

__all__ = ["twin"]


def twin() -> Any:
    """The twin network in Keras, with its weights."""
    image = keras.Input((28, 28, 1))
    x = image
    for index, width in enumerate(WIDTHS):
        x = keras.layers.MaxPooling2D(2)(x) if index else x
        x = keras.layers.Conv2D(width, 3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(10)(x))
    layers, (head, bias) = weights()
    arrays = [
        array for kernel, offset in layers for array in (kernel.transpose(2, 3, 1, 0), offset)
    ]
    model.set_weights([*arrays, head.T, bias])
    return model


def small(
    activation: str | None = "softmax", size: tuple[int | None, int | None] = (12, 16)
) -> Any:
    """Colour images, higher than wide or any, to five classes."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(5, activation=activation),
        ],
        name="mine",
    )


def open_size() -> Any:
    return small(None, (None, None))


def two_inputs() -> Any:
    first, second = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([first, second]))
    return keras.Model([first, second], keras.layers.Dense(5)(x))


def two_outputs() -> Any:
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, [keras.layers.Dense(5)(x), keras.layers.Dense(4)(x)])


def of_rows() -> Any:
    return keras.Sequential([keras.Input((64,)), keras.layers.Dense(5)])


def unbuilt() -> Any:
    return keras.Sequential([keras.layers.Dense(5)])


def with_code() -> Any:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Lambda(lambda t: t * 2)(image)
    return keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(x)))


class Own(keras.layers.Layer):  # type: ignore[misc]  # untyped base
    """A layer that no other program knows."""

    def call(self, x: Any) -> Any:
        return x * 2


def with_own_layer() -> Any:
    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(Own()(image))))


def noise(n: int, *shape: int) -> Any:
    """Images in [0, 1]."""
    return np.random.default_rng(n).random((n, *shape), dtype=np.float32)
