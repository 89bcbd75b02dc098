"""Exports the Keras twins from saved weights; run by make_twins.py."""

# train_keras quiets TensorFlow before it is imported, so nothing here may import Keras earlier.
from train_keras import build, export_onnx, write_spec
from twins import SHAPES, keras_name, read_arguments


def main() -> None:
    """Parses the command line and writes one ONNX file a shape."""
    weights, folder = read_arguments(__doc__.splitlines()[0])
    for suffix, (height, width) in SHAPES.items():
        model = build(height, width)
        model.set_weights(weights)
        target = folder / keras_name(suffix)
        export_onnx(model, target)
        write_spec(target, height, width)


if __name__ == "__main__":
    main()
