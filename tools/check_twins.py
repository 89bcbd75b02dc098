"""Compares the twins in ONNX Runtime on the 1,000 bundled images; run by make_twins.py."""

import argparse
from pathlib import Path

import fashion
import numpy as np
from files import fail
from measure import outputs, pixels
from twins import SHAPES, centre, keras_name, torch_name

TOLERANCE = 1e-5


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the log-softmax float64 (n, classes) of logits (n, classes)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def main() -> None:
    """Parses the command line; ends with an error when the twins disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    sample = fashion.sample(fashion.load_test())
    for suffix, (height, width) in SHAPES.items():
        values = pixels(centre(sample.images, height, width))
        logits = outputs(args.folder / torch_name(suffix), values)
        probabilities = outputs(args.folder / keras_name(suffix), values)
        difference = np.abs(log_softmax(logits) - np.log(probabilities.astype(np.float64))).max()
        accuracy = (logits.argmax(axis=1) == sample.labels).mean()
        print(
            f"{torch_name(suffix)}, {keras_name(suffix)}: {height} x {width}, accuracy "
            f"{accuracy:.3f}, log-probabilities differ by {difference:.1e} at most"
        )
        if not difference <= TOLERANCE:
            fail(f"The twins differ by more than {TOLERANCE:.0e}.")


if __name__ == "__main__":
    main()
