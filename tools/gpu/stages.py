"""The section of `check` that times iaside's own steps before and after the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from iaside_onnx.runtime import label_log_probabilities
from iaside_onnx.runtime.memory import Memory
from iaside_onnx.spectrum import band_components, band_index, mix
from iaside_onnx.types import OutputKind
from tools.gpu.context import Context, expect

_CLASSES = 1000
_CLOSE = 1e-5
_SEED = 3


def stages(context: Context, found: dict[str, Any]) -> None:
    """Time FFT, mix and gather alone, and compare them with NumPy."""
    size, batch = (96, 64) if context.quick else (224, 256)
    repeats = 20 if context.gpu else 3
    memory = context.memory()
    found |= {"size": size, "batch": batch, "repeats": repeats, "unit": "milliseconds"}
    for bands in (8, 12):
        images = partial(_images, memory, size, bands, batch, repeats)
        context.attempt(found, f"M = {bands}", images)
    context.attempt(found, "gather", partial(_gather, memory, batch, repeats))


def _timed(memory: Memory, repeats: int, call: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds a call: of many calls without synchronisation, and of one with it."""
    for _ in range(3):  # warm-up: compiles kernels, makes FFT plans, allocates memory
        call()
    memory.synchronize()
    begun = time.perf_counter()
    for _ in range(repeats):
        call()
    asked = time.perf_counter() - begun
    memory.synchronize()
    whole = time.perf_counter() - begun
    waited = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        memory.synchronize()
        waited.append(time.perf_counter() - begun)
    return {
        "each": 1e3 * whole / repeats,
        "asking": 1e3 * asked / repeats,
        "waited": 1e3 * float(np.median(waited)),
    }


def _images(memory: Memory, size: int, bands: int, batch: int, repeats: int) -> dict[str, Any]:
    """Time the steps from an image to the filtered images of a batch of coalitions."""
    xp = memory.xp
    host = np.random.default_rng(_SEED).random((3, size, size), np.float32)
    host_index = band_index(size, size, bands)
    image, index = xp.asarray(host), xp.asarray(host_index)
    offset = xp.zeros_like(image)
    components = band_components(image, index, bands, xp)
    out = memory.zeros((batch, 3, size, size), np.float32)
    everything = np.arange(1 << bands, dtype=np.uint64)
    parts = np.split(everything, range(batch, everything.size, batch))

    def mix_all() -> None:
        known: dict[int, Any] = {}
        for part in parts:
            mix(offset, components, part, out[: part.size], xp, known)

    found: dict[str, Any] = {
        "batches": len(parts),
        "fft": _timed(memory, repeats, partial(band_components, image, index, bands, xp)),
        "mix": _timed(memory, max(repeats // len(parts), 1), mix_all),
    }
    found["fft_difference"] = _away(
        memory.to_host(components), band_components(host, host_index, bands)
    )
    expect(found, found["fft_difference"] <= _CLOSE, f"components within {_CLOSE} of NumPy's")
    # The buffer holds the last batch; NumPy mixes the same components.
    wanted = np.empty((parts[-1].size, 3, size, size), np.float32)
    mix(np.zeros_like(host), memory.to_host(components), parts[-1], wanted)
    mixed = memory.to_host(out[: parts[-1].size])
    found["mix_same_bits"] = bool(np.array_equal(mixed, wanted))
    expect(found, found["mix_same_bits"], "mixed images are NumPy's bit for bit")
    return found


def _gather(memory: Memory, batch: int, repeats: int) -> dict[str, Any]:
    """Time the step from outputs to log-probabilities; compare it also for invalid outputs."""
    xp = memory.xp
    generator = np.random.default_rng(_SEED)
    logits = 5 * generator.standard_normal((batch, _CLASSES), np.float32)
    labels = generator.integers(0, _CLASSES, batch)
    logits[0, 3], logits[1, 3], logits[2, 3] = np.nan, np.inf, -np.inf
    logits[3], labels[2] = -np.inf, 3
    on_device, labels_there = xp.asarray(logits), xp.asarray(labels)
    call = partial(label_log_probabilities, on_device, "logits", labels_there, xp)
    found: dict[str, Any] = {"time": _timed(memory, repeats, call)}
    probabilities = np.exp(logits[4:] - logits[4:].max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    probabilities[0, labels[4]] = 0
    cases: dict[OutputKind, tuple[np.ndarray, np.ndarray]] = {
        "logits": (logits, labels),
        "probabilities": (probabilities, labels[4:]),
        "log-probabilities": (np.log(np.maximum(probabilities, 1e-30)), labels[4:]),
    }
    for kind, (outputs, which) in cases.items():
        for dtype in (np.float32, np.float16):
            values = outputs.astype(dtype)
            wanted = label_log_probabilities(values, kind, which)
            given = label_log_probabilities(xp.asarray(values), kind, xp.asarray(which), xp)
            here = [memory.to_host(array) for array in given]
            name = f"{kind}, {np.dtype(dtype)}"
            found[name] = _away(here[0], wanted[0])
            expect(found, found[name] <= _CLOSE, f"{name} within {_CLOSE} of NumPy's")
            expect(found, bool((here[1] == wanted[1]).all()), f"{name}: the same are floored")
    return found


def _away(one: np.ndarray, two: np.ndarray) -> float:
    """The largest difference; infinite if a value is NaN in one array only."""
    if (np.isnan(one) != np.isnan(two)).any():
        return float("inf")
    same = (one == two) | np.isnan(one)
    return float(np.abs(np.where(same, 0, one - two)).max())
