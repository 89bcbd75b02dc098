"""Specifications from files: ours, timm's, the hub's, Keras's, and where they are looked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iaside_onnx.errors import ExtraMissingError, PreprocessError
from iaside_onnx.images import Preprocess, find_preprocess, parse_preprocess, read_preprocess

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

TIMM: dict[str, Any] = {
    "architecture": "resnet50",
    "num_classes": 1000,
    "pretrained_cfg": {
        "tag": "a1_in1k",
        "custom_load": False,
        "input_size": [3, 224, 224],
        "test_input_size": [3, 288, 288],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": 1000,
        "pool_size": [7, 7],
        "first_conv": "conv1",
        "classifier": "fc",
    },
}

VIT: dict[str, Any] = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}

CLIP: dict[str, Any] = {
    **VIT,
    "image_processor_type": "CLIPImageProcessor",
    "do_center_crop": True,
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "resample": 3,
}


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def hub(base: dict[str, Any], **changes: Any) -> Preprocess:
    return parse_preprocess({**base, **changes}, "hub.json")


def test_our_own_file_is_read_strictly(tmp_path: Path) -> None:
    spec = Preprocess((1, 28, 28), "box", 0.5, "border", (0.5,), (0.25,), "rgb", (-1.0, 1.0))
    assert read_preprocess(write(tmp_path / "a.json", spec.to_dict())) == spec
    with pytest.raises(PreprocessError, match=r"b\.json: unknown key 'meen', did you mean 'mean'"):
        read_preprocess(write(tmp_path / "b.json", {"meen": [0.5]}))


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_yaml_says_the_same(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("input_size: [3, 32, 32]\nmean: [0.1, 0.2, 0.3]\ncolor_order: bgr\n")
    wanted = Preprocess((3, 32, 32), mean=(0.1, 0.2, 0.3), color_order="bgr")
    assert read_preprocess(str(path)) == wanted


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("mean: !!python/object/apply:os.getpid []\n")
    with pytest.raises(PreprocessError, match="not valid YAML"):
        read_preprocess(path)


def test_yaml_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "a.yaml"
    path.write_text("mean: [0.5]\n")
    with pytest.raises(ExtraMissingError, match=r"pip install 'iaside-onnx\[yaml\]'"):
        read_preprocess(path)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b"", "not valid JSON"),
        ("a.json", b"\xff\xfe{}", "not valid JSON"),
        ("a.json", b"[" * 100_000, "not valid JSON"),
        ("a.json", b'{"mean": ' + b"9" * 5000 + b"}", "not valid JSON"),
        ("a.json", b'{"mean": 1, "mean": 2}', r"^\S+a\.json names 'mean' more than once"),
        ("a.json", b"[1]", "found list"),
        ("a.yaml", b"mean: [", "not valid YAML"),
        ("a.yaml", b"- 1", "found list"),
        ("a.toml", b"", "give a .json"),
    ],
)
def test_a_file_that_is_not_understood_is_named(
    tmp_path: Path, name: str, content: bytes, part: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PreprocessError, match=part) as caught:
        read_preprocess(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(PreprocessError, match=r"^\S+no\.json does not exist"):
        read_preprocess(tmp_path / "no.json")
    (tmp_path / "d.json").mkdir()
    with pytest.raises(PreprocessError, match=r"^\S+d\.json is not a file"):
        read_preprocess(tmp_path / "d.json")


@pytest.mark.parametrize(
    ("mode", "black", "white"),
    [
        ("caffe", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
        ("tf", (-1, -1, -1), (1, 1, 1)),
        ("torch", (-2.117904, -2.035714, -1.804444), (2.248908, 2.428571, 2.64)),
        ("raw", (0, 0, 0), (255, 255, 255)),
    ],
)
def test_keras_modes_map_black_and_white(
    mode: str, black: tuple[float, ...], white: tuple[float, ...]
) -> None:
    spec = read_preprocess(f"keras:{mode}")
    scale, shift = spec.resolved((3, 4, 4)).affine()
    np.testing.assert_allclose(shift, black, atol=1e-5)
    np.testing.assert_allclose(scale + shift, white, rtol=1e-5)
    assert spec.color_order == ("bgr" if mode == "caffe" else "rgb")


def test_a_keras_mode_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(PreprocessError, match="did you mean keras:torch"):
        read_preprocess("keras:torche")


@pytest.mark.parametrize("data", [TIMM, {**TIMM["pretrained_cfg"], "architecture": "resnet50"}])
def test_timm_is_read_whole_or_flat(data: dict[str, Any]) -> None:
    wanted = Preprocess((3, 224, 224), "bicubic", 0.95, "center", IMAGENET_MEAN, IMAGENET_STD)
    assert parse_preprocess(data, "x") == wanted


def test_timm_defaults_are_those_of_timm_not_ours() -> None:
    """resolve_data_config of timm: bicubic, 0.875 and ImageNet's mean where nothing is said."""
    spec = parse_preprocess({"pretrained_cfg": {"crop_mode": None, "num_classes": 10}}, "x")
    assert spec == Preprocess(None, "bicubic", 0.875, "center", IMAGENET_MEAN, IMAGENET_STD)


