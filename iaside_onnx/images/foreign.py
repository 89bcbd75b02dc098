"""Preprocessing specifications of timm, the Hugging Face hub and Keras."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NoReturn

from iaside_onnx.errors import PreprocessError
from iaside_onnx.images.geometry import scaled
from iaside_onnx.images.preprocess import Preprocess

__all__ = ["KERAS_MODES", "is_hub", "is_timm", "parse_hub", "parse_timm"]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

# keras.applications.imagenet_utils.preprocess_input; "raw" is for models that normalise internally.
KERAS_MODES: dict[str, Preprocess] = {
    "caffe": Preprocess(
        color_order="bgr", value_range=(0.0, 255.0), mean=(103.939, 116.779, 123.68)
    ),
    "tf": Preprocess(value_range=(-1.0, 1.0)),
    "torch": Preprocess(mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
    "raw": Preprocess(value_range=(0.0, 255.0)),
}

_TIMM_USED = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")

# Keys that only timm's model configurations have; others are shared with our specification.
_TIMM_MARKS = frozenset(
    {
        "architecture", "classifier", "custom_load", "first_conv", "fixed_input_size", "hf_hub_id",
        "hf_hub_filename", "license", "min_input_size", "num_classes", "num_features", "origin_url",
        "paper_ids", "paper_name", "pool_size", "source", "tag", "test_crop_pct", "test_input_size",
        "url",
    }
)  # fmt: skip

_HUB_MARKS = frozenset(
    {
        "crop_size", "do_center_crop", "do_normalize", "do_rescale", "do_resize",
        "feature_extractor_type", "image_mean", "image_processor_type", "image_std", "resample",
        "rescale_factor",
    }
)  # fmt: skip

# The index is Pillow's number of the filter.
_RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")

# Steps that are supported, or that do not change the pixels of an RGB image.
_HUB_STEPS = frozenset(
    {
        "do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order",
        "do_convert_rgb", "do_reduce_labels",
    }
)  # fmt: skip

# Processors that read one number as both sides, even if a crop follows.
_SQUARE = ("Beit", "DeiT", "EfficientNet", "EfficientFormer", "ViTImage", "ViTFeature")

# Processors that a specification cannot express: crop before resize, colour clusters, video.
_OTHER_STEPS = ("Perceiver", "ImageGPT", "Vivit", "ViViT", "VideoMAE")


def is_timm(data: Mapping[str, object]) -> bool:
    """Whether this is a model configuration of timm, complete or only its ``pretrained_cfg``."""
    if isinstance(data.get("pretrained_cfg"), Mapping):
        return True
    return bool(_TIMM_MARKS & data.keys()) and bool({"mean", "std", "crop_pct"} & data.keys())


def is_hub(data: Mapping[str, object]) -> bool:
    """Whether this is a ``preprocessor_config.json`` of the hub's transformers library."""
    return bool(_HUB_MARKS & data.keys())


def parse_timm(data: Mapping[str, object], where: str) -> Preprocess:
    """Parse timm's evaluation transform; a missing key has timm's default.

    Raises:
        PreprocessError: a value is wrong.
    """
    inner = data.get("pretrained_cfg")
    config = inner if isinstance(inner, Mapping) else data
    defaults = {
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "mean": _IMAGENET_MEAN,
        "std": _IMAGENET_STD,
    }
    given = {key: config[key] for key in _TIMM_USED if config.get(key) is not None}
    return Preprocess.from_dict({**defaults, **given}, where)


def parse_hub(data: Mapping[str, object], where: str) -> Preprocess:
    """Parse the steps of a ``preprocessor_config.json`` into one specification.

    Raises:
        PreprocessError: a value is wrong, or a step cannot be expressed.
    """
    return _Hub(data, where).parse()


