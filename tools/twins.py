"""What the two sides of the twins agree on: names, shapes, which part of an image they see."""

import numpy as np

# Suffix of the file name, and height and width of the input. The network ends in an average over
# positions, so the same weights fit both; the second shape shows up a swap of height and width.
SHAPES = {"": (28, 28), "-wide": (20, 28)}


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
