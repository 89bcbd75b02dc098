"""Specifications of the hub against the hub's own image processors."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from PIL import Image

from iaside_onnx.images import prepare, read_preprocess
from tests.export.torchvision_alone import make_importable

make_importable()
transformers = pytest.importorskip("transformers")

PHOTOGRAPHS = os.environ.get("IASIDE_IMAGENET")

# Configurations as real checkpoints have them, by the type of their processor.
CONFIGURATIONS: list[tuple[str, dict[str, Any]]] = [
    ("ViTImageProcessor", {}),
    ("DeiTImageProcessor", {}),
    ("BeitImageProcessor", {}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.95, "resample": 3}),
    ("EfficientNetImageProcessor", {}),
    ("MobileNetV2ImageProcessor", {}),
    ("CLIPImageProcessor", {}),
    ("LevitImageProcessor", {}),
    ("SiglipImageProcessor", {}),
    ("BitImageProcessor", {}),
    ("PoolFormerImageProcessor", {}),
]


def pictures() -> list[Image.Image]:
    """Images of odd sizes; and photographs where there are any."""
    rng = np.random.default_rng(0)
    sizes = [(301, 225), (225, 334), (500, 375), (257, 255)]
    found = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in sizes]
    if PHOTOGRAPHS:
        paths = sorted((Path(PHOTOGRAPHS) / "images").rglob("*.JPEG"))[::8]
        found += [Image.open(path).convert("RGB") for path in paths]
    return found


@pytest.mark.parametrize(
    ("name", "changed"), CONFIGURATIONS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CONFIGURATIONS)]
)
def test_preprocessing_is_the_hubs(name: str, changed: dict[str, Any], tmp_path: Path) -> None:
    """Another resize, crop, filter or normalisation would change pixels by a grey level or more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        processor = getattr(transformers, f"{name}Pil")(**changed)
    processor.save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    # Checkpoints name the processor, not which of its two implementations wrote them.
    path.write_text(json.dumps({**json.loads(path.read_text()), "image_processor_type": name}))
    spec = read_preprocess(path)
    scale, shift = spec.affine()
    for image in pictures():
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0])
        mine = prepare(image, spec) * scale[:, None, None] + shift[:, None, None]
        assert mine.shape == theirs.shape
        assert (np.abs(mine - theirs) / np.abs(scale)[:, None, None]).max() * 255 < 1
