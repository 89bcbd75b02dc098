"""Preprocessing that does not suit a model is refused."""

from __future__ import annotations

import numpy as np
import pytest

from iaside_onnx import Preprocess
from iaside_onnx.errors import PreprocessError
from iaside_onnx.model import complete_preprocess
from iaside_onnx.runtime import Signature


def signature(dtype: str, channels: int = 3) -> Signature:
    return Signature("image", np.dtype(dtype), "NCHW", channels, 8, 8, None, "out", 5, None)


@pytest.mark.parametrize(
    ("spec", "good"),
    [
        (Preprocess(value_range=(0, 255)), True),
        (Preprocess(value_range=(0, 255), color_order="bgr"), True),
        (Preprocess(), False),
        (Preprocess(value_range=(-1, 1)), False),
        (Preprocess(value_range=(0, 255), mean=(103.9, 116.8, 123.7)), False),
    ],
)
def test_uint8_models_refuse_what_rounding_would_destroy(spec: Preprocess, good: bool) -> None:
    """Values from -1 to 1 become 0 or 1: the image is gone, and the run would still succeed."""
    if good:
        assert complete_preprocess(spec, signature("uint8"), None, None).input_size == (3, 8, 8)
        return
    with pytest.raises(PreprocessError, match="keras:raw"):
        complete_preprocess(spec, signature("uint8"), None, None)
