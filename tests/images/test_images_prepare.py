"""Geometry and values, against numbers worked out by hand and plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from iaside_onnx.errors import ImageError, PreprocessError
from iaside_onnx.images import CropMode, Preprocess, prepare, prepare_array
from iaside_onnx.images.geometry import plan, scaled


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def ramp(height: int, width: int) -> Image.Image:
    """Red is the row, green the column, blue 7."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([rows, columns, np.full_like(rows, 7)], 2).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "target", "crop_pct", "mode", "resize", "corner", "pad"),
    [
        # ImageNet's usual: 500 x 375 to a short side of 256; 256 * 500 / 375 = 341.33, cut to 341.
        # (341 - 224) / 2 = 58.5, and Python rounds half to even.
        ((500, 375), (224, 224), 0.875, "center", (341, 256), (58, 16), (0, 0, 0, 0)),
        ((375, 500), (224, 224), 0.875, "center", (256, 341), (16, 58), (0, 0, 0, 0)),
        # floor(224 / 0.95) = 235; 235 * 400 / 301 = 312.29; 11 / 2 = 5.5 to 6, 88 / 2 = 44.
        ((400, 301), (224, 224), 0.95, "center", (312, 235), (44, 6), (0, 0, 0, 0)),
        # 256 * 640 / 427 = 383.70, cut to 383, not rounded; 159 / 2 = 79.5 to 80.
        ((640, 427), (224, 224), 0.875, "center", (383, 256), (80, 16), (0, 0, 0, 0)),
        # The crop share of a processor that says 256 and 224; 224 / (224 / 256) must give 256.
        ((256, 256), (224, 224), 224 / 256, "center", (256, 256), (16, 16), (0, 0, 0, 0)),
        # Small images are enlarged.
        ((10, 20), (28, 28), 1.0, "center", (28, 56), (0, 14), (0, 0, 0, 0)),
        # Not square: 100 / 32 = 3.125 and 200 / 48 = 4.17; the smaller ratio gives 32 x 64.
        ((100, 200), (32, 48), 1.0, "center", (32, 64), (0, 8), (0, 0, 0, 0)),
        # floor(32 / 0.8) = 40, floor(48 / 0.8) = 60: ratios 2.5 and 3.33, so 40 x 80.
        ((100, 200), (32, 48), 0.8, "center", (40, 80), (4, 16), (0, 0, 0, 0)),
        ((100, 200), (32, 48), 1.0, "squash", (32, 48), (0, 0), (0, 0, 0, 0)),
        ((100, 200), (32, 48), 0.8, "squash", (40, 60), (4, 6), (0, 0, 0, 0)),
        # The longer side fits: 200 / 32 = 6.25, so 16 x 32, and 8 rows above and below.
        ((100, 200), (32, 32), 1.0, "border", (16, 32), (0, 0), (0, 8, 0, 8)),
        # 15 x 31: 31 / 32; 15 / 0.96875 = 15.48 to 15; 17 rows are missing, the odd one below.
        ((15, 31), (32, 32), 1.0, "border", (15, 32), (0, 0), (0, 8, 0, 9)),
        # floor(32 / 0.5) = 64: 32 x 64, so that the height fits and the width is cut.
        ((100, 200), (32, 32), 0.5, "border", (32, 64), (0, 16), (0, 0, 0, 0)),
        # One row of pixels does not vanish.
        ((1, 200), (32, 32), 1.0, "border", (1, 32), (0, 0), (0, 15, 0, 16)),
    ],
)  # fmt: skip
def test_geometry_by_hand(
    image: tuple[int, int],
    target: tuple[int, int],
    crop_pct: float,
    mode: CropMode,
    resize: tuple[int, int],
    corner: tuple[int, int],
    pad: tuple[int, int, int, int],
) -> None:
    spec = Preprocess((3, *target), crop_pct=crop_pct, crop_mode=mode)
    found = plan(*image, spec)
    assert found.resize == resize
    assert (found.top, found.left) == corner
    assert found.pad == pad


