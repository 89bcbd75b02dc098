"""The method once more, slowly and from its definitions; shares no code with the package.

Complex FFTs of the whole plane in float64, one for each coalition; Shapley values by all orders in
which the bands can arrive; the model in a plain ONNX Runtime session.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tests.support.onnx_models import Net

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What to compute; the words are those of design.md."""

    bands: int = 4
    partition: Literal["linf", "l2", "l1"] = "linf"
    spacing: Literal["linear", "octave"] = "linear"
    baseline: Literal["zero", "mean", "noise", "complement"] = "zero"
    pixel_range: Literal["none", "clip", "minmax"] = "none"
    labels: Literal["given", "predicted"] = "given"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    value_range: tuple[float, float] = (0.0, 1.0)
    bgr: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What comes out, as the archive names it."""

    worth: Array
    phi_image: Array
    psi: Array
    sis: float
    predicted: NDArray[np.int64]
    whole: Array


def solve(
    net: Net,
    setting: Setting,
    pixels: Array,
    labels: NDArray[np.int64],
    positions: NDArray[np.int64] | None = None,
) -> Answer:
    """Decompose images, ``(n, C, H, W)`` in [0, 1] and RGB, at these positions of their source."""
    positions = np.arange(len(pixels)) if positions is None else positions
    if setting.bgr:
        pixels = pixels[:, ::-1]
    bands = bands_of_plane(pixels.shape[2], pixels.shape[3], setting)
    log_p = _log_probabilities(net, setting, pixels)
    predicted = log_p.argmax(axis=1)
    chosen = predicted if setting.labels == "predicted" else labels
    rows = np.arange(len(pixels))
    worth = np.empty((len(pixels), 2**setting.bands))
    for i, image in enumerate(pixels):
        base = baseline(setting, pixels, i, bands, int(positions[i]))
        filtered = np.stack(
            [_filter(image, base, _mask(bands, s)) for s in range(2**setting.bands)]
        )
        filtered = _limited(filtered, setting.pixel_range)
        worth[i] = _log_probabilities(net, setting, filtered)[:, chosen[i]]
    phi = shapley_by_orders(worth, setting.bands)
    psi = distribution(phi.mean(axis=0))
    return Answer(worth, phi, psi, score(psi), predicted, log_p[rows, chosen])


def bands_of_plane(height: int, width: int, setting: Setting) -> NDArray[np.int64]:
    """Band of every frequency of the full plane, ``(H, W)``, by the definitions of the radius."""
    fy, fx = np.abs(np.fft.fftfreq(height))[:, None], np.abs(np.fft.fftfreq(width))[None]
    radius = {
        "linf": np.maximum(fy, fx) / 0.5,
        "l2": np.hypot(fy, fx) / np.hypot(0.5, 0.5),
        "l1": fy + fx,
    }[setting.partition]
    m = setting.bands
    inner = np.arange(1, m) / m if setting.spacing == "linear" else 2.0 ** np.arange(1 - m, 0)
    # A radius on an edge belongs above it, and must not fall below by rounding.
    return np.asarray((radius[..., None] + 1e-9 >= inner).sum(axis=-1))


def baseline(
    setting: Setting, pixels: Array, i: int, bands: NDArray[np.int64], position: int
) -> Array:
    """What stands in for the absent bands of image i, by the recipes in runs/baselines.py."""
    if setting.baseline == "zero":
        return np.zeros_like(pixels[i])
    if setting.baseline == "mean":
        return np.broadcast_to(pixels.mean(axis=(0, 2, 3))[:, None, None], pixels[i].shape)
    if setting.baseline == "complement":
        k = int(np.random.default_rng([setting.seed, 2, position]).integers(len(pixels) - 1))
        return np.asarray(pixels[k + (k >= i)])
    rng = np.random.default_rng([setting.seed, 1, position])
    white = np.fft.fft2(rng.standard_normal(pixels[i].shape, np.float32).astype(np.float64))
    image = np.fft.fft2(pixels[i])
    for band in range(setting.bands):
        inside = bands == band
        energy = (np.abs(image[:, inside]) ** 2).sum(axis=1)
        white[:, inside] *= np.sqrt(energy / (np.abs(white[:, inside]) ** 2).sum(axis=1))[:, None]
    return np.asarray(np.fft.ifft2(white).real)


def _mask(bands: NDArray[np.int64], coalition: int) -> Array:
    return (coalition >> bands & 1).astype(np.float64)


def _filter(image: Array, base: Array, mask: Array) -> Array:
    mixed = np.fft.ifft2(np.fft.fft2(image) * mask + np.fft.fft2(base) * (1 - mask))
    assert np.abs(mixed.imag).max() < 1e-12
    return np.asarray(mixed.real)


def _limited(images: Array, kind: str) -> Array:
    if kind == "minmax":
        images = images.copy()
        for image in images:
            low, high = image.min(), image.max()
            if high - low > 1e-5:
                image[...] = (image - low) / (high - low)
    return images if kind == "none" else np.clip(images, 0.0, 1.0)


_sessions: dict[Net, Any] = {}


def _log_probabilities(net: Net, setting: Setting, pixels: Array) -> Array:
    """``(n, classes)`` from the logits of the same weights, channels first."""
    plain = Net(
        net.size, net.classes, "NCHW", net.dtype, net.weights, None, net.open_size, "logits",
        (), net.gain, net.seed,
    )  # fmt: skip
    if plain not in _sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        _sessions[plain] = onnxruntime.InferenceSession(
            plain.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    low, high = setting.value_range
    mean, std = (np.reshape(v, (1, -1, 1, 1)) for v in (setting.mean, setting.std))
    inputs = (low + (high - low) * pixels - mean) / std
    if net.dtype == "uint8":
        inputs = np.clip(np.rint(inputs), 0, 255)
    (logits,) = _sessions[plain].run(None, {"image": inputs.astype(net.dtype)})
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))


def shapley_by_orders(worth: Array, bands: int) -> Array:
    """Mean marginal contribution over all orders of arrival, ``(..., bands)``."""
    phi = np.zeros((*worth.shape[:-1], bands))
    orders = list(permutations(range(bands)))
    for order in orders:
        present = 0
        for band in order:
            phi[..., band] += worth[..., present | 1 << band] - worth[..., present]
            present |= 1 << band
    return phi / len(orders)


def distribution(phi: Array) -> Array:
    """The distribution psi."""
    above = phi - phi.min()
    return np.asarray(above / above.sum())


def score(psi: Array) -> float:
    """The score SIS, written out as in design.md."""
    beta = [0.75**i for i in range(psi.size)]
    norm = sum(b * b for b in beta) ** 0.5
    eta = sum(beta) / (psi.size * norm)
    inner = sum(b * p for b, p in zip(beta, psi.tolist(), strict=True)) / norm
    return float(abs(inner - eta) / (1 - eta))
