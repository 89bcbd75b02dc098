"""Exports the PyTorch twins from Keras's weights; run by make_twins.py."""

import numpy as np
import torch
from files import write_preprocess
from torch_export import export_onnx
from torch_nets import SmallCNN
from twins import SHAPES, read_arguments, torch_name

OPSET = 18
KERAS_EPSILON = 1e-3


def load(weights: list[np.ndarray]) -> SmallCNN:
    """Puts Keras's weights, in Keras's order, into the same network in PyTorch."""
    model = SmallCNN().eval()
    remaining = iter(torch.from_numpy(array) for array in weights)
    with torch.no_grad():
        for layer in model.features:
            if isinstance(layer, torch.nn.Conv2d):
                # Keras: height, width, in, out.
                layer.weight.copy_(next(remaining).permute(3, 2, 0, 1))
            elif isinstance(layer, torch.nn.BatchNorm2d):
                layer.eps = KERAS_EPSILON
                for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                    tensor.copy_(next(remaining))
        model.head.weight.copy_(next(remaining).T)
        model.head.bias.copy_(next(remaining))
    return model


def main() -> None:
    """Parses the command line and writes one ONNX file a shape."""
    weights, folder = read_arguments(__doc__.splitlines()[0])
    model = load(weights)
    for suffix, (height, width) in SHAPES.items():
        target = folder / torch_name(suffix)
        export_onnx(model, (1, height, width), target, opset=OPSET, input_name="image")
        write_preprocess(
            target,
            input_size=(1, height, width),
            mean=(0.0,),
            std=(1.0,),
            value_range=(-1.0, 1.0),
        )


if __name__ == "__main__":
    main()