def test_a_crop_from_the_floor() -> None:
    """The hub's processors begin at 58 and 79 where torchvision rounds 58.5 to 58, 79.5 to 80."""
    for image, corner in (((500, 375), (58, 16)), ((640, 427), (79, 16)), ((400, 301), (58, 16))):
        found = plan(*image, Preprocess((3, 224, 224), crop_pct=0.875, crop_offset="floor"))
        assert (found.top, found.left) == corner


def test_a_share_made_of_two_sides_gives_the_side_back() -> None:
    """256 made into 224 / 256 and back, for all sides: a plain floor loses one in places."""
    for resized in range(1, 600):
        for crop in range(1, resized + 1, 7):
            assert scaled(crop, crop / resized) == resized


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    target=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    crop_pct=st.floats(0.3, 1),
    mode=st.sampled_from(["center", "squash", "border"]),
)
def test_the_crop_always_lies_inside(
    height: int, width: int, target: tuple[int, int], crop_pct: float, mode: CropMode
) -> None:
    found = plan(height, width, Preprocess((3, *target), crop_pct=crop_pct, crop_mode=mode))
    left, top, right, bottom = found.pad
    assert min(found.top, found.left, *found.pad) >= 0
    assert found.top + target[0] <= found.resize[0] + top + bottom
    assert found.left + target[1] <= found.resize[1] + left + right


def test_a_crop_without_resize_is_a_slice() -> None:
    spec = Preprocess((3, 14, 14), crop_pct=0.7)
    pixels = prepare(ramp(20, 30), spec)
    rows, columns = np.mgrid[3:17, 8:22]
    wanted = np.stack([rows, columns, np.full_like(rows, 7)]).astype(np.float32) / 255
    assert (pixels == wanted).all()


def test_pixels_are_float32_contiguous_and_reach_one() -> None:
    pixels = prepare(Image.new("RGB", (5, 5), (255, 0, 51)), Preprocess((3, 4, 4)))
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    assert pixels[:, 0, 0].tolist() == [1.0, 0.0, np.float32(0.2)]


def test_box_filter_halves_by_averaging() -> None:
    values = noise(8, 12)
    pixels = prepare(Image.fromarray(values), Preprocess((3, 4, 6), interpolation="box"))
    wanted = values.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    # Pillow rounds after the columns and again after the rows.
    assert np.abs(pixels * 255 - wanted).max() <= 1.01


def test_nearest_takes_the_middle_of_each_cell() -> None:
    values = noise(9, 9)
    pixels = prepare(Image.fromarray(values), Preprocess((3, 3, 3), interpolation="nearest"))
    assert (pixels * 255 == values[1::3, 1::3].transpose(2, 0, 1)).all()


def test_bgr_swaps_the_channels_and_nothing_else() -> None:
    image = Image.fromarray(noise(9, 9))
    rgb = prepare(image, Preprocess((3, 4, 4)))
    bgr = prepare(image, Preprocess((3, 4, 4), color_order="bgr"))
    assert (bgr == rgb[::-1]).all()
    assert bgr.flags.c_contiguous


def test_grey_model_has_one_channel() -> None:
    pixels = prepare(Image.fromarray(noise(4, 4)), Preprocess((1, 4, 4)))
    luma = noise(4, 4).astype(float) @ [0.299, 0.587, 0.114]
    assert pixels.shape == (1, 4, 4)
    assert np.abs(pixels[0] * 255 - luma).max() <= 1