class _Hub:
    """Parser of one hub file; every error names the file."""

    def __init__(self, data: Mapping[str, object], where: str) -> None:
        # transformers writes null for "not given".
        self.data = {key: value for key, value in data.items() if value is not None}
        self.nulls = data.keys() - self.data.keys()
        self.where = where
        self.processor = str(
            self.data.get("image_processor_type") or self.data.get("feature_extractor_type") or ""
        )

    def parse(self) -> Preprocess:
        self._refuse_other_steps()
        size, mode, crop_pct = self._geometry()
        low, high = self._range()
        mean, std = self._normalisation()
        channels = 1 if isinstance(mean, list) and len(mean) == 1 else 3
        flipped = self._flag("do_flip_channel_order", False)
        if flipped and self._normalises():
            self._fail(
                "do_flip_channel_order with do_normalize does not say which order the mean has"
            )
        return Preprocess.from_dict(
            {
                "input_size": [channels, *size],
                "interpolation": self._interpolation(),
                "crop_mode": mode,
                "crop_offset": "floor",
                "crop_pct": crop_pct,
                "value_range": [low, high],
                "mean": mean,
                "std": std,
                "color_order": "bgr" if flipped else "rgb",
            },
            self.where,
        )

    def _fail(self, what: str) -> NoReturn:
        raise PreprocessError(
            f"{self.where}: {what}; write a specification by hand with the keys input_size, "
            "interpolation, crop_pct, crop_mode, mean, std, color_order, value_range"
        )

    def _flag(self, key: str, default: bool) -> bool:
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            self._fail(f"{key} must be true or false, found {value!r}")
        return value

    def _number(self, key: str, default: float) -> float:
        value = self.data.get(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < math.inf
        ):
            self._fail(f"{key} must be a positive number, found {value!r}")
        return float(value)

    def _refuse_other_steps(self) -> None:
        if self.processor.startswith(_OTHER_STEPS):
            self._fail(f"the steps of {self.processor} cannot be expressed")
        for key, value in self.data.items():
            unknown = key.startswith("do_") and key not in _HUB_STEPS
            if (unknown or key == "offset") and value is not False:
                self._fail(f"the step {key} cannot be expressed")

    def _interpolation(self) -> str:
        number = self.data.get("resample", 2)
        if type(number) is not int or not 0 <= number < len(_RESAMPLE):
            self._fail(f"resample must be Pillow's number of a filter, 0 to 5, found {number!r}")
        return _RESAMPLE[number]

    def _range(self) -> tuple[float, float]:
        """Values of black and white before the mean is subtracted."""
        if not self._flag("do_rescale", True):
            return 0.0, 255.0
        high = 255 * self._number("rescale_factor", 1 / 255)
        if not self._flag("rescale_offset", False):
            return 0.0, high
        # Only for this factor do all releases of transformers apply the same offset.
        if not math.isclose(high, 2.0):
            self._fail(
                f"rescale_offset is supported with rescale_factor 1/127.5 only, found {high}/255"
            )
        return -1.0, 1.0

    def _normalises(self) -> bool:
        # Null means false; MobileViT writes a mean that it does not use.
        unused = "do_normalize" in self.nulls or self.processor.startswith("MobileViT")
        return self._flag("do_normalize", "image_mean" in self.data and not unused)

    def _normalisation(self) -> tuple[object, object]:
        if not self._normalises():
            return 0.0, 1.0
        mean, std = self.data.get("image_mean"), self.data.get("image_std")
        if mean is None or std is None:
            self._fail("do_normalize is set, but image_mean or image_std is missing")
        # EfficientNet's processor divides by std twice if the classifier is included.
        if self._flag("include_top", self.processor.startswith("EfficientNet")):
            checked = Preprocess.from_dict({"std": std}, self.where)
            std = [value * value for value in checked.std]
        return mean, std

    def _geometry(self) -> tuple[tuple[int, int], str, float]:
        """Size of the model's input, ``(height, width)``, ``crop_mode`` and ``crop_pct``."""
        if not self._flag("do_resize", True):
            self._fail("do_resize is false, so images would keep different sizes")
        if "size" not in self.data:
            self._fail("size is missing")
        if "crop_size" in self.data and "do_center_crop" not in self.data:
            self._fail("crop_size is given without do_center_crop")
        cropped = self._flag("do_center_crop", False)
        sides = self._sides("size", square=not cropped or self.processor.startswith(_SQUARE))
        if self.processor.startswith("ConvNe") or ("crop_pct" in self.data and not cropped):
            return self._convnext(sides)
        if len(sides) == 2:
            return self._squashed(sides, self._crop() if cropped else sides)
        if not cropped:
            self._fail("size has a shortest_edge, but do_center_crop is not set")
        return self._centred(sides[0], self._crop())

    def _sides(self, key: str, square: bool) -> tuple[int, ...]:
        """``(height, width)``, or ``(shortest edge,)``."""
        value = self.data.get(key)
        if isinstance(value, Mapping):
            given = {name: side for name, side in value.items() if side is not None}
            if given.keys() not in ({"height", "width"}, {"shortest_edge"}):
                self._fail(
                    f"{key} with {', '.join(map(str, given)) or 'nothing'} cannot be expressed"
                )
            names = ("height", "width") if "height" in given else ("shortest_edge",)
            sides = tuple(given[name] for name in names)
        else:
            sides = (value, value) if square else (value,)
        if not all(type(side) is int and side >= 1 for side in sides):
            self._fail(f"{key} must hold positive integers, found {value!r}")
        return sides

    def _crop(self) -> tuple[int, int]:
        if "crop_size" not in self.data:
            self._fail("do_center_crop is set, but crop_size is missing")
        sides = self._sides("crop_size", square=True)
        return sides[0], sides[-1]

    def _convnext(self, sides: tuple[int, ...]) -> tuple[tuple[int, int], str, float]:
        """ConvNeXT crops below 384 pixels; from 384 on it squashes the whole image."""
        if len(set(sides)) != 1:
            self._fail("size must be one number where crop_pct is given")
        size = (sides[0], sides[0])
        if sides[0] >= 384:
            return size, "squash", 1.0
        return size, "center", self._number("crop_pct", 224 / 256)

    def _centred(self, edge: int, crop: tuple[int, int]) -> tuple[tuple[int, int], str, float]:
        if self.processor.startswith("Levit"):
            edge = int(256 / 224 * edge)
        elif "crop_pct" in self.data:
            edge = int(edge / self._number("crop_pct", 1.0))
        if crop[0] != crop[1]:
            self._fail("a shortest_edge with a crop that is not square cannot be expressed")
        return crop, "center", self._share(crop, (edge, edge))

    def _squashed(
        self, size: tuple[int, ...], crop: tuple[int, int] | tuple[int, ...]
    ) -> tuple[tuple[int, int], str, float]:
        target = (crop[0], crop[1])
        return target, "squash", self._share(target, (size[0], size[1]))

    def _share(self, crop: tuple[int, int], resized: tuple[int, int]) -> float:
        """The ``crop_pct`` that resizes to ``resized`` before a crop of ``crop``."""
        if crop[0] > resized[0] or crop[1] > resized[1]:
            self._fail("crop_size is larger than the size that images are resized to")
        share = crop[0] / resized[0]
        if (scaled(crop[0], share), scaled(crop[1], share)) != resized:
            self._fail("size and crop_size have different aspect ratios, which cannot be expressed")
        return share
