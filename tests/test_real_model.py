"""EfficientNet-Lite0 with its ImageNet weights on ImageNet photographs.

Skipped unless IASIDE_LITE0 names the ONNX file that tools/exports/efficientnet_lite.py writes and
IASIDE_IMAGENET the folder with the photographs (images/ and class_to_index.json).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import iaside_onnx

MODEL, PHOTOGRAPHS = os.environ.get("IASIDE_LITE0"), os.environ.get("IASIDE_IMAGENET")

pytestmark = pytest.mark.skipif(
    not (MODEL and PHOTOGRAPHS), reason="IASIDE_LITE0 and IASIDE_IMAGENET are not set"
)


def decompose(
    output: Path, preprocess: iaside_onnx.Preprocess | None = None
) -> iaside_onnx.Archive:
    """All photographs with their true labels, two bands."""
    folder = Path(str(PHOTOGRAPHS))
    classes = folder / "class_to_index.json"
    return iaside_onnx.decompose(
        str(MODEL), folder / "images", output, classes=classes, bands=2, preprocess=preprocess
    )


def test_preprocessing_gives_the_accuracy_of_torchvisions(tmp_path: Path) -> None:
    """A wrong resize, crop, normalisation, colour or class order would move 178 of 200 at top 1.

    178 is what torchvision's own Resize(256, BICUBIC) and CenterCrop(224) give with these weights.
    """
    archive = decompose(tmp_path / "lite0.h5")
    assert archive.metadata.images_done == 200
    assert archive.metadata.accuracy == pytest.approx(178 / 200, abs=0.006)
    # The whole image through the sum of its bands is the whole image: efficiency on real data.
    gain = archive["log_probability_whole"] - archive["log_probability_empty"]
    np.testing.assert_allclose(archive["phi_image"].sum(axis=1), gain, atol=2e-3)


def test_wrong_colour_order_costs_accuracy(tmp_path: Path) -> None:
    """If the colour order were ignored, the accuracy would stay where it was."""
    spec = iaside_onnx.Preprocess(
        interpolation="bicubic",
        crop_pct=0.875,
        mean=(127 / 255,),
        std=(128 / 255,),
        color_order="bgr",
    )
    archive = decompose(tmp_path / "bgr.h5", preprocess=spec)
    assert archive.metadata.accuracy < 0.87
