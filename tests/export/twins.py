"""One network with one set of weights, which each framework builds.

The weights are those of tests/data/twin-torch.onnx (tools/fixtures/make_twins.py): three
convolutions, with the batch normalisation that they were trained with folded in, two poolings, an
average, logits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

import iaside_onnx

__all__ = ["SPEC", "assert_same_contributions", "weights"]

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "data" / "twin-torch.onnx"
SPEC = iaside_onnx.Preprocess(input_size=(1, 28, 28), value_range=(-1.0, 1.0))
WIDTHS = (16, 32, 48)


def weights() -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], tuple[NDArray[Any], NDArray[Any]]]:
    """Convolutions as (out, in, 3, 3) with their biases; and the head, (10, 48), with its own."""
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(GOLDEN)).graph.initializer}
    layers = [
        (stored[f"features.{i}.weight"], stored[f"features.{i}.weight_bias"]) for i in (0, 4, 8)
    ]
    return layers, (stored["head.weight"], stored["head.bias"])


def assert_same_contributions(model: Path, folder: Path) -> None:
    """Assert that phi is that of the golden twin, within half of 1e-4, band by band."""
    bundled = TESTS.parent / "models" / "fashion-mnist-1000.npz"
    options: dict[str, Any] = {"limit": 20, "bands": 6}
    mine, golden = (
        iaside_onnx.decompose(path, bundled, folder / f"{path.stem}.h5", **options)
        for path in (model, GOLDEN)
    )
    assert golden.metadata.accuracy > 0.5
    # Then any two frameworks are within 1e-4 of each other.
    np.testing.assert_allclose(mine["phi"], golden["phi"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(mine["phi_image"], golden["phi_image"], rtol=1e-6, atol=5e-4)
