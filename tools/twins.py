"""What the two sides of the twins agree on: names, shapes, which part of an image they see."""

import argparse
from pathlib import Path

import numpy as np

# Suffix of the file name, and height and width of the input. The network ends in an average over
# positions, so the same weights fit both; the second shape shows up a swap of height and width.
SHAPES = {"": (28, 28), "-wide": (20, 28)}


def read_arguments(description: str) -> tuple[list[np.ndarray], Path]:
    """The weights, in Keras's order, and the folder to write to, from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    with np.load(args.weights) as stored:
        return [stored[key] for key in sorted(stored.files)], args.folder


def keras_name(suffix: str) -> str:
    """File name of the Keras twin: NHWC, ends in a softmax."""
    return f"twin-keras{suffix}.onnx"


def torch_name(suffix: str) -> str:
    """File name of the PyTorch twin: NCHW, ends in logits."""
    return f"twin-torch{suffix}.onnx"


def centre(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cuts the centre (n, height, width) out of images (n, h, w)."""
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    return images[:, top : top + height, left : left + width]
