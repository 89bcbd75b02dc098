"""Exports the Keras twins from saved weights; run by make_twins.py."""

import argparse
from pathlib import Path

import numpy as np

# train_keras quiets TensorFlow before it is imported, so nothing here may import Keras earlier.
from train_keras import build, export_onnx, write_spec
from twins import SHAPES, keras_name


def main() -> None:
    """Parses the command line and writes one ONNX file a shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    with np.load(args.weights) as stored:
        weights = [stored[key] for key in sorted(stored.files)]
    for suffix, (height, width) in SHAPES.items():
        model = build(height, width)
        model.set_weights(weights)
        target = args.folder / keras_name(suffix)
        export_onnx(model, target)
        write_spec(target, height, width)


if __name__ == "__main__":
    main()
