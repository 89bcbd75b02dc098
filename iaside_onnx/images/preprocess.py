"""Specification of preprocessing, in timm's vocabulary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import PreprocessError, nearest

__all__ = ["ColorOrder", "CropMode", "CropOffset", "Interpolation", "Preprocess"]

Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
CropMode: TypeAlias = Literal["center", "squash", "border"]
CropOffset: TypeAlias = Literal["round", "floor"]
ColorOrder: TypeAlias = Literal["rgb", "bgr"]

_WORDS: dict[str, tuple[str, ...]] = {
    "interpolation": get_args(Interpolation),
    "crop_mode": get_args(CropMode),
    "crop_offset": get_args(CropOffset),
    "color_order": get_args(ColorOrder),
}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What a model expects: ``input = (lo + (hi - lo) * x - mean) / std`` for pixels x in [0, 1].

    Attributes:
        input_size: ``(channels, height, width)``; None stands for the model's own.
        interpolation: filter of the resize, by its name in Pillow.
        crop_pct: fraction of the resized side that the crop keeps, in (0, 1].
        crop_mode: ``center`` keeps the aspect ratio and crops, ``squash`` ignores the aspect ratio,
            ``border`` keeps the aspect ratio and pads with the mean colour.
        mean: one value, or one per channel in the order of the model's channels, in units of
            ``value_range``.
        std: as ``mean``; not zero.
        color_order: order of the model's channels.
        value_range: ``(lo, hi)``: values of black and white before mean and std are applied.
        crop_offset: start of a crop that cannot be centred exactly: ``round`` half to the even
            pixel, as torchvision and timm do, or ``floor``, as the hub's image processors do.

    Raises:
        PreprocessError: a value has the wrong type, is not finite, or lies outside its range.
    """

    input_size: tuple[int, int, int] | None = None
    interpolation: Interpolation = "bilinear"
    crop_pct: float = 1.0
    crop_mode: CropMode = "center"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    color_order: ColorOrder = "rgb"
    value_range: tuple[float, float] = (0.0, 1.0)
    crop_offset: CropOffset = "round"

    def __post_init__(self) -> None:
        _check_size(self.input_size)
        for key, words in _WORDS.items():
            _check_word(key, getattr(self, key), words)
        _check_numbers("crop_pct", (self.crop_pct,))
        if not 0 < self.crop_pct <= 1:
            raise PreprocessError(f"crop_pct must be above 0 and at most 1, found {self.crop_pct}")
        lengths = (1, 3) if self.input_size is None else (1, self.input_size[0])
        for key in ("mean", "std"):
            _check_numbers(key, getattr(self, key), lengths)
        if 0 in self.std:
            raise PreprocessError(f"std must not be zero, found {_listed(self.std)}")
        _check_numbers("value_range", self.value_range, (2,))
        if not self.value_range[0] < self.value_range[1]:
            raise PreprocessError(
                "value_range must be a lower and a higher value (those of black and white), "
                f"found {_listed(self.value_range)}"
            )

    def affine(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The normalisation as ``input = scale * x + shift``: ``(scale, shift)``, each (C,).

        Raises:
            PreprocessError: ``input_size`` is not set, or a factor is beyond float32.
        """
        channels = self.size()[0]
        lo, hi = self.value_range
        mean = np.broadcast_to(np.asarray(self.mean, dtype=np.float64), channels)
        std = np.broadcast_to(np.asarray(self.std, dtype=np.float64), channels)
        with np.errstate(over="ignore"):
            scale = ((hi - lo) / std).astype(np.float32)
            shift = ((lo - mean) / std).astype(np.float32)
        if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
            raise PreprocessError(
                f"std {_listed(self.std)} with mean {_listed(self.mean)} gives factors that "
                "float32 cannot hold; check both"
            )
        return scale, shift

    def size(self) -> tuple[int, int, int]:
        """``(channels, height, width)``.

        Raises:
            PreprocessError: ``input_size`` is not set.
        """
        if self.input_size is None:
            raise PreprocessError(
                "input_size is not set; give it as [channels, height, width], or take the model's "
                "with Preprocess.resolved"
            )
        return self.input_size

    def resolved(self, input_size: tuple[int, int, int]) -> Preprocess:
        """Return this specification with the model's ``(channels, height, width)``.

        Raises:
            PreprocessError: the specification names another size, or a mean or std of another
                number of channels.
        """
        if self.input_size is not None and self.input_size != tuple(input_size):
            raise PreprocessError(
                f"the preprocessing has input_size {_listed(self.input_size)}, but the model "
                f"takes {_listed(input_size)} (channels, height, width); use the specification "
                "of this model, or remove input_size from it"
            )
        channels, height, width = input_size
        return replace(self, input_size=(channels, height, width))

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; ``from_dict`` restores an equal specification."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, object], where: str) -> Preprocess:
        """Parse the output of ``to_dict`` strictly; every key is optional.

        Raises:
            PreprocessError: a key is unknown or a value is wrong; the message begins with
                ``where``.
        """
        names = [field.name for field in fields(cls)]
        for key in d:
            if key not in names:
                hint = nearest(str(key), names, "keys")
                raise PreprocessError(f"{where}: unknown key {key!r}{hint}")
        try:
            # __post_init__ checks every value, so the keyword arguments may have any type.
            values: dict[str, Any] = {key: _plain(key, value) for key, value in d.items()}
            return cls(**values)
        except PreprocessError as error:
            raise PreprocessError(f"{where}: {error}") from None


def _plain(key: str, value: object) -> object:
    """Convert a JSON value to the attribute's type: lists to tuples, numbers to floats."""
    if key in ("mean", "std") and _is_number(value):
        value = [value]
    if key == "input_size":
        return tuple(value) if isinstance(value, list | tuple) else value
    if isinstance(value, list | tuple):
        return tuple(_as_float(item) for item in value)
    return _as_float(value) if key == "crop_pct" else value


def _as_float(value: Any) -> Any:
    """Convert a number to float, or to infinity if it is too large; keep anything else."""
    try:
        return float(value) if _is_number(value) else value
    except OverflowError:
        return math.inf


def _is_number(value: object) -> bool:
    # bool is a subclass of int, but true is not a number here.
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _check_size(size: object) -> None:
    if size is None:
        return
    good = (
        isinstance(size, tuple)
        and len(size) == 3
        and all(type(side) is int and side >= 1 for side in size)
        and size[0] in (1, 3)
    )
    if not good:
        raise PreprocessError(
            "input_size must be [channels, height, width] with 1 or 3 channels and positive "
            f"integers, found {_listed(size)}"
        )


def _check_word(key: str, value: object, words: tuple[str, ...]) -> None:
    if value not in words:
        raise PreprocessError(f"{key} must be one of {', '.join(words)}, found {value!r}")


def _check_numbers(key: str, values: object, lengths: tuple[int, ...] = (1,)) -> None:
    good = isinstance(values, tuple) and all(
        _is_number(value) and math.isfinite(value) for value in values
    )
    if not good:
        raise PreprocessError(f"{key} must hold finite numbers, found {_listed(values)}")
    if isinstance(values, tuple) and len(values) not in lengths:
        wanted = " or ".join(str(length) for length in sorted(set(lengths)))
        raise PreprocessError(f"{key} must have {wanted} values, found {len(values)}")


def _listed(values: object) -> str:
    return repr(list(values)) if isinstance(values, tuple) else repr(values)
