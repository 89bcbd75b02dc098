"""The specification: checks, arithmetic, and the way to JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iaside_onnx.errors import PreprocessError
from iaside_onnx.images import Preprocess

finite = st.floats(-1e6, 1e6, allow_nan=False)
nonzero = finite.filter(lambda x: abs(x) > 1e-6)


@st.composite
def specs(draw: st.DrawFn) -> Preprocess:
    channels = draw(st.sampled_from([1, 3]))
    size = draw(st.none() | st.tuples(st.just(channels), st.integers(1, 999), st.integers(1, 999)))
    low = draw(finite)
    return Preprocess(
        input_size=size,
        interpolation=draw(st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos", "box"])),
        crop_pct=draw(st.floats(0.01, 1)),
        crop_mode=draw(st.sampled_from(["center", "squash", "border"])),
        mean=tuple(draw(st.lists(finite, min_size=channels, max_size=channels))),
        std=tuple(draw(st.lists(nonzero, min_size=channels, max_size=channels))),
        color_order=draw(st.sampled_from(["rgb", "bgr"])),
        value_range=(low, low + draw(st.floats(0.1, 1e6))),
    )


@given(specs())
def test_json_gives_an_equal_specification_back(spec: Preprocess) -> None:
    text = json.dumps(spec.to_dict(), allow_nan=False)
    assert Preprocess.from_dict(json.loads(text), "x") == spec


@given(specs())
def test_affine_is_the_formula(spec: Preprocess) -> None:
    """Computed for black, grey and white, one channel at a time, in double precision."""
    channels = len(spec.mean)
    scale, shift = spec.resolved(spec.input_size or (channels, 4, 4)).affine()
    assert scale.dtype == shift.dtype == np.float32
    assert scale.shape == shift.shape == (channels,)
    lo, hi = spec.value_range
    for c in range(channels):
        for x in (0.0, 0.5, 1.0):
            wanted = (lo + (hi - lo) * x - spec.mean[c]) / spec.std[c]
            terms = (
                abs(lo / spec.std[c])
                + abs((hi - lo) / spec.std[c])
                + abs(spec.mean[c] / spec.std[c])
            )
            assert abs(float(scale[c]) * x + float(shift[c]) - wanted) <= 3e-7 * terms + 1e-30


def test_affine_of_imagenet_by_hand() -> None:
    spec = Preprocess((3, 2, 2), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    scale, shift = spec.affine()
    np.testing.assert_allclose(scale, [4.366812, 4.464286, 4.444444], rtol=1e-6)
    np.testing.assert_allclose(shift, [-2.117904, -2.035714, -1.804444], rtol=1e-6)


def test_one_value_serves_all_channels() -> None:
    scale, shift = Preprocess((3, 2, 2), mean=(0.5,), std=(0.25,)).affine()
    assert scale.tolist() == [4, 4, 4]
    assert shift.tolist() == [-2, -2, -2]


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"input_size": [3, 224]}, "input_size"),
        ({"input_size": 224}, "input_size"),
        ({"input_size": [4, 8, 8]}, "1 or 3 channels"),
        ({"input_size": [3, 0, 8]}, "positive integers"),
        ({"input_size": [3, 8.0, 8]}, "positive integers"),
        ({"input_size": [3, True, 8]}, "positive integers"),
        ({"interpolation": "cubic"}, "bicubic"),
        ({"interpolation": ["bilinear"]}, "interpolation"),
        ({"crop_mode": "centre"}, "center, squash, border"),
        ({"color_order": "RGB"}, "rgb, bgr"),
        ({"crop_pct": 0}, "crop_pct"),
        ({"crop_pct": 1.01}, "crop_pct"),
        ({"crop_pct": "0.875"}, "crop_pct"),
        ({"crop_pct": True}, "crop_pct"),
        ({"mean": [0.5, 0.5]}, "1 or 3 values, found 2"),
        ({"mean": [0.5, 0.5, 0.5], "input_size": [1, 8, 8]}, "1 values, found 3"),
        ({"mean": [0.5, "a", 0.5]}, "finite numbers"),
        ({"mean": None}, "mean"),
        ({"mean": []}, "found 0"),
        ({"std": [0.1, 0.0, 0.1]}, "std must not be zero"),
        ({"std": [float("nan")]}, "finite"),
        ({"std": [10**400]}, "finite"),
        ({"mean": [True]}, "finite numbers"),
        ({"value_range": [1, 0]}, "lower and a higher"),
        ({"value_range": [0, 0]}, "lower and a higher"),
        ({"value_range": [0]}, "2 values"),
        ({"value_range": 255}, "value_range"),
        ({"value_range": [0, float("inf")]}, "finite"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], part: str) -> None:
    with pytest.raises(PreprocessError, match=part) as caught:
        Preprocess.from_dict(values, "a.json")
    message = str(caught.value)
    assert message.startswith("a.json: ")
    assert not message.endswith(".")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("means", "'mean'"), ("crop_percent", "'crop_pct'"), ("zzz", "value_range")],
)
def test_an_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(PreprocessError, match=f"a.json: unknown key '{key}'.*{nearest}"):
        Preprocess.from_dict({key: 1}, "a.json")


def test_the_constructor_checks_too() -> None:
    with pytest.raises(PreprocessError, match="std must not be zero"):
        Preprocess(std=(0.0,))


def test_a_number_is_taken_for_mean_and_std() -> None:
    spec = Preprocess.from_dict({"mean": 0.5, "std": 2}, "x")
    assert (spec.mean, spec.std) == ((0.5,), (2.0,))


def test_resolved_fills_in_and_keeps_the_rest() -> None:
    spec = Preprocess(crop_pct=0.9, mean=(1.0, 2.0, 3.0))
    assert spec.resolved((3, 8, 9)) == replace(spec, input_size=(3, 8, 9))
    assert spec.resolved((3, 8, 9)).resolved((3, 8, 9)).input_size == (3, 8, 9)


@pytest.mark.parametrize("given", [(1, 8, 9), (3, 9, 9), (3, 8, 8)])
def test_resolved_names_both_sizes_where_they_differ(given: tuple[int, int, int]) -> None:
    with pytest.raises(PreprocessError) as caught:
        Preprocess(given).resolved((3, 8, 9))
    assert str(list(given)) in str(caught.value)
    assert "[3, 8, 9]" in str(caught.value)


def test_a_mean_of_three_does_not_suit_a_grey_model() -> None:
    with pytest.raises(PreprocessError, match="mean must have 1 values, found 3"):
        Preprocess(mean=(0.1, 0.2, 0.3)).resolved((1, 8, 8))


def test_factors_beyond_float32_are_refused() -> None:
    """An infinite scale would make every prediction NaN."""
    with pytest.raises(PreprocessError, match="float32 cannot hold"):
        Preprocess((3, 4, 4), std=(1e-300,)).affine()


def test_size_must_be_set_before_arithmetic() -> None:
    with pytest.raises(PreprocessError, match="input_size is not set"):
        Preprocess().affine()
