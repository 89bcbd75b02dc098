"""timm to ONNX with the real timm, and its preprocessing beside its own transforms."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch
from PIL import Image

import iaside_onnx
from iaside_onnx.errors import ExportError
from iaside_onnx.images import prepare
from tests.export.checks import check_file, metadata
from tests.export.torchvision_alone import make_importable

make_importable()
timm = pytest.importorskip("timm")

PHOTOGRAPHS = os.environ.get("IASIDE_IMAGENET")
NAME = "resnet10t.c3_in1k"


def make(**options: Any) -> Any:
    """A small model with weights that are the same every time."""
    torch.manual_seed(0)
    return timm.create_model(NAME, pretrained=False, **options).eval()


def reference(model: Any) -> Any:
    def run(inputs: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(inputs)).numpy()

    return run


@pytest.mark.parametrize("classes", [1000, 7])
def test_a_name_and_weights(classes: int, tmp_path: Path) -> None:
    """Fine-tuned weights may have other classes; preprocessing must be the configuration's."""
    model = make(num_classes=classes)
    weights, path = tmp_path / "w.pt", tmp_path / "net.onnx"
    torch.save(model.state_dict(), weights)
    made = iaside_onnx.export_timm(NAME, path, weights=weights)
    config = timm.data.resolve_model_data_config(model)
    check_file(path, reference(model), config["input_size"])
    assert made.signature.classes == classes
    stored = metadata(path, "iaside.preprocess")
    for word in ("interpolation", "crop_pct", "crop_mode"):
        assert stored[word] == config[word]
    for word in ("input_size", "mean", "std"):
        assert tuple(stored[word]) == config[word]
    assert metadata(path, "iaside.export")["versions"]["timm"] == timm.__version__


def test_grey_weights(tmp_path: Path) -> None:
    """The configuration is for colour; applied to grey images, it would normalise wrongly."""
    model = make(num_classes=5, in_chans=1)
    weights, path = tmp_path / "w.pt", tmp_path / "net.onnx"
    torch.save(model.state_dict(), weights)
    with pytest.raises(ExportError, match="takes 1 channels"):
        iaside_onnx.export_timm(NAME, path, weights=weights)
    spec = iaside_onnx.Preprocess(mean=(0.5,), std=(0.5,))
    iaside_onnx.export_timm(NAME, path, weights=weights, preprocess=spec)
    check_file(path, reference(model), (1, 176, 176))


def test_unknown_name(tmp_path: Path) -> None:
    """The error must suggest the nearest name."""
    with pytest.raises(ExportError, match="has no model 'resnet501'; did you mean 'resnet50"):
        iaside_onnx.export_timm("resnet501", tmp_path / "n.onnx", weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"crop_pct": 1.0},
        {"crop_pct": 0.95, "interpolation": "bilinear"},
        {"crop_mode": "squash", "crop_pct": 0.9},
        {"crop_mode": "border", "crop_pct": 1.0},
        {"input_size": (3, 160, 224), "interpolation": "lanczos"},
    ],
)
def test_preprocessing_is_timms(changed: dict[str, Any]) -> None:
    """Another filter, crop, padding or rounding would change pixels by a grey level or more."""
    config = timm.data.resolve_data_config(changed, model=make())
    words = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
    spec = iaside_onnx.Preprocess.from_dict({w: config[w] for w in words}, "timm")
    transform = timm.data.create_transform(**config, is_training=False)
    for image in pictures()[:: 3 if changed else 1]:
        assert grey_levels(transform(image).numpy(), image, spec) < 1


def test_preprocessing_is_torchvisions() -> None:
    """The recipe of torchvision's own weights: resize the shorter side, crop, normalise."""
    from torchvision import transforms

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for filter_, name in (("BILINEAR", "bilinear"), ("BICUBIC", "bicubic")):
        transform = transforms.Compose(
            [
                transforms.Resize(256, getattr(transforms.InterpolationMode, filter_)),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )
        spec = iaside_onnx.Preprocess.from_dict(
            {"input_size": [3, 224, 224], "interpolation": name, "crop_pct": 224 / 256,
             "mean": mean, "std": std}, "torchvision",
        )  # fmt: skip
        for image in pictures():
            assert grey_levels(transform(image).numpy(), image, spec) < 1


@functools.cache
def pictures() -> list[Image.Image]:
    """Images of odd sizes; and photographs where there are any."""
    rng = np.random.default_rng(0)
    sizes = [(301, 224), (224, 333), (500, 375), (97, 640), (256, 256)]
    found = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in sizes]
    if PHOTOGRAPHS:
        paths = sorted((Path(PHOTOGRAPHS) / "images").rglob("*.JPEG"))
        found += [Image.open(path).convert("RGB") for path in paths]
    return found


def grey_levels(theirs: Any, image: Image.Image, spec: iaside_onnx.Preprocess) -> float:
    """The largest difference of a pixel, in steps of 1/255 before normalisation."""
    scale, shift = spec.affine()
    mine = prepare(image, spec) * scale[:, None, None] + shift[:, None, None]
    assert mine.shape == theirs.shape
    return float((np.abs(mine - theirs) / scale[:, None, None]).max() * 255)
