"""Accuracy of an exported Fashion-MNIST model, measured on the ONNX file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tools.shared import fashion

NOISE_SIGMA = 0.2
NOISE_SEED = 2024


def pixels(images: np.ndarray) -> np.ndarray:
    """Maps uint8 images to float32 in [0, 1], shape unchanged."""
    return images.astype(np.float32) / np.float32(255)


def noisy(values: np.ndarray) -> np.ndarray:
    """Adds Gaussian noise, sigma 0.2, to pixels in [0, 1] and clips; the same in each call."""
    noise = np.random.default_rng(NOISE_SEED).standard_normal(values.shape, dtype=np.float32)
    clipped: np.ndarray = np.clip(values + np.float32(NOISE_SIGMA) * noise, 0, 1)
    return clipped


def model_input(values: np.ndarray, spec: dict[str, Any]) -> np.ndarray:
    """Normalises grey pixels (n, h, w) in [0, 1] as a preprocessing spec says."""
    low, high = spec["value_range"]
    normalised = (low + (high - low) * values - spec["mean"][0]) / spec["std"][0]
    return np.asarray(normalised, np.float32)


def outputs(path: Path, values: np.ndarray) -> np.ndarray:
    """Returns the outputs of a model, float32 (n, 10), for grey pixels (n, h, w) in [0, 1]."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    graph_input = session.get_inputs()[0]
    channel_axis = 1 if graph_input.shape[1] == 1 else -1
    spec = json.loads(path.with_suffix(".preprocess.json").read_text(encoding="utf-8"))
    inputs = np.expand_dims(model_input(values, spec), channel_axis)
    chunks = np.array_split(inputs, max(1, len(inputs) // 500))
    return np.concatenate([session.run(None, {graph_input.name: chunk})[0] for chunk in chunks])


def measure(path: Path) -> dict[str, Any]:
    """Measures one model: opset, accuracy on the test images, on the sample, and under noise."""
    test = fashion.load_test()
    sample = fashion.sample(test)

    def accuracy(values: np.ndarray, labels: np.ndarray) -> float:
        return float((outputs(path, values).argmax(axis=1) == labels).mean())

    opsets = {entry.domain: entry.version for entry in onnx.load(path).opset_import}
    return {
        "opset": opsets[""],
        "accuracy_test": accuracy(pixels(test.images), test.labels),
        "accuracy_sample": accuracy(pixels(sample.images), sample.labels),
        "accuracy_noise": accuracy(noisy(pixels(sample.images)), sample.labels),
    }