@pytest.mark.parametrize(
    ("changes", "fill"),
    [
        ({"mean": (0.485, 0.456, 0.406)}, [124, 116, 104]),
        ({"mean": (0.5,)}, [128, 128, 128]),
        ({"mean": (0.0,), "value_range": (-1.0, 1.0)}, [128, 128, 128]),
        # Keras's caffe: the mean is in 0..255 and in the order of the model, blue first.
        ({"mean": (103.939, 116.779, 123.68), "value_range": (0.0, 255.0), "color_order": "bgr"},
         [104, 117, 124]),
        ({"mean": (-3.0, 0.0, 9.0)}, [0, 0, 255]),
    ],
)  # fmt: skip
def test_the_border_has_the_mean_colour(changes: dict[str, object], fill: list[int]) -> None:
    spec = Preprocess.from_dict({"input_size": [3, 8, 8], "crop_mode": "border", **changes}, "x")
    pixels = prepare(Image.new("RGB", (8, 4), (1, 2, 3)), spec)
    assert np.rint(pixels[:, 0, 0] * 255).tolist() == fill
    assert np.rint(pixels[:, 7, 7] * 255).tolist() == fill
    assert (np.rint(pixels[:, 2:6] * 255) <= 3).all()
    floats = prepare_array(np.full((4, 8, 3), 0.01), spec)
    assert np.rint(floats[:, 0, 0] * 255).tolist() == fill


def test_the_border_of_a_grey_image() -> None:
    spec = Preprocess((1, 8, 8), crop_mode="border", mean=(0.2,))
    assert prepare(Image.new("L", (8, 4), 255), spec)[0, :, 0].tolist() == pytest.approx(
        [0.2, 0.2, 1, 1, 1, 1, 0.2, 0.2]
    )


def test_an_image_too_long_to_resize_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(ImageError, match="1 x 3000000 pixels would become 224 x 672000000"):
        prepare(Image.new("L", (3_000_000, 1)), Preprocess((3, 224, 224)))


def test_the_size_must_be_known() -> None:
    with pytest.raises(PreprocessError, match="input_size is not set"):
        prepare(Image.new("RGB", (4, 4)), Preprocess())


def test_an_array_of_the_right_size_is_taken_as_it_is() -> None:
    values = noise(6, 5)
    spec = Preprocess((3, 6, 5), crop_pct=0.5)
    wanted = values.transpose(2, 0, 1)
    assert (prepare_array(values, spec) * 255 == wanted).all()
    assert (prepare_array((values / 255).astype(np.float32), spec) * 255).round().tolist() == (
        wanted.tolist()
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("size", [(6, 6), (4, 4)])
def test_arrays_of_every_type_agree_with_the_image(dtype: Any, size: tuple[int, int]) -> None:
    values = noise(6, 6)
    spec = Preprocess((3, *size), color_order="bgr")
    array = values if dtype == np.uint8 else (values / 255).astype(dtype)
    pixels = prepare_array(array, spec)
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    assert np.abs(pixels - prepare(Image.fromarray(values), spec)).max() < 0.006


def channels_of(array: NDArray[np.uint8], channels: int) -> NDArray[np.float64]:
    """What a model of 1 or 3 channels must see of an array of 1 to 4, in 0..255."""
    if array.ndim == 2 or array.shape[2] < 3:
        grey = array if array.ndim == 2 else array[..., 0]
        return np.stack([grey] * channels).astype(float)
    colour = array[..., :3].astype(float)
    return colour.transpose(2, 0, 1) if channels == 3 else (colour @ [0.299, 0.587, 0.114])[None]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("given_channels", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("floating", [False, True])
def test_channels_are_repeated_weighed_or_dropped(
    channels: int, given_channels: int, floating: bool
) -> None:
    values = noise(4, 5, 1) if given_channels == 0 else noise(4, 5, 4)[..., :given_channels]
    array = values / 255 if floating else values
    pixels = prepare_array(array, Preprocess((channels, 4, 5)))
    assert np.abs(pixels * 255 - channels_of(values, channels)).max() < (0.01 if floating else 0.51)


def test_float_resize_does_not_overshoot() -> None:
    edge = np.zeros((32, 32))
    edge[:, 16:] = 1
    pixels = prepare_array(edge, Preprocess((1, 12, 12), interpolation="lanczos"))
    assert pixels.min() == 0
    assert pixels.max() == 1


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((4, 4, 5), np.uint8), "1 to 4 channels"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), bool), "bool"),
    ],
)
def test_other_arrays_are_refused(array: NDArray[np.generic], part: str) -> None:
    with pytest.raises(ImageError, match=part):
        prepare_array(array, Preprocess((3, 4, 4)))