def test_a_wrong_value_from_timm_is_named() -> None:
    broken = {"pretrained_cfg": {**TIMM["pretrained_cfg"], "interpolation": "random"}}
    with pytest.raises(PreprocessError, match=r"^t\.json: interpolation must be one of"):
        parse_preprocess(broken, "t.json")


def test_hub_height_and_width_squash_the_whole_image() -> None:
    half = (0.5, 0.5, 0.5)
    # tests/export/test_export_hub.py compares with the hub's own code, which crops at the floor.
    wanted = Preprocess((3, 224, 224), "bilinear", 1.0, "squash", half, half, crop_offset="floor")
    assert hub(VIT) == wanted
    assert hub(VIT, size=224) == hub(VIT)
    assert hub(VIT, size={"height": 100, "width": 60}).input_size == (3, 100, 60)


def test_hub_shortest_edge_and_crop() -> None:
    spec = hub(CLIP)
    assert (spec.input_size, spec.crop_mode, spec.crop_pct) == ((3, 224, 224), "center", 0.875)
    assert spec.interpolation == "bicubic"
    assert hub(CLIP, size=256, crop_size=224) == spec
    assert hub(CLIP, size=224, crop_size=224).crop_pct == 1.0


@pytest.mark.parametrize(
    ("changes", "mode", "share"),
    [
        # DeiT takes one number as both sides, so that the crop is from a squashed image.
        ({"image_processor_type": "DeiTImageProcessor", "size": 256}, "squash", 224 / 256),
        ({"size": {"height": 256, "width": 256}}, "squash", 224 / 256),
        # LeViT enlarges 224 to 256 by itself; PoolFormer divides by crop_pct, to 248.
        ({"image_processor_type": "LevitFeatureExtractor", "size": 224}, "center", 224 / 256),
        ({"image_processor_type": "PoolFormerImageProcessor", "size": 224, "crop_pct": 0.9},
         "center", 224 / 248),
    ],
)  # fmt: skip
def test_hub_processors_with_ways_of_their_own(
    changes: dict[str, Any], mode: str, share: float
) -> None:
    spec = hub(CLIP, **changes)
    assert (spec.input_size, spec.crop_mode) == ((3, 224, 224), mode)
    assert spec.crop_pct == pytest.approx(share)


@pytest.mark.parametrize(
    ("size", "crop_pct", "mode", "share"),
    [
        ({"shortest_edge": 224}, 0.95, "center", 0.95),
        (224, None, "center", 0.875),
        ({"shortest_edge": 384}, 0.95, "squash", 1.0),
        ({"shortest_edge": 383}, 0.9, "center", 0.9),
    ],
)
def test_hub_convnext_crops_below_384_and_squashes_above(
    size: object, crop_pct: float | None, mode: str, share: float
) -> None:
    spec = hub(VIT, image_processor_type="ConvNextImageProcessor", size=size, crop_pct=crop_pct)
    assert (spec.crop_mode, spec.crop_pct) == (mode, share)


@pytest.mark.parametrize("number", range(6))
def test_hub_resample_numbers_are_those_of_pillow(number: int) -> None:
    from PIL import Image

    assert hub(VIT, resample=number).interpolation == Image.Resampling(number).name.lower()


@pytest.mark.parametrize(
    ("changes", "black", "white"),
    [
        ({}, -1, 1),
        ({"do_normalize": False}, 0, 1),
        ({"do_normalize": False, "do_rescale": False}, 0, 255),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, 0, 2),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5, "rescale_offset": True}, -1, 1),
        ({"do_rescale": None, "rescale_factor": None}, -1, 1),
        ({"do_normalize": None}, 0, 1),
        # EfficientNet divides by its deviation twice: 0.5 becomes 0.25.
        ({"image_processor_type": "EfficientNetImageProcessor"}, -2, 2),
        ({"include_top": True}, -2, 2),
        ({"image_processor_type": "EfficientNetImageProcessor", "include_top": False}, -1, 1),
    ],
)
def test_hub_arithmetic_on_black_and_white(
    changes: dict[str, Any], black: float, white: float
) -> None:
    scale, shift = hub(VIT, **changes).affine()
    np.testing.assert_allclose(shift, black, atol=1e-6)
    np.testing.assert_allclose(scale + shift, white, atol=1e-5)


def test_hub_rescaling_by_a_rounded_255th_is_exactly_one() -> None:
    assert hub(VIT).value_range == (0.0, 1.0)


def test_hub_grey_model_has_one_channel() -> None:
    assert hub(VIT, image_mean=[0.5], image_std=[0.5]).input_size == (1, 224, 224)


def test_hub_mobilevit_flips_to_bgr_and_does_not_normalise() -> None:
    spec = hub(
        {key: value for key, value in CLIP.items() if key != "do_normalize"},
        image_processor_type="MobileViTImageProcessor",
        do_flip_channel_order=True,
    )
    assert (spec.color_order, spec.mean) == ("bgr", (0.0,))


@pytest.mark.parametrize(
    ("base", "changes", "part"),
    [
        (VIT, {"size": {"shortest_edge": 224}}, "do_center_crop is not set"),
        (VIT, {"size": {"longest_edge": 224}}, "longest_edge"),
        (VIT, {"size": {"shortest_edge": 224, "longest_edge": 300}}, "longest_edge"),
        (VIT, {"size": {}}, "nothing"),
        (VIT, {"size": None}, "size is missing"),
        (VIT, {"size": "224"}, "positive integers"),
        (VIT, {"size": [224, 224]}, "positive integers"),
        (VIT, {"size": {"height": True, "width": 3}}, "positive integers"),
        (VIT, {"do_resize": False}, "do_resize"),
        (VIT, {"do_resize": "yes"}, "true or false"),
        (VIT, {"do_pad": True}, "do_pad"),
        (VIT, {"offset": True}, "offset"),
        (VIT, {"resample": 6}, "resample"),
        (VIT, {"resample": "bilinear"}, "resample"),
        (VIT, {"rescale_factor": 0}, "rescale_factor"),
        (VIT, {"rescale_factor": True}, "rescale_factor"),
        (VIT, {"rescale_offset": True}, "1/127.5"),
        (VIT, {"image_mean": None}, "image_mean"),
        (VIT, {"image_std": [0, 0, 0]}, "std must not be zero"),
        (VIT, {"include_top": True, "image_std": "a"}, "std"),
        (VIT, {"crop_size": 224}, "without do_center_crop"),
        (VIT, {"image_processor_type": "PerceiverImageProcessor"}, "Perceiver"),
        (VIT, {"do_flip_channel_order": True}, "which order the mean has"),
        (CLIP, {"crop_size": 288}, "larger"),
        (CLIP, {"crop_size": None}, "crop_size is missing"),
        (CLIP, {"crop_size": {"height": 224, "width": 200}}, "not square"),
        (CLIP, {"size": {"height": 256, "width": 288}}, "aspect ratios"),
        (VIT, {"crop_pct": 0.9, "size": {"height": 8, "width": 9}}, "one number"),
    ],
)
def test_hub_files_that_cannot_be_expressed_say_so(
    base: dict[str, Any], changes: dict[str, Any], part: str
) -> None:
    with pytest.raises(PreprocessError, match=part) as caught:
        hub(base, **changes)
    assert str(caught.value).startswith("hub.json: ")


def test_found_beside_the_model_in_order(tmp_path: Path) -> None:
    """Each file, once written, takes precedence over those that were written before it."""
    model = tmp_path / "net.v2.onnx"
    write(tmp_path / "net.preprocess.json", {"crop_pct": 0.9})
    assert find_preprocess(model) is None
    for name, data, crop_pct in (
        ("config.json", TIMM, 0.95),
        ("preprocessor_config.json", CLIP, 0.875),
        ("net.v2.preprocess.yml", {"crop_pct": 0.1}, 0.1),
        ("net.v2.preprocess.yaml", {"crop_pct": 0.2}, 0.2),
        ("net.v2.preprocess.json", {"crop_pct": 0.3}, 0.3),
    ):
        path = write(tmp_path / name, data)
        found = find_preprocess(model)
        assert found is not None
        assert (found[0].crop_pct, found[1]) == (crop_pct, path)


@pytest.mark.parametrize(
    "data",
    [
        {"architectures": ["ViTForImageClassification"], "model_type": "vit", "image_size": 224},
        {"num_classes": 10, "lr": 0.1},
        ["a"],
    ],
)
def test_a_config_of_something_else_is_passed_over(tmp_path: Path, data: object) -> None:
    write(tmp_path / "config.json", data)
    assert find_preprocess(tmp_path / "a.onnx") is None


def test_a_broken_file_beside_the_model_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.preprocess.json").write_text("{")
    with pytest.raises(PreprocessError, match=r"a\.preprocess\.json"):
        find_preprocess(tmp_path / "a.onnx")


def test_yaml_is_optional_and_so_not_imported() -> None:
    code = "import sys, iaside_onnx.images; print('yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
